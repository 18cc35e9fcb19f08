// Situations whose fix is no YAML: bans, clients that are set up wrongly, servers and certificates that fail, references.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { HOST, startRunningBench, type Ask, type RunningBench } from '../cli/support.ts'
import { testCertificate } from '../support/certificates.ts'
import { AGENT, applyPatch, diagnose, isThrough, US } from './support.ts'

const CHECK_IN: Ask = {
  path: '/LabTech/Agent.aspx',
  method: 'POST',
  body: '<CheckIn><AgentId>a1</AgentId><Name>a1</Name></CheckIn>',
}
const DIRECT = '127.0.0.2'
// "Peer certificate cannot be authenticated with known CA certificates."
const CURL_NOT_TRUSTED = 60

test.serial('banned by an operator: said with owner and end, and unban mends it', async t => {
  const bench = await startRunningBench(t)
  await bench.cli(['ban', US, '--reason', 'password guessing', '--owner', 'jane'])
  t.false(isThrough(await bench.ask(US)))
  const found = await diagnose(bench, US)
  t.is(found.cause, 'banned')
  t.regex(found.sentence, /password guessing .*jane/)
  t.deepEqual(found.fix?.steps, [`bin/portcullis unban ${US}`])
  t.is((await bench.cli(['unban', US])).code, 0)
  t.is((await diagnose(bench, US)).cause, 'fixed')
  bench.advance(1_000)
  t.true(isThrough(await bench.ask(US)))
  t.is((await diagnose(bench, US)).cause, 'healthy')
})

test.serial('banned from one class only: agents pass, and the diagnosis names the class', async t => {
  const bench = await startRunningBench(t)
  await bench.cli(['ban', US, '--reason', 'password guessing', '--class', 'console'])
  t.true(isThrough(await bench.ask(US, AGENT)))
  t.false(isThrough(await bench.ask(US, { path: '/automate' })))
  bench.advance(1_000)
  t.true(isThrough(await bench.ask(US, AGENT)))
  const found = await diagnose(bench, US)
  t.is(found.cause, 'banned')
  t.regex(found.sentence, /banned from console/)
})

test.serial('a ban in the policy file is named by its line', async t => {
  const bench = await startRunningBench(t, `bans: [{ address: ${US}, reason: scans, owner: jane }]`)
  const found = await diagnose(bench, US)
  t.is(found.cause, 'banned')
  t.regex(
    found.fix?.steps[0] ?? '',
    /^Remove the ban at policies\/portcullis\.yaml:\d+:\d+, or: bin\/portcullis allow/,
  )
})

test.serial('plain text on a TLS port', async t => {
  const bench = await startRunningBench(t)
  const answer = await bench.send(US, `GET / HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`)
  t.notRegex(answer, /^HTTP\/1\.1 200/)
  const found = await diagnose(bench, US)
  t.is(found.cause, 'plaintext')
  t.regex(found.fix?.steps.join() ?? '', /https:\/\/rmm\.example\.test, not http:/)
})

/** Asks with curl from another loopback address, which is no load balancer. */
async function curl(bench: RunningBench, host: string, ...args: readonly string[]): Promise<number> {
  const child = spawn('curl', [
    '--silent',
    '--output',
    '/dev/null',
    '--interface',
    DIRECT,
    '--resolve',
    `${HOST}:${bench.port}:127.0.0.1`,
    '--fail',
    ...args,
    `https://${host}:${bench.port}/LabTech/Agent.aspx`,
  ])
  const [code] = (await once(child, 'close')) as [number]
  await bench.settled()
  return code
}

test.serial(
  'a client that does not trust the certificate breaks the handshake off; with the authority it gets in',
  async t => {
    const bench = await startRunningBench(t, 'geo: { loopback: allow }')
    t.is(await curl(bench, HOST), CURL_NOT_TRUSTED)
    const found = await diagnose(bench, DIRECT)
    t.is(found.cause, 'handshake')
    t.regex(found.sentence, /breaks off the TLS handshake once: it does not trust the certificate/)
    bench.advance(1_000)
    t.is(await curl(bench, HOST, '--cacert', bench.authorityFile), 0)
    t.is((await diagnose(bench, DIRECT)).cause, 'healthy')
  },
)

test.serial('a client that names no host: the printed YAML says which one it means', async t => {
  const bench = await startRunningBench(t, 'geo: { loopback: allow }')
  const withoutName = ['--insecure', '--header', `Host: ${HOST}`]
  t.not(await curl(bench, '127.0.0.1', ...withoutName), 0)
  const found = await diagnose(bench, DIRECT)
  t.is(found.cause, 'name')
  t.regex(found.sentence, /names no host \(once\)/)
  await applyPatch(bench, found.fix)
  t.is((await diagnose(bench, DIRECT)).cause, 'fixed')
  bench.advance(1_000)
  t.is(await curl(bench, '127.0.0.1', ...withoutName), 0)
  t.is((await diagnose(bench, DIRECT)).cause, 'healthy')
})

