// A gate's relay and a connector with real sockets in one process: TCP on loopback stands for the joined TLS connection.
import type { Client } from '../../../src/policy/running-state.ts'
import { createSocket, type RemoteInfo, type Socket } from 'node:dgram'
import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Socket as TcpSocket } from 'node:net'
import type { ExecutionContext } from 'ava'
import { createHeartbeatRelay, type HeartbeatRelay } from '../../../src/edge/udp/relay.ts'
import type { EventFields, EventName } from '../../../src/journal/events.ts'
import type { HeartbeatListener } from '../../../src/policy/snapshot.ts'
import type { BindEnd } from '../../../src/tunnel/udp/bind-connection.ts'
import type { UdpServiceSettings } from '../../../src/tunnel/udp/connector-sockets.ts'
import { createConnectorUdp, type ConnectorUdp } from '../../../src/tunnel/udp/connector-udp.ts'
import { createUdpTunnels, type UdpTunnels } from '../../../src/tunnel/udp/gate-tunnels.ts'
import { at, emptyOverlay, snapshot } from '../../support/snapshot.ts'

/** A UDP socket that remembers what it got. */
export type Peer = {
  readonly socket: Socket
  readonly port: number
  readonly got: { readonly text: string; readonly from: RemoteInfo }[]
}

/** Opens one on loopback. */
export async function udpPeer(
  t: ExecutionContext,
  onText?: (text: string, from: RemoteInfo) => void,
): Promise<Peer> {
  const socket = createSocket({ type: 'udp4', recvBufferSize: 1_048_576 })
  const got: Peer['got'] = []
  socket.on('message', (message, from) => {
    const text = message.toString('latin1')
    got.push({ text, from })
    onText?.(text, from)
  })
  socket.on('error', () => undefined)
  socket.bind(0, '127.0.0.1')
  await once(socket, 'listening')
  t.teardown(() => {
    socket.removeAllListeners()
    socket.close()
  })
  return { socket, port: socket.address().port, got }
}

/** A UDP server that answers every datagram with `ok ` and what it got. */
export async function echoServer(t: ExecutionContext): Promise<Peer> {
  const peer = await udpPeer(t, (text, from) => peer.socket.send(`ok ${text}`, from.port, from.address))
  return peer
}

/** Both sides. */
export type World = {
  readonly relay: HeartbeatRelay
  readonly tunnels: UdpTunnels
  readonly connector: ConnectorUdp
  readonly of: <K extends EventName>(name: K) => EventFields[K][]
  /** Moves the wall clock of the gate. The relay ticks by itself once a second. */
  readonly advance: (ms: number) => void
  readonly port: () => number
  /** Dials once more. Resolves with the connector's own socket when the gate has taken it. */
  readonly dial: (
    client?: Partial<Client>,
  ) => Promise<{ readonly socket: TcpSocket; readonly ended: Promise<BindEnd> }>
  /** A peer by hand at the other end of a connection that the gate takes for a connector. */
  readonly dialRaw: (client?: Partial<Client>) => Promise<TcpSocket>
  readonly troubles: string[]
}

/** The service that the listener of `world` sends to. */
export const TARGET = { connector: 'rmm', client: 'rmm', key: 'head-office', service: 'heartbeat' }

/** The connector of `world`. */
export const CLIENT: Client = {
  id: 'client-1',
  name: 'rmm',
  key: 'head-office',
  publicAddress: '198.51.100.20',
  realAddress: '10.0.0.5',
  site: null,
  country: 'US',
  identity: null,
  version: '0.1.0',
  sinceMs: 0,
  services: [{ kind: 'udp', name: 'heartbeat' }],
}

/** Puts them together; nothing is dialled yet. */
export async function world(
  t: ExecutionContext,
  servicePort: number,
  options: {
    readonly listener?: Partial<HeartbeatListener>
    readonly service?: Partial<UdpServiceSettings>
  } = {},
): Promise<World> {
  const events: { readonly name: EventName; readonly fields: unknown }[] = []
  let aheadMs = 0
  const clock = (): number => Date.now() + aheadMs
  const listener: HeartbeatListener = {
    id: 'automate',
    endpoints: [{ host: '127.0.0.1', port: 0 }],
    upstream: TARGET,
    idleMs: 150_000,
    datagramBytes: 1_472,
    flows: 1_000,
    flowsPerSource: 1_000,
    newFlows: 1_000,
    newFlowsPerSource: 1_000,
    expectedEveryMs: null,
    replyRatio: 3,
    expectsReplies: true,
    at: at(70),
    ...options.listener,
  }
  const inForce = { snapshot: snapshot({ heartbeats: [listener] }), overlay: emptyOverlay() }
  const troubles: string[] = []
  const monotonic = (): number => performance.now()
  const tunnels = createUdpTunnels(clock, monotonic, problem => troubles.push(problem))
  const relay = createHeartbeatRelay({
    current: () => inForce,
    lookup: () => ({ scope: 'loopback', country: null, second: null, available: true }),
    reporter: { report: (name, fields) => events.push({ name, fields }) },
    clock,
    tunnels,
  })
  const service: UdpServiceSettings = {
    name: 'heartbeat',
    host: '127.0.0.1',
    port: servicePort,
    contexts: 1_000,
    idleMs: 300_000,
    loopbackPerClient: false,
    ...options.service,
  }
  const connector = createConnectorUdp(
    [service],
    { onTrouble: (name, code) => troubles.push(`${name} ${code ?? 'answers'}`), onFull: () => undefined },
    monotonic,
  )
  const next: Partial<Client>[] = []
  const atGate = new Set<TcpSocket>()
  const server = createServer(socket => {
    atGate.add(socket)
    tunnels.attach({
      client: { ...CLIENT, ...next.shift() },
      socket,
      early: Buffer.alloc(0),
      leave: () => undefined,
    })
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(async () => {
    connector.close('the test is over')
    tunnels.close('the test is over')
    await relay.close()
    for (const socket of atGate) socket.destroy()
    server.close()
  })
  await relay.apply(inForce.snapshot)
  const dialRaw = async (client: Partial<Client> = {}): Promise<TcpSocket> => {
    next.push(client)
    const socket = connect((server.address() as AddressInfo).port, '127.0.0.1')
    socket.on('error', () => undefined)
    await once(socket, 'connect')
    t.teardown(() => socket.destroy())
    return socket
  }
  return {
    relay,
    tunnels,
    connector,
    of: name => events.filter(entry => entry.name === name).map(entry => entry.fields) as never,
    advance: ms => {
      aheadMs += ms
    },
    port: () => relay.addresses()[0]?.port ?? 0,
    dial: async client => {
      const before = tunnels.state(TARGET).connections
      const socket = await dialRaw(client)
      const { promise: ended, resolve } = Promise.withResolvers<BindEnd>()
      connector.join(socket, Buffer.alloc(0), resolve)
      const isReady = (): boolean => tunnels.state(TARGET).connections !== before
      while (!isReady() && !socket.destroyed) await new Promise(resolve => setTimeout(resolve, 5))
      return { socket, ended }
    },
    dialRaw,
    troubles,
  }
}
