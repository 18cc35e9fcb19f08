// The heartbeat relay with real sockets on loopback: answers from the listener's port, later ones too, reload, a closed port.
import { createSocket, type RemoteInfo, type Socket } from 'node:dgram'
import { once } from 'node:events'
import test, { type ExecutionContext } from 'ava'
import { dropsByPort } from '../../../src/edge/udp/receive-losses.ts'
import { HeartbeatService } from '../../../src/edge/udp/service.ts'
import { createHeartbeatRelay, type HeartbeatRelay } from '../../../src/edge/udp/relay.ts'
import type { EventFields, EventName } from '../../../src/journal/events.ts'
import type { HeartbeatListener, Overlay, Snapshot } from '../../../src/policy/snapshot.ts'
import { listenForHeartbeats } from '../../../src/practice/rmm-heartbeat.ts'
import { createState } from '../../../src/practice/rmm-state.ts'
import { at, cidr, emptyOverlay, site, snapshot } from '../../support/snapshot.ts'
import { until } from '../../support/whole-gate.ts'

type Peer = {
  readonly socket: Socket
  readonly port: number
  readonly got: { readonly text: string; readonly from: RemoteInfo }[]
}

async function peer(t: ExecutionContext, host = '127.0.0.1', port = 0): Promise<Peer> {
  const socket = createSocket(host.includes(':') ? 'udp6' : 'udp4')
  const got: { text: string; from: RemoteInfo }[] = []
  socket.on('message', (message, from) => got.push({ text: message.toString('latin1'), from }))
  socket.on('error', () => undefined)
  socket.bind(port, host)
  await once(socket, 'listening')
  t.teardown(() => {
    socket.removeAllListeners()
    socket.close()
  })
  return { socket, port: socket.address().port, got }
}

function settings(upstreamPort: number, more: Partial<HeartbeatListener> = {}): HeartbeatListener {
  return {
    id: 'automate',
    endpoints: [{ host: '127.0.0.1', port: 0 }],
    upstream: { host: '127.0.0.1', port: upstreamPort },
    idleMs: 150_000,
    datagramBytes: 1_472,
    flows: 100,
    flowsPerSource: 50,
    newFlows: 1_000,
    newFlowsPerSource: 1_000,
    expectedEveryMs: null,
    replyRatio: 3,
    expectsReplies: true,
    at: at(70),
    ...more,
  }
}

type World = {
  readonly relay: HeartbeatRelay
  readonly of: <K extends EventName>(name: K) => EventFields[K][]
  readonly apply: (next: Partial<Snapshot>, overlay?: Overlay) => Promise<void>
  /** Moves the clock. The relay ticks by itself once a second. */
  readonly advance: (ms: number) => void
  readonly port: () => number
}

async function world(t: ExecutionContext, heartbeats: readonly HeartbeatListener[]): Promise<World> {
  const events: { name: EventName; fields: unknown }[] = []
  let aheadMs = 0
  let inForce = { snapshot: snapshot({ heartbeats }), overlay: emptyOverlay() }
  const relay = createHeartbeatRelay({
    current: () => inForce,
    lookup: () => ({ scope: 'loopback', country: null, second: null, available: true }),
    reporter: { report: (name, fields) => events.push({ name, fields }) },
    clock: () => Date.now() + aheadMs,
  })
  t.teardown(() => relay.close())
  await relay.apply(inForce.snapshot)
  return {
    relay,
    of: name => events.filter(entry => entry.name === name).map(entry => entry.fields) as never,
    apply: async (next, overlay = emptyOverlay()) => {
      inForce = { snapshot: snapshot({ heartbeats, ...next }), overlay }
      await relay.apply(inForce.snapshot)
    },
    advance: ms => {
      aheadMs += ms
    },
    port: () => relay.addresses()[0]?.port ?? 0,
  }
}

