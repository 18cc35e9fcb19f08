// A peer that is no honest connector or gate, and senders that are no agents: what is bounded, what ends, and who is served all the same.
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import type { Socket } from 'node:net'
import { Duplex } from 'node:stream'
import test, { type ExecutionContext } from 'ava'
import { parseAddress } from '../../../src/net/address.ts'
import { BindConnection, type BindEnd } from '../../../src/tunnel/udp/bind-connection.ts'
import { CapsuleReader } from '../../../src/tunnel/udp/capsule-reader.ts'
import {
  CAPSULE,
  datagramHeadLength,
  encodeAssign,
  encodeContext,
  GOODBYE,
  isKnownCapsule,
  readGoodbye,
  writeDatagramHead,
} from '../../../src/tunnel/udp/capsules.ts'
import { createConnectorUdp } from '../../../src/tunnel/udp/connector-udp.ts'
import { MAX_QUEUED_BYTES } from '../../../src/tunnel/udp/outbox.ts'
import { varintLength, writeVarint } from '../../../src/tunnel/udp/varint.ts'
import { until } from '../../support/whole-gate.ts'
import { uncompressed } from './datagram-bytes.ts'
import { echoServer, TARGET, udpPeer, world } from './harness.ts'

function capsule(type: number, value: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(varintLength(type) + varintLength(value.length) + value.length)
  bytes.set(value, writeVarint(bytes, writeVarint(bytes, 0, type), value.length))
  return bytes
}

function datagram(context: number, payload: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(datagramHeadLength(context, payload.length) + payload.length)
  bytes.set(payload, writeDatagramHead(bytes, 0, context, payload.length))
  return bytes
}

function addressOf(text: string) {
  const address = parseAddress(text)
  if (address === undefined) throw new Error(text)
  return address
}

/** A peer by hand that the gate takes for a connector that is ready. */
async function rawConnector(t: ExecutionContext, servicePort = 9) {
  const whole = await world(t, servicePort)
  const socket = await whole.dialRaw()
  const got: Buffer[] = []
  socket.on('data', chunk => got.push(chunk))
  socket.write(encodeAssign(2, null))
  await until(() => whole.tunnels.state(TARGET).connections === 1)
  return { ...whole, socket, got }
}

const MALFORMED: Readonly<Record<string, readonly Uint8Array[]>> = {
  'an oversized datagram': [Uint8Array.of(0, 0x80, 0x10, 0, 0)],
  'an oversized unknown capsule': [Uint8Array.of(0x17, 0xbf, 0xff, 0xff, 0xff)],
  'a datagram without a context': [Uint8Array.of(0, 0)],
  'a truncated context': [Uint8Array.of(0, 1, 0x40)],
  'context 0 assigned': [encodeAssign(0, null)],
  'a second uncompressed context': [encodeAssign(4, null)],
  'the same context twice': [encodeAssign(2, null)],
  "a context with a gate's id": [encodeAssign(5, null)],
  'an address of no family': [capsule(CAPSULE.assign, Uint8Array.of(4, 7, 1, 2, 3, 4, 0, 80))],
  'an acknowledgement of what was never asked': [encodeContext('acknowledge', 77)],
  'an acknowledgement of its own context': [encodeContext('acknowledge', 2)],
  'a close of nothing': [capsule(CAPSULE.close, new Uint8Array())],
  'a ping with more than a number': [capsule(CAPSULE.ping, Uint8Array.of(1, 1))],
  'a service name without end': [capsule(CAPSULE.service, new Uint8Array(1_000))],
}

for (const [what, bytes] of Object.entries(MALFORMED)) {
  test(`the gate hangs up on a connector that sends ${what}`, async t => {
    const { socket, tunnels, got } = await rawConnector(t)
    for (const piece of bytes) socket.write(piece)
    await once(socket, 'close')
    t.is(tunnels.state(TARGET).connections, 0)
    const said: number[] = []
    const reader = new CapsuleReader((type, value) => {
      if (type === CAPSULE.goodbye) said.push(readGoodbye(value).code)
    }, isKnownCapsule)
    for (const chunk of got) reader.push(chunk)
    t.deepEqual(said, [GOODBYE.malformed], 'and says why')
  })
}