test.serial('a port test is success; nothing at all is not', async t => {
  const bench = await startRunningBench(t)
  const nothing = await diagnose(bench, US)
  t.is(nothing.cause, 'never-arrived')
  t.regex(nothing.fix?.steps.join('\n') ?? '', /Test-NetConnection -ComputerName rmm\.example\.test/)
  await bench.send(US, null)
  t.is((await diagnose(bench, US)).cause, 'reachability-test')
})

test.serial('upstream down, and back again', async t => {
  const health = '{ path: /LabTech/Agent.aspx, interval: 1s, timeout: 1s }'
  const bench = await startRunningBench(t, `upstreams: { rmm: { health: ${health} } }`)
  await bench.practice.fail('refuse')
  const stateOf = async (): Promise<unknown> => {
    const { value } = await bench.json(['status'])
    return (value['upstreams'] as readonly { readonly state: string }[])[0]?.state
  }
  while ((await stateOf()) !== 'down') await new Promise(setImmediate)
  t.true('error' in (await bench.ask(US)))
  const down = await diagnose(bench, US)
  t.is(down.cause, 'upstream')
  t.regex(down.sentence, /does not answer/)
  await bench.practice.fail('none')
  while ((await stateOf()) !== 'up') await new Promise(setImmediate)
  t.is((await diagnose(bench, US)).cause, 'fixed')
  bench.advance(1_000)
  t.true(isThrough(await bench.ask(US)))
  t.is((await diagnose(bench, US)).cause, 'healthy')
})

test.serial('an ended certificate is nobody else’s fault, and a renewed one mends it', async t => {
  const bench = await startRunningBench(t)
  const certs = join(bench.root, 'certs')
  const put = async (days: number): Promise<void> => {
    const { cert, key } = await testCertificate([HOST], { days })
    writeFileSync(join(certs, `${HOST}.crt`), cert)
    writeFileSync(join(certs, `${HOST}.key`), key)
    t.is((await bench.cli(['reload'])).code, 0)
  }
  await put(1)
  bench.advance(2 * 86_400_000)
  const found = await diagnose(bench, US)
  t.is(found.cause, 'certificate')
  t.regex(found.sentence, /certificate of rmm\.example\.test ended on \d{4}-\d\d-\d\d/)
  rmSync(join(certs, `${HOST}.crt`))
  await put(30)
  t.not((await diagnose(bench, US)).cause, 'certificate')
})

test.serial('too many connections of one address: named, and the printed YAML gives room', async t => {
  const bench = await startRunningBench(t, 'limits: { connectionsPerSource: 1 }')
  // A long poll, which ends when an agent checks in.
  const polling = bench.ask(US, { path: '/LabTech/Agent.aspx/practice/poll?ms=60000' })
  while (bench.portcullis.gate.counts().open === 0) await new Promise(setImmediate)
  const here = { ...CHECK_IN, settle: false }
  t.false(isThrough(await bench.ask(US, here)))
  const found = await diagnose(bench, US)
  t.is(found.cause, 'capacity')
  t.regex(found.sentence, /too many connections open at once/)
  await applyPatch(bench, found.fix)
  bench.advance(1_000)
  t.true(isThrough(await bench.ask(US, here)))
  t.true(isThrough(await polling))
  await bench.settled()
  t.is((await diagnose(bench, US)).cause, 'healthy')
})

test.serial('a reference from a refusal page explains exactly that refusal', async t => {
  const bench = await startRunningBench(t)
  const refused = await bench.ask(US, {
    path: '/automate?file=../../windows/win.ini',
    headers: { accept: 'application/json' },
  })
  t.true('status' in refused && refused.status === 403)
  const text = 'body' in refused ? refused.body : ''
  const reference = /[0-9A-HJKMNP-TV-Z]{4}-[0-9A-HJKMNP-TV-Z]{4}-[0-9A-HJKMNP-TV-Z]{3}/.exec(text)?.[0] ?? ''
  const sloppy = ` ${reference.toLowerCase().replaceAll('-', ' ').replaceAll('0', 'o')}`
  const { code, out } = await bench.cli(['diagnose', sloppy])
  t.is(code, 0, reference)
  t.regex(out, /Reference +[0-9A-Z-]+/)
  t.regex(out, /GET https:\/\/rmm\.example\.test\/automate/)
  t.regex(out, /Rule +[a-z-]+ \(\w+, enforce\)/)
  t.regex(out, /exceptions:\n +- rule: /)
  const { value } = await bench.json(['diagnose', reference])
  t.deepEqual([value['reference'], value['found']], [reference, true])
  t.deepEqual((await bench.json(['diagnose', 'P7F3-K9QX-M2A'])).value, {
    reference: 'P7F3-K9QX-M2A',
    found: false,
  })
})