test('two clients get their own answers from the port that they sent to, and later ones that the server sends by itself', async t => {
  const server = await peer(t)
  const [first, second] = [await peer(t), await peer(t)]
  const { relay, port, of } = await world(t, [settings(server.port)])
  first.socket.send('heartbeat one', port(), '127.0.0.1')
  second.socket.send('heartbeat two', port(), '127.0.0.1')
  await until(() => server.got.length === 2)
  const seen = server.got.toSorted((a, b) => a.text.localeCompare(b.text))
  t.deepEqual(
    seen.map(entry => entry.text),
    ['heartbeat one', 'heartbeat two'],
  )
  t.not(seen[0]?.from.port, seen[1]?.from.port, 'one upstream socket for each client')
  for (const { text, from } of seen) server.socket.send(`ok ${text.slice(-3)}`, from.port, from.address)
  await until(() => first.got.length === 1 && second.got.length === 1)
  t.is(first.got[0]?.text, 'ok one')
  t.is(second.got[0]?.text, 'ok two')
  t.is(first.got[0]?.from.port, port())
  t.is(second.got[0]?.from.address, '127.0.0.1')

  const own = seen[1]?.from.port ?? 0
  server.socket.send('check in', own, '127.0.0.1')
  await until(() => second.got.length === 2)
  t.is(second.got[1]?.text, 'check in')
  t.is(second.got[1]?.from.port, port())
  t.is(first.got.length, 1)

  second.socket.send('heartbeat two', port(), '127.0.0.1')
  await until(() => server.got.length === 3)
  t.is(server.got[2]?.from.port, own, 'the mapping stays')
  t.is(of('heartbeat.opened').length, 2)
  t.like(relay.states(), [{ flows: 2, sources: 1, heartbeats: 3, replies: 3, silent: false }])
  await relay.close()
  t.like(
    of('heartbeat.closed').toSorted((a, b) => a.heartbeats - b.heartbeats),
    [
      { heartbeats: 1, replies: 1, ending: 'shutdown', listener: 'automate', address: '127.0.0.1' },
      { heartbeats: 2, replies: 2, bytesIn: 26, bytesOut: 14 },
    ],
  )
  t.like(of('heartbeat.counted'), [{ answered: true }, { answered: true }])
})

test('nobody else reaches a client through its upstream socket', async t => {
  const server = await peer(t)
  const stranger = await peer(t)
  const client = await peer(t)
  const { port } = await world(t, [settings(server.port)])
  client.socket.send('x'.repeat(100), port(), '127.0.0.1')
  await until(() => server.got.length === 1)
  const own = server.got[0]?.from.port ?? 0
  stranger.socket.send('forged', own, '127.0.0.1')
  server.socket.send('true', own, '127.0.0.1')
  await until(() => client.got.length > 0)
  t.deepEqual(
    client.got.map(entry => entry.text),
    ['true'],
  )
})

test('reload: other limits leave flows alone, a ban ends them, another server takes over, a removed listener closes', async t => {
  const server = await peer(t)
  const other = await peer(t)
  const client = await peer(t)
  const { relay, port, of, apply } = await world(t, [settings(server.port)])
  const listening = port()
  const beat = (text: string): void => client.socket.send(text, listening, '127.0.0.1')
  beat('1')
  await until(() => server.got.length === 1)
  await apply({ heartbeats: [settings(server.port, { flows: 10, idleMs: 60_000 })] })
  t.is(port(), listening)
  beat('2')
  await until(() => server.got.length === 2)
  t.is(server.got[1]?.from.port, server.got[0]?.from.port, 'the flow was not touched')
  t.is(of('listener.closed').length, 0)

  const overlay = emptyOverlay()
  const range = cidr('127.0.0.1')
  overlay.ban.insert(range, {
    range,
    classes: ['heartbeat' as const].reduce((set, name) => set.add(name), new Set<'heartbeat'>()),
    reason: 'a test',
    owner: 'jane',
    expiresMs: null,
    at: at(8),
  })
  await apply({}, overlay)
  beat('3')
  await until(() => of('heartbeat.refused').length === 1)
  t.like(of('heartbeat.refused'), [{ reason: 'banned', stage: 'ban', count: 1, listener: 'automate' }])
  t.like(of('heartbeat.closed'), [{ ending: 'refused', heartbeats: 2 }])
  t.is(relay.states()[0]?.flows, 0)

  await apply({ heartbeats: [settings(other.port)] })
  beat('4')
  await until(() => other.got.length === 1)
  t.is(server.got.length, 2)
  await apply({ heartbeats: [] })
  t.deepEqual(relay.addresses(), [])
  t.is(of('listener.closed').length, 1)
  t.is(of('heartbeat.closed').at(-1)?.ending, 'reload')
})

