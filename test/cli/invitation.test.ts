// Invitations: R1 and R3 on tickets of XP and of Vista and later; nothing else of a file changes; hostile files are refused.
import { randomInt } from 'node:crypto'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import * as fc from 'fast-check'
import test, { type ExecutionContext } from 'ava'
import { readInvitation } from '../../src/cli/invitation.ts'
import { startBench, startGate, startRunningBench, type Json } from './support.ts'

const file = (addresses: string, more = ''): string =>
  `<?xml version="1.0" encoding="Unicode" ?>\r\n<UPLOADINFO TYPE="Escalated"><UPLOADDATA USERNAME="j\u00f6" RCTICKET="65538,1,${addresses},*,uLqRZ+dY=,*,*,v5lP8=" RCTICKETENCRYPTED="0" ${more} L="1" /></UPLOADINFO>\r\n`
const rewritten = (text: string): string => {
  const result = readInvitation(Buffer.from(text, 'latin1'))
  return typeof result === 'string' ? result : result.rewrite('198.51.100.7:51000').bytes.toString('latin1')
}

test('R1, R3: private addresses give way to the public one, whatever their port; the rest stays byte for byte', t => {
  const cases: readonly (readonly [string, string])[] = [
    ['10.0.0.5:3389', '198.51.100.7:51000'],
    ['192.168.1.20:51930;PC-17:51930', '198.51.100.7:51000;PC-17:51930'],
    ['[fe80::1%8]:51930;192.168.1.20:51930;8.8.8.8:3389', '198.51.100.7:51000;8.8.8.8:3389'],
    ['fd00::17:51930', '198.51.100.7:51000'],
  ]
  for (const [before, after] of cases) t.is(rewritten(file(before)), file(after))
  const wide = Buffer.from(`\ufeff${file('10.0.0.5:3389')}`, 'utf16le')
  const result = readInvitation(wide)
  if (typeof result === 'string') return t.fail(result)
  const { bytes } = result.rewrite('help.example.com:51000')
  t.is(bytes.toString('utf16le'), `\ufeff${file('help.example.com:51000')}`)
  t.like(result.targets, { 0: { host: '10.0.0.5', port: 3389 }, length: 1 })
})

test('R1: what has no private address, or is no invitation, stays as it is', t => {
  const cases: readonly (readonly [string, RegExp])[] = [
    [file('147.100.100.27:3389'), /no private address/],
    [file('PC-17:3389'), /no private address/],
    [file('10.0.0.5'), /no address with a port/],
    [file('10.0.0.5:99999'), /no address with a port/],
    [file('10.0.0.5:3389;<x>'), /no ticket/],
    [file('10.0.0.5:3389', 'RCTICKET="65538,1,10.0.0.6:3389,*"'), /more than one ticket/],
    [file('10.0.0.5:3389').replace('CRYPTED="0"', 'CRYPTED="1"'), /encrypted/],
    [file(Array.from({ length: 33 }, () => '10.0.0.5:3389').join(';')), /more than 32/],
    [`<!DOCTYPE x [<!ENTITY a "b">]>${file('10.0.0.5:3389')}`, /entities/],
    [`<!-- ${file('10.0.0.5:3389')} -->`, /comments/],
    [file('10.0.0.5:3389').padEnd(70_000), /too large/],
    ['', /no ticket/],
  ]
  for (const [text, why] of cases) t.regex(rewritten(text), why)
})

test('any bytes: an answer, and never a changed byte outside of the addresses', t => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), fc.uint8Array({ maxLength: 300 }), (before, after) => {
      const middle = Buffer.from(' RCTICKET="65538,1,10.0.0.5:3389,*"', 'latin1')
      const result = readInvitation(Buffer.concat([before, middle, after]))
      if (typeof result === 'string') return true
      const wanted = Buffer.concat([before, Buffer.from(' RCTICKET="65538,1,h:1,*"', 'latin1'), after])
      return result.rewrite('h:1').bytes.equals(wanted)
    }),
    { seed: 20_261_121 },
  )
  t.pass()
})

