// Heartbeats through the tunnel with real sockets: answers by context, reconnecting, the public port, limits, own loopback addresses.
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import test from 'ava'
import { parseAddress } from '../../../src/net/address.ts'
import { encodeAssign } from '../../../src/tunnel/udp/capsules.ts'
import { LoopbackAddresses } from '../../../src/tunnel/udp/connector-sockets.ts'
import { until } from '../../support/whole-gate.ts'
import { echoServer, TARGET, udpPeer, world } from './harness.ts'

test('two clients get their own answers, and later ones that the server sends by itself', async t => {
  const server = await echoServer(t)
  const { dial, port, relay } = await world(t, server.port)
  await dial()
  const [first, second] = [await udpPeer(t), await udpPeer(t)]
  first.socket.send('one', port(), '127.0.0.1')
  second.socket.send('two', port(), '127.0.0.1')
  await until(() => first.got.length === 1 && second.got.length === 1)
  t.is(first.got[0]?.text, 'ok one')
  t.is(second.got[0]?.text, 'ok two')
  t.is(first.got[0]?.from.port, port(), 'from the port that it was sent to')
  const own = server.got.find(({ text }) => text === 'two')?.from.port ?? 0
  t.not(own, server.got.find(({ text }) => text === 'one')?.from.port)
  server.socket.send('check in', own, '127.0.0.1')
  await until(() => second.got.length === 2)
  t.is(second.got[1]?.text, 'check in')
  t.like(relay.states(), [
    { flows: 2, heartbeats: 2, replies: 3, connector: { trouble: null, connections: 1 } },
  ])
})

test('datagrams keep their boundaries and their bytes: empty, one byte, and the largest that passes', async t => {
  const server = await udpPeer(t)
  const { dial, port } = await world(t, server.port, { listener: { datagramBytes: 65_507 } })
  await dial()
  const client = await udpPeer(t)
  const sizes = [1, 0, 1_472, 60_000, 3]
  for (const size of sizes) client.socket.send(Buffer.alloc(size, 0x61), port(), '127.0.0.1')
  await until(() => server.got.length === sizes.length)
  t.deepEqual(
    server.got.map(({ text }) => text.length),
    sizes,
  )
})

test('what comes out of the tunnel is bounded by what went in: the amplification guard stays', async t => {
  const server = await udpPeer(t, (_text, from) => {
    for (let index = 0; index < 50; index++) server.socket.send(Buffer.alloc(200), from.port, from.address)
    server.socket.send(Buffer.alloc(1_400), from.port, from.address)
  })
  const { dial, port, relay, connector, of } = await world(t, server.port, {
    listener: { datagramBytes: 1_000 },
  })
  await dial()
  const client = await udpPeer(t)
  client.socket.send('x', port(), '127.0.0.1')
  client.socket.send(Buffer.alloc(500), port(), '127.0.0.1')
  await until(() => (connector.states()[0]?.datagramsOut ?? 0) >= 102)
  // What comes for another one now comes behind all of it.
  const second = await udpPeer(t)
  second.socket.send(Buffer.alloc(500), port(), '127.0.0.1')
  await until(() => client.got.length >= 5 && second.got.length > 0)
  await relay.close()
  const closed = of('heartbeat.closed').find(({ heartbeats }) => heartbeats === 2)
  t.true((closed?.withheld ?? 0) > 50)
  t.true((closed?.bytesOut ?? 0) <= 3 * (501 + 2 * 28))
})

test('a connector that returns takes over at once: the server sees the same port, and what was sent meanwhile arrives', async t => {
  const server = await echoServer(t)
  const { dial, port, tunnels } = await world(t, server.port)
  const { socket } = await dial()
  const client = await udpPeer(t)
  client.socket.send('before', port(), '127.0.0.1')
  await until(() => client.got.length === 1)
  socket.destroy()
  await until(() => tunnels.state(TARGET).connections === 0)
  client.socket.send('meanwhile', port(), '127.0.0.1')
  await until(() => tunnels.state(TARGET).queuedBytes > 0)
  await dial({ id: 'client-2' })
  await until(() => client.got.length === 2)
  t.is(client.got[1]?.text, 'ok meanwhile')
  t.is(new Set(server.got.map(({ from }) => from.port)).size, 1)
  const own = server.got[0]?.from.port ?? 0
  server.socket.send('pushed', own, '127.0.0.1')
  await until(() => client.got.length === 3)
  t.is(tunnels.state(TARGET).dropped.away, 0)
})

test('a connector that attaches again replaces what it left behind', async t => {
  const server = await echoServer(t)
  const { dial, port, tunnels } = await world(t, server.port)
  const zombie = await dial()
  zombie.socket.pause()
  await dial({ id: 'client-2' })
  await until(() => tunnels.state(TARGET).connections === 1)
  const client = await udpPeer(t)
  client.socket.send('hello', port(), '127.0.0.1')
  await until(() => client.got.length === 1)
  zombie.socket.resume()
  t.like(await zombie.ended, { by: 'peer', code: 0, text: 'the connector has attached again' })
})

test('several connections share the sources, and one that breaks leaves its sources to the others', async t => {
  const server = await echoServer(t)
  const { dial, port, tunnels } = await world(t, server.port)
  const connections = [await dial(), await dial(), await dial()]
  t.is(tunnels.state(TARGET).connections, 3)
  const clients = await Promise.all(Array.from({ length: 24 }, () => udpPeer(t)))
  const beat = async (round: number): Promise<void> => {
    for (const client of clients) client.socket.send(`beat ${round}`, port(), '127.0.0.1')
    await until(() => clients.every(({ got }) => got.length === round))
  }
  await beat(1)
  const ports = new Set(server.got.map(({ from }) => from.port))
  t.is(ports.size, 24)
  connections[1]?.socket.destroy()
  await until(() => tunnels.state(TARGET).connections === 2)
  await beat(2)
  await dial()
  await beat(3)
  t.is(new Set(server.got.map(({ from }) => from.port)).size, 24, 'no source got another port')
})

