// Every reason for a refusal, reached through the whole gate by a real client; and references that explain it afterwards.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { connect as connectTls } from 'node:tls'
import test from 'ava'
import { REASONS, REASON_NAMES, type Reason } from '../../src/policy/reasons.ts'
import { runPortcullis } from '../support/gate-process.ts'
import {
  AGENT_NAME,
  ask,
  client,
  CN,
  CONSOLE_NAME,
  GB,
  openTcp,
  openTls,
  ROOT,
  SE,
  startWholeGate,
  until,
  US,
  type ClientOptions,
  type LoggedEvent,
  type PolicyParts,
  type Question,
  type WholeGate,
} from '../support/whole-gate.ts'

const DAYS = ['Sun', 'Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat']
const NOT_TODAY = DAYS[(new Date().getUTCDay() + 3) % 7] ?? 'Mon'

/** A policy that can refuse for nearly every reason, by source. */
const STRICT: PolicyParts = {
  model: 'mixed',
  sites: {
    one: { addresses: ['216.160.83.70'], connectionsPerSource: 1 },
  },
  bans: [{ address: '216.160.83.66', reason: 'scanned us', owner: 'jane' }],
  classes: {
    agent: { countries: ['home', 'SE'] },
    enroll: { access: 'closed' },
    update: { keys: [{ header: 'X-Key', value: 'a-key-that-nobody-has' }] },
    console: { access: 'open', tls: 'TLSv1.3' },
    relay: { windows: [`${NOT_TODAY} 00:00-00:01`] },
    transfer: { limits: { maxBody: '1KiB', concurrentPerSource: 1 } },
  },
  routes: [{ class: 'relay', path: '/relay' }],
  limits: { drain: '1s', hello: '500ms', head: '1s', headSize: '4KiB' },
}

const HOST = `Host: ${AGENT_NAME}\r\n`

/** Writes raw bytes over TLS; what comes back is the log's to say. */
async function say(gate: WholeGate, text: string, options: ClientOptions = {}): Promise<void> {
  const socket = await openTls(gate, options)
  socket.resume()
  socket.write(text)
  socket.on('end', () => socket.destroy())
}

/** Writes raw bytes after the PROXY header. */
async function sayRaw(gate: WholeGate, bytes: string, options: ClientOptions = {}): Promise<void> {
  const socket = await openTcp(gate, options)
  socket.resume()
  socket.write(bytes, 'latin1')
  socket.on('end', () => socket.destroy())
}

const question =
  (from: string, what: Question, more: ClientOptions = {}) =>
  (gate: WholeGate) =>
    ask(gate, what, { from, ...more })
const hello =
  (from: string, more: ClientOptions = {}) =>
  (gate: WholeGate) =>
    openTls(gate, { from, ...more }).catch(() => undefined)

