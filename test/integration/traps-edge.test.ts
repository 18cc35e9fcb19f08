// Known traps of TLS, policy and agents that show, or show differently, when every part works together.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { connect, createServer, type AddressInfo } from 'node:net'
import { join } from 'node:path'
import test from 'ava'
import { createFleet } from '../../src/practice/fleet.ts'
import { startPracticeRmm } from '../../src/practice/rmm.ts'
import {
  AGENT_NAME,
  ask,
  openTls,
  SE,
  startWholeGate,
  until,
  US,
  writeCertificate,
  type WholeGate,
} from '../support/whole-gate.ts'

const OLD = { minVersion: 'TLSv1', maxVersion: 'TLSv1', ciphers: 'DEFAULT:@SECLEVEL=0' } as const
const EXCEPTION = { minimum: 'TLSv1', reason: 'till 2008', owner: 'jane', expires: '2099-01-01' }

test('trap 1: the TLS minimum of the policy holds for every client, and a site with an exception gets no more than it', async t => {
  await using gate = await startWholeGate({
    rsa: true,
    policy: {
      home: ['US', 'SE'],
      sites: { old: { addresses: [SE], tlsException: { ...EXCEPTION, minimum: 'TLSv1.1' } } },
    },
  })
  await t.throwsAsync(openTls(gate, { tls: OLD }), { message: /protocol version/ })
  await t.throwsAsync(openTls(gate, { from: SE, tls: OLD }), { message: /protocol version/ })
  const socket = await openTls(gate, { from: SE, tls: { ...OLD, maxVersion: 'TLSv1.1' } })
  t.is(socket.getProtocol(), 'TLSv1.1')
  socket.destroy()
  const modern = await openTls(gate, { from: SE })
  t.is(modern.getProtocol(), 'TLSv1.3')
  modern.destroy()
})

test('trap 5: a session of the legacy profile buys nothing after its exception has ended', async t => {
  await using gate = await startWholeGate({
    rsa: true,
    policy: { sites: { old: { addresses: [US], tlsException: EXCEPTION } } },
  })
  const first = await openTls(gate, { tls: OLD })
  const [session] = first.getSession() === undefined ? await once(first, 'session') : [first.getSession()]
  const answered = once(first, 'data')
  first.write(`GET /LabTech/Agent.aspx HTTP/1.1\r\nHost: ${AGENT_NAME}\r\n\r\n`)
  t.regex(String(await answered), /^HTTP\/1\.1 200/)
  gate.write({ ...gate.policy, sites: {} })
  t.true((await gate.portcullis.reload('command')).ok)
  await t.throwsAsync(openTls(gate, { tls: { ...OLD, session: session as Buffer } }), {
    message: /protocol version/,
  })
  const next = once(first, 'data')
  first.write(`GET /LabTech/Agent.aspx HTTP/1.1\r\nHost: ${AGENT_NAME}\r\n\r\n`)
  t.regex(String(await next), /^HTTP\/1\.1 403/, 'nor does the connection that is still open')
})

test('trap 9: a PROXY header and a ClientHello that come byte by byte are served', async t => {
  await using gate = await startWholeGate({ policy: { limits: { hello: '60s', drain: '1s' } } })
  const relay = createServer(front => {
    const back = connect(gate.port, '127.0.0.1')
    back.setNoDelay(true)
    back.on('error', () => front.destroy())
    front.on('error', () => back.destroy())
    back.pipe(front)
    const dribble = async (first: Buffer): Promise<void> => {
      const header = Buffer.from(`PROXY TCP4 ${US} 127.0.0.1 50000 443\r\n`)
      for (const byte of Buffer.concat([header, first])) {
        back.write(Buffer.of(byte))
        await new Promise(resolve => setImmediate(resolve))
      }
      front.pipe(back)
    }
    front.once('data', (first: Buffer) => {
      front.pause()
      void dribble(first)
    })
  })
  t.teardown(() => relay.close())
  relay.listen(0, '127.0.0.1')
  await once(relay, 'listening')
  const { port } = relay.address() as AddressInfo
  const answer = await ask(gate, {}, { from: 'direct:127.0.0.1', port })
  t.is(answer.status, 200)
  t.is((await gate.lines.next('request.closed')).address, US)
})

