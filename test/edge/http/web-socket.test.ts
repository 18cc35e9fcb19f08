// WebSockets through the edge and the real forwarder: handshake, splice, half-close, RST, idle limit, one closing event.
import { once } from 'node:events'
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import { PassThrough } from 'node:stream'
import { connect } from 'node:tls'
import test, { type ExecutionContext } from 'ava'
import { WebSocket, WebSocketServer } from 'ws'
import { acceptOf } from '../../../src/edge/http/web-socket-handshake.ts'
import { createForwarder } from '../../../src/forward/wire-forwarder.ts'
import { testAuthority } from '../../support/certificates.ts'
import { get, RawClient, startGate, until, withLimits, type TestGate } from './harness.ts'

const KEY = 'dGhlIHNhbXBsZSBub25jZQ=='
const HANDSHAKE = get(
  '/automate/socket',
  'Connection: keep-alive, Upgrade',
  'Upgrade: websocket',
  'Sec-WebSocket-Version: 13',
  `Sec-WebSocket-Key: ${KEY}`,
  'Origin: https://rmm.example.test',
)
const SWITCH = `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${acceptOf(KEY)}\r\n\r\n`

test('ws client and ws server talk through TLS, text and 5 MB binary both ways', async t => {
  const server = new WebSocketServer({ port: 0, host: '127.0.0.1' })
  await once(server, 'listening')
  server.on('connection', socket => socket.on('message', (data, binary) => socket.send(data, { binary })))
  const gate = await startGate({ tls: true, ...real((server.address() as AddressInfo).port) })
  const client = new WebSocket(`wss://127.0.0.1:${gate.port}/automate/socket`, {
    ca: await testAuthority(),
    headers: { Host: 'rmm.example.test' },
    perMessageDeflate: true,
  })
  await once(client, 'open')
  t.is(gate.activities[0]?.state(), 'websocket console')
  client.send('hello')
  t.is(String((await once(client, 'message'))[0]), 'hello')
  const big = Buffer.alloc(5_000_000, 'ab')
  client.send(big)
  t.true(big.equals((await once(client, 'message'))[0] as Buffer))
  t.like(await gate.event('websocket.opened'), {
    path: '/automate/socket',
    class: 'console',
    upstream: 'rmm/primary',
  })
  client.close(1000, 'bye')
  const [code] = (await once(client, 'close')) as [number]
  t.is(code, 1000)
  t.like(await gate.event('request.closed'), { webSocket: true, status: 101, ending: 'complete' })
  await finished(t, gate)
  server.close()
})

test('bytes sent ahead by either side arrive after the switch, in order', async t => {
  const { gate, upstream } = await rawUpstream()
  const client = await RawClient.open(gate.port)
  client.send(`${HANDSHAKE}ahead-`)
  const served = await upstream()
  served.send(`${SWITCH}early-`)
  await client.until(text => text.endsWith('\r\n\r\nearly-'))
  client.send('then')
  await served.until(text => text.endsWith('\r\n\r\nahead-then'))
  served.send('later')
  await client.until(text => text.endsWith('early-later'))
  t.is((client.received.match(/Sec-WebSocket-Accept/g) ?? []).length, 1)
  client.socket.destroy()
  await served.all()
  served.socket.end()
  await finished(t, gate)
})

test('trap 14: an upgrade that is no valid handshake is refused and never reaches the upstream', async t => {
  for (const [what, change] of [
    ['body', (text: string) => text.replace('\r\n\r\n', '\r\nContent-Length: 5\r\n\r\nhello')],
    [
      'chunked body',
      (text: string) => text.replace('\r\n\r\n', '\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n'),
    ],
    ['POST', (text: string) => text.replace('GET', 'POST')],
    ['no key', (text: string) => text.replace(/Sec-WebSocket-Key.*\r\n/, '')],
    ['short key', (text: string) => text.replace(KEY, 'c2hvcnQ=')],
    ['key of 17 bytes', (text: string) => text.replace(KEY, 'MDEyMzQ1Njc4OTAxMjM0NTY=')],
    ['version 8', (text: string) => text.replace('Version: 13', 'Version: 8')],
    ['no Connection: upgrade', (text: string) => text.replace('keep-alive, Upgrade', 'keep-alive')],
    ['two protocols', (text: string) => text.replace('Upgrade: websocket', 'Upgrade: h2c, websocket')],
    ['HTTP/1.0', (text: string) => text.replace('HTTP/1.1', 'HTTP/1.0')],
  ] as const) {
    const gate = await startGate()
    const client = await RawClient.open(gate.port)
    client.send(change(HANDSHAKE))
    t.true((await client.all()).startsWith('HTTP/1.1 400 '), what)
    t.is(gate.forwarder.exchanges.length, 0)
    t.is(gate.count('request.refused'), 1)
    await gate.close()
  }
})