/** How each reason is reached; a text names the test that reaches it in another way. */
const HOW: Readonly<Record<Reason, string | ((gate: WholeGate) => Promise<unknown>)>> = {
  'proxy-header-missing': gate =>
    sayRaw(gate, 'GET / HTTP/1.1\r\n\r\n', { from: 'direct:127.0.0.1', port: gate.port }),
  'proxy-header-invalid': gate =>
    sayRaw(gate, 'PROXY TCP4 not an address\r\n', { from: 'direct:127.0.0.1', port: gate.port }),
  banned: hello('216.160.83.66'),
  'connection-limit-source': async gate => {
    const first = await openTls(gate, { from: '216.160.83.70' })
    await hello('216.160.83.70')(gate)
    first.destroy()
  },
  'connection-limit-total': 'a gate that is full refuses the next connection and takes it again afterwards',
  'country-refused': hello(GB),
  'country-unknown': hello('192.0.2.1'),
  'network-refused': hello('10.1.2.3'),
  'geo-unavailable': 'test/policy/decide.test.ts',
  'hello-timeout': gate => sayRaw(gate, '\x16\x03\x01\x02\x00\x01'),
  'hello-invalid': gate => sayRaw(gate, '\x16\x03\x01\x00\x04\x02\x00\x00\x00'),
  'hello-too-large': gate => sayRaw(gate, `\x16\x03\x01\x00\x04\x01\x01\x00\x00`),
  'plaintext-on-tls': gate => sayRaw(gate, `GET / HTTP/1.1\r\n${HOST}\r\n`),
  'name-missing': hello(US, { name: '' }),
  'name-unknown': hello(US, { name: 'other.example.test' }),
  'tls-version-too-low': hello(US, {
    tls: { minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT:@SECLEVEL=0' },
  }),
  'upstream-down': 'when every server is down, agents get a reset and people 503 with Retry-After',
  'tls-version-class': question(US, { path: '/automate' }, { tls: { maxVersion: 'TLSv1.2' } }),
  'tls-version-own': question(
    US,
    { path: '/.well-known/portcullis/connector' },
    { tls: { maxVersion: 'TLSv1.2' } },
  ),
  'framing-invalid': gate =>
    say(gate, `POST /x HTTP/1.1\r\n${HOST}Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`),
  'request-invalid': gate => say(gate, `GET /x HTTP/1.1\r\n${HOST}a(b): x\r\n\r\n`),
  'request-timeout': gate => say(gate, `GET /x HTTP/1.1\r\n${HOST}`),
  'head-too-large': gate => say(gate, `GET /x HTTP/1.1\r\n${HOST}X: ${'x'.repeat(5_000)}\r\n\r\n`),
  'target-invalid': gate => say(gate, `GET * HTTP/1.1\r\n${HOST}\r\n`),
  'host-unknown': gate => say(gate, 'GET / HTTP/1.1\r\nHost: other.example.test\r\n\r\n'),
  'host-mismatch': gate => say(gate, `GET / HTTP/1.1\r\nHost: ${CONSOLE_NAME}\r\n\r\n`),
  'method-refused': gate => say(gate, `PROPFIND /automate HTTP/1.1\r\n${HOST}\r\n`),
  'class-closed': question(US, { path: '/LabTech/Deployment.aspx' }),
  'class-source': question(US, { path: '/cwa/api/v1/computers' }),
  'class-country': question(SE, { path: '/automate' }),
  'class-key': question(US, { path: '/LabTech/Updates/x' }),
  'class-window': question(US, { path: '/relay' }),
  rule: question(US, { path: '/automate?file=../../windows/win.ini' }),
  'body-too-large': question(US, { method: 'POST', path: '/LabTech/Transfer/x', body: 'x'.repeat(2_000) }),
  'body-unread': question(US, { method: 'POST', path: '/automate', body: 'x'.repeat(200_000) }),
  'body-coding': question(US, {
    method: 'POST',
    path: '/automate',
    headers: { 'content-encoding': 'zstd' },
    body: 'x',
  }),
  'body-too-slow': 'test/edge/http/held-bodies.test.ts',
  'inspection-full': 'test/edge/http/held-bodies.test.ts',
  'message-invalid': 'test/edge/http/messages.test.ts',
  'message-unread': 'test/edge/http/messages.test.ts',
  'message-too-slow': 'test/edge/http/messages.test.ts',
  'websocket-invalid': gate =>
    say(gate, `GET /automate HTTP/1.1\r\n${HOST}Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n`),
  'requests-limit': async gate => {
    using first = client(gate, { from: '216.160.83.77' })
    const response = await first.begin({ path: '/LabTech/Transfer/x?bytes=50000000' })
    await ask(gate, { path: '/LabTech/Transfer/x?bytes=1' }, { from: '216.160.83.77' })
    response.destroy()
  },
  'flow-limit-source': 'test/edge/udp/flow-table.test.ts',
  'flow-limit-total': 'test/edge/udp/flow-table.test.ts',
  'flow-rate-source': 'test/edge/udp/flow-rate.test.ts',
  'flow-rate-total': 'test/edge/udp/flow-rate.test.ts',
  'datagram-too-large': 'test/edge/udp/flow-table.test.ts',
  'rate-limited': 'test/integration/rates.test.ts',
  'stream-limit-source': 'test/edge/tcp/streams.test.ts',
  'stream-limit-site': 'test/policy/decide-stream.test.ts',
  'stream-limit-total': 'test/edge/tcp/streams.test.ts',
  'stream-limit-class': 'test/edge/tcp/streams.test.ts',
  'port-internal': 'test/edge/tcp/streams.test.ts',
  'source-not-invited': 'test/gateway/invitations.test.ts',
  'pc-away': 'test/gateway/invitations.test.ts',
  'tls-on-plain': 'test/edge/tcp/mixed.test.ts',
  'service-unknown': 'test/edge/tcp/mixed.test.ts',
  'netsupport-elsewhere': gate => sayRaw(gate, `POST http://203.0.113.7/fakeurl.htm HTTP/1.1\r\n${HOST}\r\n`),
  draining: 'a client that is half-way in when the gate shuts down is told by an alert',
}

type Refused = LoggedEvent<'connection.refused' | 'request.refused'>

async function refused(gate: WholeGate, reason: Reason): Promise<Refused> {
  const find = (): Refused | undefined =>
    [...gate.lines.of('connection.refused'), ...gate.lines.of('request.refused')].find(
      entry => entry.reason === reason,
    )
  await until(() => find() !== undefined, `nothing was refused as ${reason}`)
  return find() as Refused
}

test('every reason for a refusal is reached by a real client, with reference, stage and line', async t => {
  await using gate = await startWholeGate({ policy: STRICT })
  await Promise.all(
    REASON_NAMES.map(async reason => {
      const how = HOW[reason]
      if (typeof how === 'string') return
      await how(gate).catch((error: unknown) => t.fail(`${reason}: ${String(error)}`))
      const event = await refused(gate, reason)
      t.regex(event.reference, /^[0-9A-Z]{4}-[0-9A-Z]{4}-[0-9A-Z]{2,4}$/, reason)
      t.truthy(event.stage, reason)
      t.truthy(event.line, reason)
      t.true(event.msg.includes(REASONS[reason].because), event.msg)
    }),
  )
  t.is(gate.lines.of('gate.internal-error').length, 0)
})

test('reasons that this table cannot reach are reached by the test that it names', t => {
  const own = readFileSync(import.meta.filename, 'utf8')
  const others = readFileSync(join(import.meta.dirname, 'upstreams.test.ts'), 'utf8')
  for (const reason of REASON_NAMES) {
    const how = HOW[reason]
    if (typeof how !== 'string') continue
    if (how.endsWith('.ts')) t.true(readFileSync(join(ROOT, how), 'utf8').includes(`'${reason}'`), reason)
    else t.regex(own + others, new RegExp(`test\\('(?:trap \\d+: )?${how}'`), reason)
  }
})

test('a gate that is full refuses the next connection and takes it again afterwards', async t => {
  await using gate = await startWholeGate({ policy: { limits: { connections: 10, drain: '1s' } } })
  const sockets = await Promise.all(
    Array.from({ length: 10 }, (_, index) => openTls(gate, { from: `216.160.83.${index}` })),
  )
  await t.throwsAsync(openTls(gate), { message: /internal error/ })
  t.is((await refused(gate, 'connection-limit-total')).address, US)
  sockets[0]?.destroy()
  await gate.lines.next('connection.refused')
  for (;;) {
    const again = await openTls(gate).catch(() => null)
    if (again === null) continue
    again.destroy()
    break
  }
  for (const socket of sockets) socket.destroy()
  await gate.idle()
})

test('a client that is half-way in when the gate shuts down is told by an alert', async t => {
  await using gate = await startWholeGate()
  const raw = await openTcp(gate)
  const first = await openTls(gate)
  const stopped = gate.portcullis.stop()
  const late = connectTls({ socket: raw, servername: AGENT_NAME, ca: gate.ca })
  const [error] = (await once(late, 'error')) as [NodeJS.ErrnoException]
  t.regex(error.code ?? '', /INTERNAL_ERROR|ECONNRESET/)
  t.is((await refused(gate, 'draining')).address, US)
  first.destroy()
  await stopped
})

/** Runs openssl from an address of its own against the listener without a load balancer. */
async function openssl(gate: WholeGate, from: string, args: readonly string[]): Promise<string> {
  const child = spawn(
    'openssl',
    ['s_client', '-connect', `127.0.0.1:${gate.directPort}`, '-bind', from, ...args],
    { stdio: ['pipe', 'pipe', 'pipe'] },
  )
  let output = ''
  child.stdout.on('data', chunk => (output += String(chunk)))
  child.stderr.on('data', chunk => (output += String(chunk)))
  child.stdin.on('error', () => undefined)
  child.stdin.end()
  await once(child, 'close')
  return output
}

test('refusals before the handshake are TLS alerts that openssl names', async t => {
  await using gate = await startWholeGate({
    policy: { bans: [{ address: '127.0.0.66', reason: 'scanned us', owner: 'jane' }] },
  })
  const name = ['-servername', AGENT_NAME]
  const old = ['-tls1_1', '-cipher', 'DEFAULT:@SECLEVEL=0', ...name]
  const cases: readonly (readonly [string, readonly string[], RegExp])[] = [
    ['127.0.0.66', name, /alert access denied/],
    ['127.0.0.5', old, /alert protocol version/],
    ['127.0.0.5', ['-servername', 'other.example.test'], /unrecognized name/],
    ['127.0.0.5', ['-noservername'], /unrecognized name/],
    ['127.0.0.5', name, /Verification|Verify return code/],
  ]
  for (const [from, args, expected] of cases) t.regex(await openssl(gate, from, args), expected)
})

test('the reference on a page, in JSON and in the log leads to the cause, and diagnose explains it', async t => {
  await using gate = await startWholeGate({ policy: STRICT })
  const page = await ask(gate, {
    path: '/automate?file=../../windows/win.ini',
    headers: { accept: 'text/html' },
  })
  t.is(page.status, 403)
  const onPage = /<code>([^<]+)<\/code>/.exec(page.text)?.[1] ?? ''
  t.is(page.headers['portcullis-reference'], onPage)
  const json = await ask(gate, { path: '/LabTech/Updates/x' })
  const inJson = (JSON.parse(json.text) as { reference: string; code: string }).reference
  t.is(json.headers['portcullis-reference'], inJson)
  await t.throwsAsync(openTls(gate, { from: CN }))
  const onConnection = (await refused(gate, 'country-refused')).reference
  await gate.admin('POST', '/v1/flush')

  const policy = join(gate.directory, 'policies')
  const explained: readonly (readonly [string, RegExp])[] = [
    [onPage, /rule/],
    [inJson, /class-key/],
    [onConnection, /country-refused[\s\S]*CN/],
  ]
  await Promise.all(
    explained.map(async ([reference, expected]) => {
      const told = await runPortcullis(['diagnose', reference, '--policy', policy])
      t.is(told.code, 0, told.stderr)
      t.regex(told.stdout, expected)
      t.regex(told.stdout, /policies\/\S+\.yaml:\d+/)
    }),
  )
  const unknown = await runPortcullis(['diagnose', 'AAAA-AAAA-AAA', '--policy', policy])
  t.not(unknown.code, 0)
})