test('trap 21: a rule whose pattern the linear engine cannot run does not get into force', async t => {
  await using gate = await startWholeGate()
  const rule = (pattern: string): string => `pack: own
rules:
  - id: own-rule
    title: Own
    severity: low
    when: { in: path, matches: '${pattern}' }
    tests: { fires: [GET /aab], quiet: [GET /c] }
`
  const { id } = gate.portcullis.snapshot()
  writeFileSync(join(gate.directory, 'policies/rules/own.yaml'), rule('(?=a)a+b'))
  gate.write({ ...gate.policy, rules: { packs: ['own'] } })
  t.false((await gate.portcullis.reload('command')).ok)
  t.is(gate.portcullis.snapshot().id, id)
  writeFileSync(join(gate.directory, 'policies/rules/own.yaml'), rule('a+b'))
  t.true((await gate.portcullis.reload('command')).ok)
  t.is((await ask(gate, { path: '/aab' })).status, 403)
})

test('trap 24: NO is Norway in the policy of a running gate, and no truth value gets into force', async t => {
  await using gate = await startWholeGate()
  const text = (home: string): string =>
    JSON.stringify({ ...gate.policy, home: ['HOME'] }).replace('["HOME"]', `[${home}]`)
  gate.write(text('US, NO'))
  t.true((await gate.portcullis.reload('command')).ok)
  t.deepEqual([...gate.portcullis.snapshot().home.value], ['US', 'NO'])
  gate.write(text('US, false'))
  t.false((await gate.portcullis.reload('command')).ok)
})

test('trap 41: with a product that pins the certificate a second change is held back and announced', async t => {
  const rmm = await startPracticeRmm()
  await using gate = await startWholeGate({
    rmm,
    // The practice server has no health page of that product.
    upstream: { primary: rmm.url, health: { path: '/LabTech/Agent.aspx' } },
    policy: { profile: 'meshcentral' },
  })
  const shown = async (): Promise<string> => {
    const socket = await openTls(gate)
    const { fingerprint256 } = socket.getPeerCertificate()
    socket.destroy()
    return fingerprint256
  }
  const first = await shown()
  await writeCertificate(gate.directory, AGENT_NAME)
  await gate.portcullis.reload('command')
  const second = await shown()
  await writeCertificate(gate.directory, AGENT_NAME)
  await gate.portcullis.reload('command')
  await gate.lines.next('certificate.held')
  const third = await shown()
  t.is(new Set([first, second, third]).size, 2, 'one change went through, the next is held')
  t.is(second, third)
})

test('trap 43: agents that lost their server come back all at once, and none is refused for that', async t => {
  await using gate = await startWholeGate()
  const storm = async (gate: WholeGate): Promise<void> => {
    const fleet = createFleet({
      agents: 200,
      seed: 5,
      addresses: `https://${AGENT_NAME}`,
      resolve: () => ({ host: '127.0.0.1', port: gate.port }),
      ca: gate.ca,
      // A whole site behind one address.
      groups: [{ name: 'site', share: 1, proxySource: () => US }],
    })
    await fleet.checkInAll(200)
    t.is(fleet.stats().ok, 200, JSON.stringify([...fleet.stats().failures]))
    fleet.stop()
  }
  await storm(gate)
  await gate.rmm.fail('refuse')
  await gate.rmm.fail('none')
  await until(async () => (await gate.status()).upstreams[0]?.state !== 'down')
  await storm(gate)
  await gate.idle()
})

test('trap 44: clients with TLS 1.0 only get in by an exception of their site, and are told why elsewhere', async t => {
  await using gate = await startWholeGate({
    rsa: true,
    policy: { sites: { old: { addresses: ['127.0.0.44'], tlsException: EXCEPTION } } },
  })
  const curl = async (from: string): Promise<{ code: number; output: string }> => {
    const child = spawn('curl', [
      '-sS',
      '-k',
      '--interface',
      from,
      '--tlsv1.0',
      '--tls-max',
      '1.0',
      '--ciphers',
      'ALL:@SECLEVEL=0',
      '--resolve',
      `${AGENT_NAME}:${gate.directPort}:127.0.0.1`,
      `https://${AGENT_NAME}:${gate.directPort}/LabTech/Agent.aspx`,
    ])
    let output = ''
    child.stdout.on('data', chunk => (output += String(chunk)))
    child.stderr.on('data', chunk => (output += String(chunk)))
    const [code] = (await once(child, 'close')) as [number]
    return { code, output }
  }
  t.like(await curl('127.0.0.44'), { code: 0, output: '||||||220.105' })
  const refused = await curl('127.0.0.45')
  t.is(refused.code, 35)
  t.regex(refused.output, /alert protocol version/)
})