test('a connector cannot make the gate send to anybody who has not sent first, nor more than was paid for', async t => {
  const { socket, port, tunnels, relay } = await rawConnector(t)
  const victim = await udpPeer(t)
  const peer = { address: addressOf('127.0.0.1'), port: victim.port }
  // Contexts of its own for the victim, forged context ids, and the uncompressed context.
  socket.write(encodeAssign(4, peer))
  for (const context of [1, 3, 4, 5, 999, 2 ** 30]) socket.write(datagram(context, Buffer.from('attack')))
  for (let index = 0; index < 20; index++)
    socket.write(datagram(2, uncompressed(peer, Buffer.from('attack'))))
  await until(() => tunnels.state(TARGET).forged >= 26)
  t.is(victim.got.length, 0)
  // Once the victim has sent, its own answers reach it, both ways, and no more than three times what it paid.
  victim.socket.send('x', port(), '127.0.0.1')
  await until(() => tunnels.state(TARGET).contexts === 1)
  socket.write(datagram(1, Buffer.from('true')))
  socket.write(datagram(2, uncompressed(peer, Buffer.from('open'))))
  for (let index = 0; index < 1_000; index++) socket.write(datagram(1, Buffer.alloc(20)))
  await until(() => victim.got.length >= 2)
  t.deepEqual(
    victim.got.slice(0, 2).map(({ text }) => text),
    ['true', 'open'],
  )
  await until(() => relay.states()[0]?.replies === victim.got.length)
  t.true(victim.got.length <= 3)
})

test('a connector that asks for contexts for ever and reads nothing costs no memory, and everyone else is served', async t => {
  const server = await echoServer(t)
  const { dial, dialRaw, port, tunnels } = await world(t, server.port)
  await dial()
  const hostile = await dialRaw({ id: 'client-7', name: 'branch', key: 'branch' })
  hostile.pause()
  let context = 2
  hostile.write(encodeAssign(context, null))
  const peer = { address: addressOf('198.51.100.9'), port: 9 }
  const many = Buffer.concat(Array.from({ length: 2_000 }, () => encodeAssign((context += 2), peer)))
  for (let round = 0; round < 60; round++) if (!hostile.destroyed) hostile.write(many)
  const client = await udpPeer(t)
  client.socket.send('hello', port(), '127.0.0.1')
  await until(() => client.got.length === 1)
  t.is(tunnels.state(TARGET).connections, 1)
})

/** A stream that takes nothing: the other end does not read. */
class Stuck extends Duplex {
  written = 0
  override _write(chunk: Buffer, _encoding: string, _done: () => void): void {
    this.written += chunk.length
  }
  override _read(): void {
    // Nothing ever comes.
  }
}

test('an end whose peer does not read keeps a bounded queue, drops the oldest, and gives up when nothing is heard', async t => {
  let nowMs = 1_000
  const { promise, resolve } = Promise.withResolvers<BindEnd>()
  const stream = new Stuck()
  const ticks = new Set<() => void>()
  const nothing = (): void => undefined
  const end = new BindConnection(
    stream,
    Buffer.alloc(0),
    {
      onDatagram: nothing,
      onAssign: nothing,
      onAcknowledge: nothing,
      onClose: nothing,
      onTrouble: nothing,
      onEnd: resolve,
    },
    () => nowMs,
    (_ms, tick) => {
      ticks.add(tick)
      return () => ticks.delete(tick)
    },
  )
  const look = (): void => ticks.forEach(tick => tick())
  for (let index = 0; index < 20_000; index++) {
    nowMs += 0.01
    end.send(1, Buffer.alloc(400))
    if (index % 1_000 === 0) await new Promise(setImmediate)
  }
  t.true(end.queuedBytes <= MAX_QUEUED_BYTES + 65_536)
  t.true(stream.written + stream.writableLength < 1_000_000)
  t.true(end.dropped.overflow > 10_000)
  // Every quarter of a second from now on.
  const states: (readonly [aged: boolean, queued: boolean])[] = []
  for (let index = 0; index < 32 && end.isOpen; index++) {
    nowMs += 250
    look()
    states.push([end.dropped.aged > 0, end.queuedBytes > 0])
  }
  t.deepEqual(states[0], [false, true])
  t.true(states.some(([aged, queued]) => aged && !queued))
  t.is(ticks.size, 0)
  t.like(await promise, { by: 'network', code: GOODBYE.silent })
})