test('trap 14: no bytes are joined unless the upstream switches validly', async t => {
  for (const [answer, status] of [
    ['HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno', 'HTTP/1.1 403 '],
    ['HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok', 'HTTP/1.1 200 '],
    [SWITCH.replace(acceptOf(KEY), acceptOf('x')), 'HTTP/1.1 502 '],
    [SWITCH.replace('Upgrade: websocket', 'Upgrade: h2c'), 'HTTP/1.1 502 '],
  ] as const) {
    const { gate, upstream } = await rawUpstream()
    const client = await RawClient.open(gate.port)
    client.send(`${HANDSHAKE}${get('/automate/smuggled')}`)
    const served = await upstream()
    served.send(answer)
    t.true((await client.all()).startsWith(status), answer)
    client.socket.destroy()
    await gate.quiet()
    t.false(served.received.includes('smuggled'))
    served.socket.destroy()
    t.is(gate.count('request.closed'), 1)
    await finished(t, gate)
  }
})

test('trap 14: a switch that the forwarder let through is checked again before anything is joined', async t => {
  for (const headers of [
    ['Upgrade', 'websocket', 'Connection', 'Upgrade', 'Sec-WebSocket-Accept', acceptOf('other')],
    ['Upgrade', 'websocket', 'Connection', 'Upgrade'],
    ['Upgrade', 'h2c', 'Connection', 'Upgrade', 'Sec-WebSocket-Accept', acceptOf(KEY)],
    ['Upgrade', 'websocket', 'Connection', 'close', 'Sec-WebSocket-Accept', acceptOf(KEY)],
  ]) {
    const gate = await startGate()
    const client = await RawClient.open(gate.port)
    client.send(HANDSHAKE)
    const exchange = await gate.forwarder.at(0)
    t.true(exchange.upgrade)
    const socket = new PassThrough()
    const head = { status: 101, statusText: 'Switching Protocols', headers, contentLength: null }
    exchange.handler.onUpgrade({ head, socket, early: Buffer.alloc(0) })
    t.true((await client.all()).startsWith('HTTP/1.1 502 '))
    t.true(socket.destroyed)
    t.like(await gate.event('request.closed'), { ending: 'upstream-invalid' })
    await gate.close()
  }
})

test('a RST of the client before the answer ends the upstream connection', async t => {
  const { gate, upstream } = await rawUpstream()
  const client = await RawClient.open(gate.port)
  client.send(HANDSHAKE)
  const served = await upstream()
  client.socket.resetAndDestroy()
  await served.all()
  served.socket.destroy()
  t.like(await gate.event('request.closed'), { ending: 'client-abort' })
  await finished(t, gate)
})

test('trap 47: RST goes through as RST in both directions', async t => {
  for (const side of ['client', 'upstream'] as const) {
    const { gate, upstream } = await rawUpstream()
    const client = await RawClient.open(gate.port)
    client.send(HANDSHAKE)
    const served = await upstream()
    served.send(SWITCH)
    await client.until(text => text.includes('\r\n\r\n'))
    const [one, other] = side === 'client' ? [client, served] : [served, client]
    one.socket.resetAndDestroy()
    await other.gone()
    t.is(other.error?.code, 'ECONNRESET')
    t.like(await gate.event('request.closed'), {
      ending: side === 'client' ? 'client-abort' : 'upstream-abort',
    })
    await finished(t, gate)
  }
})

test('trap 47: through TLS too a RST of the upstream reaches the client as RST', async t => {
  const { gate, upstream } = await rawUpstream({}, true)
  const socket = connect({ port: gate.port, host: '127.0.0.1', ca: await testAuthority() })
  await once(socket, 'secureConnect')
  const client = new RawClient(socket)
  client.send(HANDSHAKE)
  const served = await upstream()
  served.send(SWITCH)
  await client.until(text => text.includes('\r\n\r\n'))
  served.socket.resetAndDestroy()
  await client.gone()
  t.is(client.error?.code, 'ECONNRESET')
  t.like(await gate.event('request.closed'), { ending: 'upstream-abort' })
  await finished(t, gate)
})

test('trap 47: a half-close goes through, what is still under way arrives, and then both sides end', async t => {
  const { gate, upstream } = await rawUpstream()
  const client = await RawClient.open(gate.port)
  client.send(HANDSHAKE)
  const served = await upstream()
  served.send(SWITCH)
  await client.until(text => text.includes('\r\n\r\n'))
  client.send('last words')
  client.socket.end()
  t.true((await served.all()).endsWith('last words'))
  const rest = Buffer.alloc(3_000_000, 'r')
  served.send(rest)
  served.socket.end()
  const text = await client.all()
  t.is(text.length - text.indexOf('\r\n\r\n') - 4, rest.length)
  t.like(await gate.event('request.closed'), { ending: 'complete' })
  await finished(t, gate)
})

