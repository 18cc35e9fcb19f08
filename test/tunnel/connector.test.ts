// The connector before real gates over lines that hold, break and delay: black holes, restarts, proxies, primary and standby.
import { once } from 'node:events'
import { connect, createServer, type AddressInfo } from 'node:net'
import type { Duplex } from 'node:stream'
import test, { type ExecutionContext } from 'ava'
import {
  startConnector,
  type Connector,
  type ConnectorOptions,
  type ConnectorSettings,
} from '../../src/tunnel/connector/connector.ts'
import { DialError, type ProxyAddress } from '../../src/tunnel/connector/dial.ts'
import type { ConnectorEvent } from '../../src/tunnel/connector/events.ts'
import { createReach } from '../../src/tunnel/connector/reach.ts'
import { createIdentityPins } from '../../src/tunnel/identity-pins.ts'
import { startTcpLink, type Link } from '../support/link.ts'
import {
  attach,
  FakeAccess,
  HOST,
  identityHeld,
  KEY,
  KEY_NAME,
  service,
  startTunnelGate,
  type TunnelGate,
} from './harness.ts'

/** A connector in this process whose events can be waited for. */
class Running {
  readonly events: ConnectorEvent[] = []
  readonly #waiting = new Set<() => void>()
  readonly connector: Connector

  constructor(
    t: ExecutionContext,
    port: number,
    settings: Partial<ConnectorSettings>,
    instance: string,
    options: Partial<ConnectorOptions> = {},
  ) {
    const reach = createReach(
      [
        { name: 'echo', host: '127.0.0.1', port, tls: null },
        { name: 'dead', host: '127.0.0.1', port: 9, tls: null },
      ],
      (name, problem) => {
        if (problem === null) this.take({ event: 'service.reached', service: name })
        else this.take({ event: 'service.unreachable', service: name, problem })
      },
    )
    this.connector = startConnector(
      {
        name: 'rmm',
        gates: [],
        choice: { mode: 'all', returnAfterMs: 1_500, moveAfterMs: 200 },
        proxy: null,
        realAddress: null,
        version: '0.1.0',
        services: [
          { name: 'echo', kind: 'tcp' },
          { name: 'dead', kind: 'tcp' },
        ],
        udpConnections: 0,
        ...settings,
      },
      {
        key: KEY,
        held: null,
        instance,
        monotonicMs: () => performance.now(),
        random: Math.random,
        report: event => this.take(event),
        reach,
        udp: null,
        ...options,
      },
    )
    t.teardown(() => this.connector.stop())
  }