test('a gate that is none cannot make the connector reach anything but its services', async t => {
  const secret = await udpPeer(t)
  const server = await echoServer(t)
  const connector = createConnectorUdp(
    [
      {
        name: 'heartbeat',
        host: '127.0.0.1',
        port: server.port,
        contexts: 4,
        idleMs: 60_000,
        loopbackPerClient: false,
      },
    ],
    { onTrouble: () => undefined, onFull: () => undefined },
    () => performance.now(),
  )
  t.teardown(() => connector.close('the test is over'))
  const pair = async (bytes: readonly Uint8Array[]): Promise<BindEnd> => {
    const stream = new Passing()
    const ended = Promise.withResolvers<BindEnd>()
    connector.join(stream, Buffer.alloc(0), ended.resolve)
    for (const piece of bytes) stream.push(piece)
    return ended.promise
  }
  const named = { address: addressOf('127.0.0.1'), port: secret.port }
  // The address of a context is only a name for its source: datagrams go to the service.
  const stream = new Passing()
  connector.join(stream, Buffer.alloc(0), () => undefined)
  stream.push(encodeContext('acknowledge', 2))
  stream.push(encodeAssign(1, named))
  stream.push(datagram(1, Buffer.from('hello')))
  await until(() => server.got.length === 1)
  t.is(secret.got.length, 0)
  // A service that it does not offer is closed at once, and so is the fifth source of four.
  const service = (context: number, name: string): Uint8Array =>
    capsule(CAPSULE.service, Buffer.concat([Uint8Array.of(context), Buffer.from(name)]))
  stream.push(service(3, 'ssh'))
  stream.push(encodeAssign(3, { ...named, port: 22 }))
  for (let context = 5; context < 15; context += 2)
    stream.push(encodeAssign(context, { ...named, port: 1_000 + context }))
  await until(() => connector.states()[0]?.refusedContexts === 2)
  t.is(connector.states()[0]?.sources, 4)
  for (const bytes of [
    [encodeAssign(1, null)],
    [encodeAssign(4, named)],
    [encodeAssign(5, named), encodeAssign(3, named)],
    [encodeContext('acknowledge', 4)],
  ])
    t.like(await pair(bytes), { by: 'self', code: GOODBYE.malformed })
})

/** A stream whose other side is the test: what it writes is thrown away. */
class Passing extends Duplex {
  override _write(_chunk: Buffer, _encoding: string, done: () => void): void {
    done()
  }
  override _read(): void {
    // The test pushes.
  }
}