test('trap 13: a half-closed WebSocket whose other side stays silent does not stay for ever', async t => {
  const { gate, upstream } = await rawUpstream()
  const client = await RawClient.open(gate.port)
  client.send(HANDSHAKE)
  const served = await upstream()
  served.send(SWITCH)
  await client.until(text => text.includes('\r\n\r\n'))
  client.socket.end()
  await served.all()
  gate.clock.pass(500)
  await client.gone()
  await finished(t, gate)
})

test('trap 42: silence shorter than webSocketIdleMs is fine, either direction counts, longer silence ends both sides', async t => {
  const { gate, upstream } = await rawUpstream()
  const client = await RawClient.open(gate.port)
  client.send(HANDSHAKE)
  const served = await upstream()
  served.send(SWITCH)
  await client.until(text => text.includes('\r\n\r\n'))
  gate.clock.pass(9_000)
  served.send('ping')
  await client.until(text => text.endsWith('ping'))
  gate.clock.pass(9_000)
  client.send('pong')
  await served.until(text => text.endsWith('pong'))
  gate.clock.pass(9_000)
  t.is(gate.count('request.closed'), 0)
  gate.clock.pass(1_000)
  await Promise.all([client.gone(), served.gone()])
  t.like(await gate.event('request.closed'), { ending: 'client-timeout', bytesIn: HANDSHAKE.length + 4 })
  await finished(t, gate)
})

test('back-pressure: a side that does not read stops the other', async t => {
  const { gate, upstream } = await rawUpstream()
  const client = await RawClient.open(gate.port)
  client.send(HANDSHAKE)
  const served = await upstream()
  served.send(SWITCH)
  await client.until(text => text.includes('\r\n\r\n'))
  client.socket.pause()
  served.send(Buffer.alloc(40_000_000))
  const [socket] = gate.sockets
  await until(
    () => (socket?.writableNeedDrain ?? false) || null,
    listen => {
      const handle = setImmediate(listen)
      return () => clearImmediate(handle)
    },
  )
  t.true((socket?.writableLength ?? Infinity) < 300_000)
  client.socket.resume()
  await client.until(text => text.length > 40_000_000)
  client.socket.destroy()
  await served.all()
  served.socket.end()
  await finished(t, gate)
})

test('an open WebSocket survives a reload and counts as an open request of its source', async t => {
  const { gate, upstream } = await rawUpstream({ concurrentPerSource: 1 })
  const client = await RawClient.open(gate.port)
  client.send(HANDSHAKE)
  const served = await upstream()
  served.send(SWITCH)
  await client.until(text => text.includes('\r\n\r\n'))
  gate.setPolicy({ snapshot: { ...withLimits({ concurrentPerSource: 1 }), names: [] } })
  client.send('still')
  await served.until(text => text.endsWith('still'))
  gate.setPolicy({ snapshot: withLimits({ concurrentPerSource: 1 }) })
  const second = await RawClient.open(gate.port)
  second.send(get())
  t.true((await second.until(text => text.includes('</html>'))).startsWith('HTTP/1.1 429 '))
  client.socket.end()
  served.socket.end()
  await gate.event('request.closed')
  second.socket.destroy()
  await finished(t, gate)
})

const servers = new Set<Server>()
test.after.always(() => {
  for (const server of servers) server.close()
})

function real(port: number): Pick<NonNullable<Parameters<typeof startGate>[0]>, 'ports' | 'forwarder'> {
  return { ports: [port], forwarder: createForwarder() }
}

/** An upstream that only takes connections; the test speaks for it. */
async function rawUpstream(
  limits: Parameters<typeof withLimits>[0] = {},
  tls = false,
): Promise<{ readonly gate: TestGate; readonly upstream: () => Promise<RawClient> }> {
  const server = createServer({ allowHalfOpen: true })
  servers.add(server)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const connected = once(server, 'connection') as Promise<[Socket]>
  const gate = await startGate({
    snapshot: withLimits(limits),
    tls,
    ...real((server.address() as AddressInfo).port),
  })
  return {
    gate,
    upstream: async () => {
      const [socket] = await connected
      const served = new RawClient(socket)
      await served.until(text => text.includes('\r\n\r\n'))
      return served
    },
  }
}

async function finished(t: ExecutionContext, gate: TestGate): Promise<void> {
  await gate.event('request.closed')
  await gate.quiet()
  t.is(gate.clock.timers, 0)
  t.is(gate.count('request.closed'), 1)
  await gate.close()
}