test('a server on whose port nothing listens: the flow stays, the fault is named, and its return is noticed', async t => {
  const state = createState(Date.now)
  const gone = await listenForHeartbeats('127.0.0.1', 0, state, () => true)
  const { port: upstream } = gone
  await gone.close()
  const client = await peer(t)
  const { relay, port, of, advance } = await world(t, [settings(upstream)])
  for (let index = 0; index < 6; index++) client.socket.send(`heartbeat ${index}`, port(), '127.0.0.1')
  await until(() => relay.states()[0]?.heartbeats === 6)
  advance(30_000)
  await until(() => of('heartbeat.unanswered').length === 1)
  t.like(of('heartbeat.unanswered'), [
    { listener: 'automate', heartbeats: 6, portClosed: true, upstream: `127.0.0.1:${upstream}` },
  ])
  t.like(of('heartbeat.counted'), [{ heartbeats: 6, replies: 0, answered: false }])
  t.is(relay.states()[0]?.flows, 1)
  t.is(of('gate.internal-error').length, 0)

  const server = await listenForHeartbeats('127.0.0.1', upstream, state, () => true)
  t.teardown(() => server.close())
  client.socket.send('heartbeat again', port(), '127.0.0.1')
  await until(() => client.got.length === 1)
  t.like(of('heartbeat.answered'), [{ listener: 'automate' }])
  t.false(relay.states()[0]?.silent)
})

test('a port that is taken is reported with a remedy, leaves the others alone, and is tried again, also by a clock that was set back', async t => {
  const server = await peer(t)
  const taken = createSocket('udp4').unref().bind(0, '127.0.0.1')
  await once(taken, 'listening')
  const endpoints = [
    { host: '127.0.0.1', port: taken.address().port },
    { host: '127.0.0.1', port: 0 },
    { host: '::1', port: 0 },
  ]
  const { relay, of, advance } = await world(t, [settings(server.port, { endpoints })])
  t.like(of('listener.failed'), [{ port: taken.address().port, listener: 'automate' }])
  t.regex(of('listener.failed')[0]?.remedy ?? '', /ss -lunp/)
  t.is(relay.addresses().length, 2)
  const client = await peer(t, '::1')
  const port = relay.addresses().find(entry => entry.host === '::1')?.port ?? 0
  client.socket.send('over IPv6', port, '::1')
  await until(() => server.got.length === 1)
  server.socket.send('ok', server.got[0]?.from.port ?? 0, '127.0.0.1')
  await until(() => client.got.length === 1)
  t.is(client.got[0]?.from.port, port)
  t.is(client.got[0]?.from.address, '::1')
  // The clock is set back by an hour: that is no reason to wait an hour for the port.
  taken.close()
  advance(-3_600_000)
  await until(() => relay.addresses().length === 3)
})

test('an answer larger than its heartbeat pays for is kept back', async t => {
  const server = await peer(t)
  const client = await peer(t)
  const { relay, port, of } = await world(t, [settings(server.port)])
  client.socket.send('x', port(), '127.0.0.1')
  await until(() => server.got.length === 1)
  const own = server.got[0]?.from.port ?? 0
  server.socket.send('y'.repeat(1_000), own, '127.0.0.1')
  server.socket.send('ok', own, '127.0.0.1')
  await until(() => client.got.length === 1)
  t.is(client.got[0]?.text, 'ok')
  await relay.close()
  t.like(of('heartbeat.closed'), [{ withheld: 1, replies: 1, bytesOut: 2 }])
})

test('more new clients than a listener takes are one report, and nobody who has a flow is disturbed', async t => {
  const server = await peer(t)
  const clients = await Promise.all(Array.from({ length: 12 }, () => peer(t)))
  const { port, of } = await world(t, [settings(server.port, { newFlows: 1, newFlowsPerSource: 100 })])
  for (const { socket } of clients) socket.send('hello', port(), '127.0.0.1')
  await until(() => server.got.length >= 5 && of('heartbeat.flood').length === 1)
  const [flood] = of('heartbeat.flood')
  t.like(flood, { listener: 'automate', newFlows: 1 })
  t.true((flood?.datagrams ?? 0) >= 5, 'all but the burst and what a second brings')
  t.like(of('heartbeat.refused')[0], { reason: 'flow-rate-total', count: 1 })
  const opened = server.got.length
  clients[0]?.socket.send('again', port(), '127.0.0.1')
  await until(() => server.got.length > opened)
  t.is(server.got.at(-1)?.text, 'again')
})