test('a flood of sources that never come back costs bounded state on both sides, and whoever was there stays served', async t => {
  const server = await echoServer(t)
  const { dial, port, relay, connector, advance, of } = await world(t, server.port, {
    listener: { flows: 60, flowsPerSource: 60 },
  })
  await dial()
  const regular = await udpPeer(t)
  let beats = 0
  const beat = async (): Promise<void> => {
    regular.socket.send('beat', port(), '127.0.0.1')
    beats++
    await until(() => regular.got.length === beats)
  }
  await beat()
  advance(2_000)
  await beat()
  for (let round = 0; round < 6; round++) {
    const flood = Array.from({ length: 100 }, () => createSocket('udp4'))
    await Promise.all(
      flood.map(
        socket => new Promise<void>(resolve => socket.send('spoofed', port(), '127.0.0.1', () => resolve())),
      ),
    )
    await beat()
    for (const socket of flood) socket.close()
    t.true((relay.states()[0]?.flows ?? 0) <= 60)
  }
  await until(() => (connector.states()[0]?.sources ?? 0) <= 60)
  t.true(of('heartbeat.closed').some(({ ending }) => ending === 'displaced'))
  t.is(new Set(server.got.filter(({ text }) => text === 'beat').map(({ from }) => from.port)).size, 1)
})

test('a connection cut within a capsule is over, and the next one begins anew', async t => {
  const { socket, tunnels, dial } = await rawConnector(t)
  const whole = datagram(1, Buffer.alloc(300))
  socket.end(whole.subarray(0, 100))
  await closed(socket)
  t.is(tunnels.state(TARGET).connections, 0)
  await dial({ id: 'client-2' })
  t.is(tunnels.state(TARGET).connections, 1)
})

async function closed(socket: Socket): Promise<void> {
  if (!socket.closed) await once(socket, 'close')
}

test('whatever two connections ask for in turn, the connector goes on and serves whoever comes next', async t => {
  const server = await echoServer(t)
  let aheadMs = 0
  const connector = createConnectorUdp(
    [
      {
        name: 'heartbeat',
        host: '127.0.0.1',
        port: server.port,
        contexts: 6,
        idleMs: 20_000,
        loopbackPerClient: false,
      },
    ],
    { onTrouble: () => undefined, onFull: () => undefined },
    () => performance.now() + aheadMs,
  )
  t.teardown(() => connector.close('the test is over'))
  let random = 4_545
  const next = (range: number): number => {
    random = (Math.imul(random, 1_103_515_245) + 12_345) >>> 0
    return Math.floor((random / 2 ** 32) * range)
  }
  let most = 0
  const ends: BindEnd[] = []
  const streams: { readonly stream: Passing; last: number }[] = []
  const dial = (): void => {
    const stream = new Passing()
    connector.join(stream, Buffer.alloc(0), end => {
      if (end.by === 'self' && end.code !== GOODBYE.done) ends.push(end)
    })
    streams.push({ stream, last: -1 })
  }
  dial()
  dial()
  for (let step = 0; step < 1_000; step++) {
    const at = next(2)
    const place = streams[at]
    if (place === undefined) break
    const peer = { address: addressOf('198.51.100.7'), port: 1 + next(9) }
    const context = 1 + 2 * next(place.last / 2 + 1)
    const kind = next(20)
    if (kind < 6) place.stream.push(encodeAssign((place.last += 2), peer))
    else if (kind < 10 && place.last > 0) place.stream.push(encodeContext('close', context))
    else if (kind < 19) place.stream.push(datagram(context, Buffer.from('beat')))
    else {
      place.stream.push(null)
      streams.splice(at, 1)
      dial()
    }
    if (step % 50 === 0) {
      aheadMs += next(8_000)
      await new Promise(setImmediate)
    }
    most = Math.max(most, connector.states()[0]?.sources ?? 0)
  }
  await new Promise(setImmediate)
  t.deepEqual(ends, [], 'no defect, nothing malformed')
  t.is(most, 6)
  await until(() => {
    aheadMs += 30_000
    return connector.states()[0]?.sources === 0
  })
  const { got } = server
  const before = got.length
  dial()
  streams.at(-1)?.stream.push(encodeAssign(1, { address: addressOf('198.51.100.8'), port: 7 }))
  streams.at(-1)?.stream.push(datagram(1, Buffer.from('after')))
  await until(() => got.slice(before).some(({ text }) => text === 'after'))
})