  take(event: ConnectorEvent): void {
    this.events.push(event)
    for (const look of this.#waiting) look()
  }

  async next(name: ConnectorEvent['event'], count = 1): Promise<ConnectorEvent> {
    for (;;) {
      const found = this.events.filter(({ event }) => event === name)[count - 1]
      if (found !== undefined) return found
      await new Promise<void>(done => {
        const look = (): void => {
          this.#waiting.delete(look)
          done()
        }
        this.#waiting.add(look)
      })
    }
  }
}

async function echoPort(t: ExecutionContext): Promise<number> {
  return service(t, socket => socket.pipe(socket))
}

async function link(t: ExecutionContext, gate: TunnelGate): Promise<Link> {
  const line = await startTcpLink({ port: gate.port })
  t.teardown(() => line.close())
  return line
}

const through = (gate: TunnelGate, line: Link) => ({ ...gate.address, port: line.port })

async function session(gate: TunnelGate): Promise<Duplex> {
  const client = gate.parts.registry.find(KEY_NAME, 'rmm')
  if (client === undefined) throw new Error('not attached')
  const stream = await client.open('echo', AbortSignal.timeout(10_000))
  await says(stream)
  return stream
}

async function says(stream: Duplex): Promise<void> {
  stream.write('?')
  await once(stream, 'data')
}

test('a black hole is noticed on both sides, and the connector is back as soon as the line is', async t => {
  const gate = await startTunnelGate(t)
  const line = await link(t, gate)
  const running = new Running(t, await echoPort(t), { gates: [through(gate, line)] }, 'instance-00000001')
  await running.next('gate.attached')
  await gate.events.next('client.connected')
  const heldMs = performance.now()
  line.hold()
  const lost = await running.next('gate.lost')
  await gate.events.next('client.disconnected')
  t.log(`noticed after ${Math.round(performance.now() - heldMs)} ms`)
  t.regex('why' in lost ? lost.why : '', /nothing was heard/)
  line.cut()
  const freeMs = performance.now()
  line.release()
  await running.next('gate.attached', 2)
  t.log(`back after ${Math.round(performance.now() - freeMs)} ms`)
  await gate.events.next('client.connected', 2)
  await session(gate)
})

test('a broken line is dialled again at once, and what is not offered or dead says so without ending the tunnel', async t => {
  const gate = await startTunnelGate(t)
  const line = await link(t, gate)
  const running = new Running(t, await echoPort(t), { gates: [through(gate, line)] }, 'instance-00000002')
  await running.next('gate.attached')
  await gate.events.next('client.connected')
  const client = gate.parts.registry.find(KEY_NAME, 'rmm')
  await t.throwsAsync(async () => client?.open('dead', AbortSignal.timeout(10_000)), {
    message: /ECONNREFUSED/,
  })
  await t.throwsAsync(async () => client?.open('127.0.0.1:22', AbortSignal.timeout(10_000)), {
    message: /offers no/,
  })
  t.is((await running.next('service.unreachable')).event, 'service.unreachable')
  await session(gate)
  const cutMs = performance.now()
  line.cut()
  await running.next('gate.attached', 2)
  t.log(`back after ${Math.round(performance.now() - cutMs)} ms`)
  await gate.events.next('client.connected', 2)
  await session(gate)
})

test('N8: a gate that shuts down moves its clients to the standby, and sessions in progress stay where they are', async t => {
  const [primary, standby] = [await startTunnelGate(t), await startTunnelGate(t)]
  const running = new Running(
    t,
    await echoPort(t),
    {
      gates: [primary.address, standby.address],
      choice: { mode: 'standby', returnAfterMs: 1_500, moveAfterMs: 200 },
    },
    'instance-00000003',
  )
  await running.next('gate.attached')
  await primary.events.next('client.connected')
  t.deepEqual(running.connector.attached(), [0])
  // The primary says that it shuts down: what runs on it goes on there while the client is at the standby already.
  const old = await session(primary)
  for (const live of primary.gate.connections()) t.is(live.state, 'connector')
  const drained = primary.gate.drain(30_000)
  await standby.events.next('client.connected')
  await primary.events.next('client.disconnected')
  t.deepEqual(running.connector.attached(), [1])
  await says(old)
  t.is(running.connector.streams(), 1)
  const young = await session(standby)
  await says(old)
  old.end()
  t.is(await drained, 0)
  await says(young)
})

test('N8: the way back waits until the primary has proven itself, and disturbs nobody', async t => {
  const [primary, standby] = [await startTunnelGate(t), await startTunnelGate(t)]
  const line = await link(t, primary)
  line.hold()
  const running = new Running(
    t,
    await echoPort(t),
    {
      gates: [through(primary, line), standby.address],
      choice: { mode: 'standby', returnAfterMs: 1_500, moveAfterMs: 200 },
    },
    'instance-00000004',
  )
  await standby.events.next('client.connected')
  const young = await session(standby)
  line.cut()
  line.release()
  await primary.events.next('client.connected')
  // Both serve for a while.
  t.deepEqual(running.connector.attached(), [0, 1])
  await session(primary)
  await standby.events.next('client.disconnected')
  t.deepEqual(running.connector.attached(), [0])
  await says(young)
  young.end()
  await once(young, 'end')
  t.is((await running.next('gate.left')).event, 'gate.left')
})

test('N23: through an HTTP proxy with credentials, and wrong credentials are named', async t => {
  const gate = await startTunnelGate(t)
  const asked: string[] = []
  const proxy = createServer(socket => {
    socket.on('error', () => undefined)
    socket.once('data', head => {
      const text = head.toString('latin1')
      asked.push(text.split('\r\n', 1)[0] ?? '')
      const good = text.includes(`Basic ${Buffer.from('svc:päss').toString('base64')}`)
      if (!good) {
        socket.end('HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n')
        return
      }
      const up = connect({ host: '127.0.0.1', port: gate.port })
      up.on('error', () => undefined)
      socket.write('HTTP/1.1 200 Connection established\r\n\r\n')
      socket.pipe(up).pipe(socket)
    })
  }).listen(0, '127.0.0.1')
  await once(proxy, 'listening')
  t.teardown(() => proxy.close())
  const address = (password: string): ProxyAddress => ({
    host: '127.0.0.1',
    port: (proxy.address() as AddressInfo).port,
    user: 'svc',
    password,
  })
  const gates = [gate.address]
  const wrong = new Running(t, 9, { gates, proxy: address('wrong') }, 'instance-00000005')
  const failure = await wrong.next('gate.unreachable')
  t.is('code' in failure ? failure.code : '', 'proxy-login')
  wrong.connector.stop()
  const right = new Running(t, await echoPort(t), { gates, proxy: address('päss') }, 'instance-00000006')
  await right.next('gate.attached')
  await gate.events.next('client.connected')
  await session(gate)
  t.is(asked.at(-1), `CONNECT 127.0.0.1:${gate.port} HTTP/1.1`)
})

test('a standby that is not needed yet knows the connector all the same, and one that would refuse it is a warning before it is needed', async t => {
  const pins = createIdentityPins({ load: () => [], keep: () => undefined, drop: () => undefined })
  const primary = await startTunnelGate(t)
  const standby = await startTunnelGate(t, { pins })
  const stranger = await startTunnelGate(t, { access: new FakeAccess({ 'another key': 'other' }) })
  const held = identityHeld()
  const running = new Running(
    t,
    await echoPort(t),
    {
      gates: [primary.address, standby.address, stranger.address],
      choice: { mode: 'standby', returnAfterMs: 1_500, moveAfterMs: 60_000 },
    },
    'introduced-connector',
    { held, introductions: { firstMs: 1, againMs: 3_600_000, retryMs: 3_600_000 } },
  )
  const ready = await running.next('standby.ready')
  t.is('gate' in ready ? ready.gate : '', `${HOST}:${standby.port}`)
  const unready = await running.next('standby.unready')
  t.is(unready.event === 'standby.unready' ? unready.code : '', 'key-refused')
  await running.next('gate.attached')
  t.deepEqual(
    pins.list().map(({ name, identity, confirmed }) => [name, identity, confirmed]),
    [['rmm', held.text, true]],
  )
  // It has only been there: nobody is attached, and nobody was.
  t.is(standby.parts.registry.find(KEY_NAME, 'rmm'), undefined)
  t.false(standby.events.all.some(({ name }) => name === 'client.connected'))
  // Whoever has the key, too, comes too late.
  const failed = await t.throwsAsync(attach(standby, {}, { held: identityHeld() }), { instanceOf: DialError })
  t.is(failed.failure.code, 'identity-other')
})