test('--no-forward shows before and after, writes a new file for its owner only, and says that it opened nothing', async t => {
  const bench = startBench(t)
  const path = join(bench.root, 'Invitation.msrcincident')
  writeFileSync(path, file('10.0.0.5:3389'))
  const words = ['rewrite-invitation', path, '--public', '198.51.100.7:51000', '--no-forward']
  const { code, out } = await bench.cli(words)
  t.is(code, 0)
  t.regex(out, /before +10\.0\.0\.5:3389\nafter +198\.51\.100\.7:51000\n[^]*No forward was made/)
  const written = join(bench.root, 'Invitation-public.msrcincident')
  t.is(readFileSync(written, 'utf8'), file('198.51.100.7:51000'))
  t.is(statSync(written).mode & 0o777, 0o600)
  t.is(readFileSync(path, 'utf8'), file('10.0.0.5:3389'))
  t.regex((await bench.cli(words)).err, /cannot be written/)
  const err = async (...more: readonly string[]): Promise<string> =>
    (await bench.cli(['rewrite-invitation', path, '--out', 'new', ...more])).err
  t.regex(await err(), /where will the gate be reached/)
  t.regex(await err('--public', '[::x]:1'), /not a public host/)
  t.regex(await err('--public', 'h', '--no-forward'), /on which public port/)
  t.regex(await err('--public', 'h:1', '--no-forward', '--for', '1h'), /--no-forward makes none/)
  t.regex(await err('--public', 'h'), /no gate runs[^]*--no-forward/)
})

const POLICY = `
invitations:
  public: help.example.com
  address: HOST:51000-51003
  targets: [10.77.0.0/24, 10.78.0.0/24]
sites:
  acme: { name: Acme, addresses: [198.51.100.0/24] }
`

/** A gate with invitations on an address of its own, and what to ask it. */
async function startInviting(t: ExecutionContext) {
  const host = `127.${randomInt(1, 255)}.${randomInt(1, 255)}.${randomInt(1, 255)}`
  const bench = await startRunningBench(t, POLICY.replace('HOST', host))
  let count = 0
  const invite = async (target: string, ...more: readonly string[]) => {
    const name = `invitation-${++count}`
    writeFileSync(join(bench.root, name), file(target))
    return await bench.cli(['rewrite-invitation', name, ...more])
  }
  const ports = async (): Promise<readonly unknown[]> => {
    const { value } = await bench.json(['invitations', 'list'])
    return (value['invitations'] as readonly Json[]).map(({ port }) => port)
  }
  return { bench, host, invite, ports }
}

test('a forward for each invitation: opened, listed, ended, expired, over a reload and a restart; ports come in turn', async t => {
  const { bench, invite, ports } = await startInviting(t)
  const { portcullis } = bench
  const words = ['--for', '30m', '--from', 'acme', '--from', '203.0.113.9']
  const one = await invite('192.168.1.5:3389;10.77.0.5:3389', ...words)
  t.is(one.err, '')
  t.regex(
    one.out,
    /^before  192\.168\.1\.5:3389  10\.77\.0\.5:3389\nafter   help\.example\.com:51000\nopen    public port 51000, TCP and UDP, to 10\.77\.0\.5:3389\nuntil   .*\(30 minutes\)\nfor     site acme, 203\.0\.113\.9\n✓ Written to .*-public\. Send it[^]*invitations end 51000\n$/,
  )
  t.is(readFileSync(join(bench.root, 'invitation-1-public'), 'utf8'), file('help.example.com:51000'))
  const two = await invite('10.78.0.9:51930', '--public', '203.0.113.80')
  t.regex(two.out, /after +203\.0\.113\.80:51001\n[^]*everybody whom class relay lets in/)
  t.deepEqual(await ports(), [51_000, 51_001])
  t.regex(
    (await bench.cli(['status'])).out,
    /Invitations\n +port 51000 +to 10\.77\.0\.5:3389 +until[^\n]+for site acme, 203\.0\.113\.9 +tester/,
  )
  t.true((await portcullis.reload('command')).ok)
  t.deepEqual(await ports(), [51_000, 51_001], 'a reload leaves them')

  t.regex(
    (await bench.cli(['invitations', 'end', '51000'])).out,
    /51000 does not lead to 10\.77\.0\.5:3389 any more/,
  )
  t.regex((await bench.cli(['invitations', 'end', '51000'])).err, /no forward is open on port 51000/)
  await invite('10.77.0.6:3389')
  t.deepEqual(await ports(), [51_001, 51_002], 'the port that is just free is not the next one')
  await invite('10.77.0.7:3389', '--for', '1m')
  const full = await invite('10.77.0.8:3389')
  t.is(full.code, 1)
  t.regex(full.err, /all 4 ports of invitations are in use, or rest[^]*one is free at 20/)
  bench.advance(60_000)
  t.deepEqual(await ports(), [51_001, 51_002], 'its minute is over')

  await portcullis.stop()
  const again = await startGate(t, bench)
  t.deepEqual(await ports(), [51_001, 51_002], 'forwards outlive the gate')
  bench.advance(600_000)
  await invite('10.77.0.8:3389', '--for', '4h')
  t.deepEqual(await ports(), [51_000, 51_001, 51_002], 'rested, and in turn after 51003')
  bench.mergePolicy('invitations: { longest: 1h }')
  t.true((await again.reload('command')).ok)
  bench.advance(3_600_000)
  t.deepEqual(await ports(), [], 'a shorter longest holds for those that are open')
  const { out } = await bench.cli(['events', '--since', '3h', '--limit', '200'])
  t.regex(
    out,
    /Opened public port 51001 \(TCP and UDP\) to 10\.78\.0\.9:51930 for tester again after the restart/,
  )
  t.regex(out, /Closed public port 51000 [^\n]*site acme, 203\.0\.113\.9 only\. tester ended it\. Nobody was/)
  t.regex(out, /The time of public port 51003 [^\n]*10\.77\.0\.7:3389[^\n]* is over/)
})

