// Floods of HTTP/2 frames: from a connector that holds a key towards the gate, and from a false gate towards a connector. Each ends
// its own connection, is an event, costs a bounded amount of memory, and everyone else is served meanwhile.
import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'
import { duplexPair, type Duplex } from 'node:stream'
import { mock } from 'node:test'
import anyTest, { type ExecutionContext } from 'ava'
import { dialGate } from '../../src/tunnel/connector/dial.ts'
import { serveConnectorSession } from '../../src/tunnel/h2/connector-session.ts'
import { openGateSession } from '../../src/tunnel/h2/gate-session.ts'
import { LOOK_MS, MAX_STREAMS } from '../../src/tunnel/h2/limits.ts'
import { identityHeaders } from '../../src/tunnel/identity.ts'
import { EMPTY_SETTINGS, FLOODS, piecesOf, PREFACE, SETTINGS_ACK, type Flood, type Side } from './floods.ts'
import { attach, FakeAccess, identity, KEY, KEY_NAME, service, startTunnelGate } from './harness.ts'

// The look at connections comes when a test says so.
const test = anyTest.serial
/** Far below the windows of a session: what a flood may hold at most. */
const MOST_MB = 100

test.before(() => mock.timers.enable({ apis: ['setInterval'] }))
test.after.always(() => mock.timers.reset())

/** Floods until the other side has ended the connection; gives up at a size that no limit allows. */
async function flood(t: ExecutionContext, socket: Duplex, kind: Flood, from: Side): Promise<void> {
  const over = new Promise<void>(resolve => {
    socket.once('close', resolve)
  })
  const drained = (): Promise<void> =>
    new Promise(resolve => {
      socket.once('drain', resolve)
    })
  for (let rounds = 0; rounds < 20; rounds++) {
    if (socket.closed) return
    for (const piece of piecesOf(kind, from)) {
      if (socket.closed) break
      if (!socket.write(piece)) await Promise.race([drained(), over])
      await new Promise(setImmediate)
    }
    mock.timers.tick(LOOK_MS)
    for (let turn = 0; turn < 5; turn++) await new Promise(setImmediate)
  }
  t.fail(`${kind.name}: still there`)
}

async function echoes(stream: Duplex, words: string): Promise<boolean> {
  stream.write(words)
  const [chunk] = (await once(stream, 'data')) as [Buffer]
  return String(chunk) === words
}

/** Heap and buffers, in megabytes. */
function memoryMb(): number {
  const { heapUsed, external, arrayBuffers } = process.memoryUsage()
  return (heapUsed + external + arrayBuffers) / 1e6
}

test('from a connector towards the gate', async t => {
  // A key for each: whoever breaks the protocol again and again is held with his key and address.
  const keys = Object.fromEntries(FLOODS.map((_, index) => [`key of flood ${index}`, `flood-${index}`]))
  const gate = await startTunnelGate(t, { access: new FakeAccess({ [KEY]: KEY_NAME, ...keys }) })
  const port = await service(t, socket => socket.pipe(socket))
  const honest = await attach(gate, { echo: port }, { identity: { name: 'honest' } })
  await honest.ready
  await gate.events.next('client.connected')
  const stream = await gate.parts.registry.find(KEY_NAME, 'honest')?.open('echo', AbortSignal.timeout(60_000))
  if (stream === undefined) return t.fail()
  for (const [index, kind] of FLOODS.entries()) {
    const name = `flood-${index}`
    const headers = identityHeaders(
      identity({ name, instance: `instance-of-flood-${index}` }),
      `key of flood ${index}`,
    )
    const limit = AbortSignal.timeout(60_000)
    const { socket } = await dialGate(gate.address, null, 'portcullis-h2', () => headers, limit)
    socket.on('error', () => undefined)
    socket.write(Buffer.concat([EMPTY_SETTINGS, SETTINGS_ACK]))
    await gate.events.next('client.connected', index + 2)
    const asking = once(socket, 'data')
    socket.resume()
    // Its first stream is asked for: answers, header lists and bytes on it are what a connector may send.
    const asked = gate.parts.registry.find(name, name)?.open('echo', limit)
    asked?.then(
      opened => opened.resume(),
      () => undefined,
    )
    await asking
    const before = memoryMb()
    await flood(t, socket, kind, 'connector')
    t.true(memoryMb() - before < MOST_MB, kind.name)
    const events = gate.events.of('client.protocol-broken').filter(({ client }) => client === name)
    t.is(events.length, 1, kind.name)
    t.true(await echoes(stream, `after ${kind.name}`))
  }
  t.is(gate.parts.registry.connections(), 1)
  t.is(gate.events.of('client.disconnected').length, FLOODS.length)
  t.is(gate.events.of('gate.internal-error').length, 0)
})

test('from a false gate towards a connector', async t => {
  const services = new Set<Duplex>()
  let most = 0
  const reach = (): Promise<{ socket: Duplex & { resetAndDestroy: () => unknown } }> => {
    const [near, far] = duplexPair()
    far.pipe(far)
    services.add(near)
    most = Math.max(most, services.size)
    near.once('close', () => {
      services.delete(near)
      far.destroy()
    })
    return Promise.resolve({ socket: Object.assign(near, { resetAndDestroy: () => near.destroy() }) })
  }
  const nowMs = (): number => performance.now()
  const serve = async (closed: (why: string) => void): Promise<Socket> => {
    const server = createServer().listen(0, '127.0.0.1')
    await once(server, 'listening')
    t.teardown(() => server.close())
    const near = connect((server.address() as AddressInfo).port, '127.0.0.1')
    const [far] = (await once(server, 'connection')) as [Socket]
    server.close()
    for (const socket of [near, far]) socket.on('error', () => undefined)
    t.teardown(() => near.destroy())
    serveConnectorSession(far, { nowMs, reach, ready: () => undefined, closed })
    return near
  }
  const ready = Promise.withResolvers<void>()
  const honest = openGateSession(await serve(() => undefined), {
    nowMs,
    ready: ready.resolve,
    closed: () => undefined,
  })
  await ready.promise
  const stream = honest.open('echo')
  await once(stream, 'connect')
  for (const kind of FLOODS) {
    const ended = Promise.withResolvers<string>()
    const socket = await serve(ended.resolve)
    socket.resume()
    socket.write(Buffer.concat([PREFACE, EMPTY_SETTINGS, SETTINGS_ACK]))
    const before = memoryMb()
    most = 0
    await flood(t, socket, kind, 'gate')
    t.not(await ended.promise, '')
    // Nothing of it is left at the services.
    for (const left of [...services].slice(1)) if (!left.closed) await once(left, 'close')
    t.true(memoryMb() - before < MOST_MB, kind.name)
    t.true(most <= MAX_STREAMS + 1, kind.name)
    t.true(await echoes(stream, `after ${kind.name}`))
  }
  honest.end('over')
})