test('agents that fall silent are told by site, with where to look; a closed listener expects nobody', async t => {
  const server = await peer(t)
  const [first, second] = [await peer(t), await peer(t)]
  const events: { name: EventName; fields: unknown }[] = []
  let nowMs = 1_000_000
  const berlin = site('berlin', ['127.0.0.0/8'])
  const listener = settings(server.port, { expectedEveryMs: 5_000 })
  const inForce = { snapshot: snapshot({ heartbeats: [listener], sites: [berlin] }), overlay: emptyOverlay() }
  const service = new HeartbeatService(
    {
      current: () => inForce,
      lookup: () => ({ scope: 'loopback', country: null, second: null, available: true }),
      reporter: { report: (name, fields) => events.push({ name, fields }) },
      nowMs: () => nowMs,
      tunnels: null,
    },
    listener,
  )
  t.teardown(() => service.close('shutdown'))
  await service.open(() => false)
  const port = service.addresses()[0]?.port ?? 0
  const pass = (ms: number): void => {
    for (const untilMs = nowMs + ms; nowMs < untilMs;) {
      nowMs += 1_000
      service.tick(nowMs)
    }
  }
  for (let beat = 1; beat <= 5; beat++) {
    for (const { socket } of [first, second]) socket.send('beat', port, '127.0.0.1')
    await until(() => server.got.length === 2 * beat)
    pass(5_000)
  }
  pass(15_000)
  t.like(service.state().sites, [{ site: 'berlin', senders: { present: 0, late: 0, gone: 2 } }])
  pass(10_000)
  const told = events.filter(({ name }) => name.endsWith('-gone'))
  t.like(told, [
    { name: 'heartbeat.site-gone', fields: { listener: 'automate', site: 'berlin', known: 2, others: 0 } },
  ])
  first.socket.send('beat', port, '127.0.0.1')
  await until(() => server.got.length === 11)
  pass(2_000)
  t.like(events.at(-1), { name: 'heartbeat.back', fields: { site: 'berlin', known: 2, gone: 1 } })
  service.close('connector-away')
  t.like(service.state().sites, [{ senders: { present: 0, late: 0, gone: 0 } }])
})

test('countries on trial: heartbeats of a network that is refused pass and are noted, until the trial ends under the open flow', async t => {
  const server = await peer(t)
  const client = await peer(t)
  const { geo } = snapshot()
  const trial = { stages: new Set(['country'] as const), sites: null, listeners: null, at: at(30) }
  const { port, of, apply, advance } = await world(t, [settings(server.port)])
  await apply({
    geo: { ...geo, loopback: { value: 'refuse', at: at(5) } },
    trials: [{ ...trial, expiresMs: Date.now() + 600_000 }],
  })
  client.socket.send('beat', port(), '127.0.0.1')
  await until(() => server.got.length === 1)
  t.like(of('trial.admitted'), [
    { class: 'heartbeat', wouldBe: 'network-refused', line: 'policies/portcullis.yaml:5:1' },
  ])
  advance(600_000)
  client.socket.send('beat', port(), '127.0.0.1')
  await until(() => of('heartbeat.refused').length === 1)
  t.is(server.got.length, 1)
})

const onLinux = process.platform === 'linux' ? test : test.skip
onLinux('what the system drops before the gate sees it is told (Linux counts it)', async t => {
  const server = await peer(t)
  const client = await peer(t)
  const { port, of, advance } = await world(t, [settings(server.port)])
  client.socket.connect(port(), '127.0.0.1')
  await once(client.socket, 'connect')
  // In one turn, so that nobody takes them: far more than any buffer holds.
  const full = Buffer.alloc(1_400)
  for (let index = 0; index < 8_000; index++) client.socket.send(full)
  await until(() => server.got.length > 0)
  advance(60_000)
  await until(() => of('heartbeat.overrun').length === 1)
  t.like(of('heartbeat.overrun')[0], { listener: 'automate', port: port() })
  t.true((of('heartbeat.overrun')[0]?.datagrams ?? 0) > 100)
})

test('drops are read by port, and the port of the other end is no port of ours', t => {
  const head =
    '   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops'
  const line = (local: string, remote: string, drops: number): string =>
    `  788: ${local} ${remote} 07 00000000:00000000 00:00000000 00000000     0        0 4383085 2 0000000078b7e5b6 ${drops}            `
  const text = [
    head,
    line('00000000:004B', '00000000:0000', 456),
    line('0100007F:004B', '00000000:0000', 4),
    line('0100007F:D6A2', '0500000A:004B', 9),
    line('00000000:0050', '00000000:0000', 7),
    '',
  ].join('\n')
  t.deepEqual([...dropsByPort(text, [75, 81])], [[75, 460]])
  t.deepEqual([...dropsByPort('', [75])], [])
})