test('what is refused opens nothing and says why: targets, sources, spans, ports that others hold, a file that cannot be written', async t => {
  const { bench, host, invite, ports } = await startInviting(t)
  const cases: readonly (readonly [string, readonly string[], RegExp])[] = [
    ['10.79.0.5:3389', [], /10\.79\.0\.5 is not in invitations\.targets/],
    ['10.77.0.5:22', [], /has port 22, which is not in invitations\.targetPorts/],
    ['127.0.0.1:3389', [], /is a loopback address/],
    ['169.254.169.254:3389', [], /is a link-local address/],
    ['[fd00:ec2::254]:3389', [], /is a metadata service/],
    ['10.77.0.5:3389', ['--for', '5h'], /from 1 minute to 240 minutes/],
    ['10.77.0.5:3389', ['--for', '1s'], /from 1 minute to 240 minutes/],
    ['10.77.0.5:3389', ['--for', 'long'], /is not a time/],
    ['10.77.0.5:3389', ['--from', 'acne'], /neither an address nor a recorded site[^]*--from acme/],
    ['10.77.0.5:3389', ['--public', 'h:443'], /port 443 is not among the ports 51000-51003/],
  ]
  for (const [target, more, why] of cases) {
    const { code, err } = await invite(target, ...more)
    t.not(code, 0)
    t.regex(err, why)
  }
  t.deepEqual(await ports(), [])

  const holder = createSocket('udp4').bind(51_000, host)
  t.teardown(() => holder.close())
  await once(holder, 'listening')
  t.regex(
    (await invite('10.77.0.5:3389')).out,
    /after +help\.example\.com:51001/,
    'a held port is passed over',
  )
  t.regex(
    (await invite('10.77.0.5:3389', '--public', 'h:51000')).err,
    /51000 cannot be opened for TCP and UDP/,
  )
  t.regex((await invite('10.77.0.5:3389', '--public', 'h:51001')).err, /port 51001 is in use, or rests/)
  t.deepEqual(await ports(), [51_001])

  const state = join(bench.root, 'var/invitations.json.new')
  mkdirSync(join(state, 'in-the-way'), { recursive: true })
  t.regex((await invite('10.77.0.6:3389')).err, /closed again, because it cannot be written down/)
  t.deepEqual(await ports(), [51_001])
  const { out } = await bench.cli(['events'])
  t.regex(out, /invitations\.json cannot be written/)
  t.regex(out, /Failed to bind to listening port 51000 [^\n]*invitation:51000\/udp/)
  t.regex(out, /Made no forward for tester: 127\.0\.0\.1 is a loopback address/)
  rmSync(state, { recursive: true })

  bench.mergePolicy('upstreams: { rmm: { secondary: "http://10.77.0.5:80" } }')
  t.true((await bench.portcullis.reload('command')).ok)
  t.deepEqual(await ports(), [], 'what a new policy makes a server is no target any more')
  t.regex((await invite('10.77.0.5:3389')).err, /is a server behind this gate/)
  bench.writePolicy(bench.policyText().replace(/\ninvitations:[^]*?\n(?=\S)/, '\n'))
  t.true((await bench.portcullis.reload('command')).ok)
  t.regex((await invite('10.77.0.6:3389', '--public', 'h')).err, /no section invitations/)
  t.regex((await bench.cli(['invitations'])).out, /no port is ever forwarded/)
  t.regex((await bench.cli(['invitations', 'ende', '1'])).err, /Did you mean: portcullis invitations end/)
})