test('more than eight connections of one connector are refused', async t => {
  const { dial, dialRaw, tunnels } = await world(t, 9)
  for (let index = 0; index < 8; index++) await dial()
  t.is(tunnels.state(TARGET).connections, 8)
  const ninth = await dialRaw()
  ninth.resume()
  await once(ninth, 'close')
  t.is(tunnels.state(TARGET).connections, 8)
})

test('who attaches with another key cannot take the name of a connector', async t => {
  const server = await echoServer(t)
  const { dial, dialRaw, port, tunnels } = await world(t, server.port)
  await dial()
  const thief = await dialRaw({ id: 'client-9', key: 'branch' })
  thief.write(encodeAssign(2, null))
  await once(thief.resume(), 'data')
  const client = await udpPeer(t)
  client.socket.send('hello', port(), '127.0.0.1')
  await until(() => client.got.length === 1)
  t.is(tunnels.state(TARGET).connections, 1)
})

test('the public port is closed 15 s after its connector is gone, so that senders are told; it opens when it is back', async t => {
  const server = await echoServer(t)
  const { dial, port, relay, advance, of } = await world(t, server.port, {
    listener: { idleMs: 86_400_000 },
  })
  const { socket } = await dial()
  const client = await udpPeer(t)
  client.socket.send('hello', port(), '127.0.0.1')
  await until(() => client.got.length === 1)
  // The first tick sees that the connector is there.
  await until(() => relay.states()[0]?.connector?.trouble === null)
  const public_ = port()
  socket.destroy()
  await until(() => relay.states()[0]?.connector?.trouble === 'away')
  await until(() => {
    advance(2_000)
    return relay.addresses().length === 0
  })
  t.like(of('heartbeat.port-closed'), [
    { listener: 'automate', upstream: 'connector://rmm/heartbeat', connector: 'away' },
  ])
  t.like(of('heartbeat.closed'), [{ ending: 'connector-away' }])
  t.like(relay.states(), [{ flows: 0, connector: { portClosed: true } }])
  const told = createSocket('udp4')
  told.connect(public_, '127.0.0.1')
  await once(told, 'connect')
  told.send('anybody?')
  const [error] = (await once(told, 'error')) as [NodeJS.ErrnoException]
  t.is(error.code, 'ECONNREFUSED')
  told.close()
  await dial({ id: 'client-2' })
  await until(() => relay.addresses().length === 1)
  t.is(of('heartbeat.port-opened').length, 1)
  client.socket.send('again', port(), '127.0.0.1')
  await until(() => client.got.length === 2)
})

test('a service that the connector does not offer gets nothing; one that is gone is known to be', async t => {
  const { dial, port, relay } = await world(t, 9)
  await dial({ services: [{ kind: 'udp', name: 'another' }] })
  const client = await udpPeer(t)
  client.socket.send('hello', port(), '127.0.0.1')
  await until(() => relay.states()[0]?.heartbeats === 1)
  t.like(relay.states(), [{ connector: { trouble: 'not-offered', contexts: 0 } }])
})

test('a closed port of the service reaches the diagnosis through the tunnel', async t => {
  const { dial, port, of, troubles, advance } = await world(t, 1)
  await dial()
  const client = await udpPeer(t)
  let sent = 0
  await until(() => {
    client.socket.send(`beat ${++sent}`, port(), '127.0.0.1')
    advance(1_000)
    return of('heartbeat.unanswered').length > 0
  })
  t.like(of('heartbeat.unanswered'), [{ portClosed: true, connector: null }])
  t.deepEqual(troubles.slice(0, 1), ['heartbeat ECONNREFUSED'])
})

test('a connector with as many sources as it may have refuses others, and says so', async t => {
  const server = await echoServer(t)
  const { dial, port, of, relay } = await world(t, server.port, { service: { contexts: 3 } })
  await dial()
  const clients = await Promise.all(Array.from({ length: 5 }, () => udpPeer(t)))
  for (const client of clients) client.socket.send('hello', port(), '127.0.0.1')
  await until(() => of('heartbeat.context-refused').length > 0)
  t.like(of('heartbeat.context-refused'), [{ count: 2 }])
  t.is(relay.states()[0]?.flows, 3)
  t.is(clients.filter(({ got }) => got.length === 1).length, 3)
})

test('each client address has an own loopback address, so that the server can tell clients apart', async t => {
  const addresses = new LoopbackAddresses()
  const of = (text: string): string => {
    const address = parseAddress(text)
    return address === undefined ? '' : addresses.of(address)
  }
  const seen = new Set<string>()
  for (let index = 0; index < 5_000; index++) seen.add(of(`198.51.${index >> 8}.${index & 255}`))
  seen.add(of('2001:db8::7'))
  t.is(seen.size, 5_001)
  t.is(of('198.51.0.9'), of('198.51.0.9'))
  for (const text of seen) t.regex(text, /^127\.(?:6[4-9]|[7-9]\d|1[01]\d|12[0-7])\.\d+\.\d+$/)

  const server = await echoServer(t)
  const { dial, port } = await world(t, server.port, { service: { loopbackPerClient: true } })
  await dial()
  const client = await udpPeer(t)
  client.socket.send('hello', port(), '127.0.0.1')
  await until(() => client.got.length === 1)
  t.is(client.got[0]?.text, 'ok hello')
  t.regex(server.got[0]?.from.address ?? '', /^127\.(?:6[4-9]|[7-9]\d|1[01]\d|12[0-7])\./)
})
