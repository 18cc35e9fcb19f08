// A stream relay on loopback for tests, beside a gate that takes its TLS: real sockets before it and behind it.
import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import type { ExecutionContext } from 'ava'
import { createStreamRelay, type StreamRelay, type StreamRelayOptions } from '../../../src/edge/tcp/relay.ts'
import { NO_CONNECTORS } from '../../../src/forward/upstream-socket.ts'
import { addressScope } from '../../../src/net/address.ts'
import type { Overlay, Snapshot } from '../../../src/policy/snapshot.ts'
import type { StreamListener, StreamMember, StreamService } from '../../../src/policy/streams.ts'
import { at } from '../../support/snapshot.ts'
import { certificatesFor, startGate, type Harness as GateHarness } from '../gate-harness.ts'

/** The name whose TLS ends at a stream listener. */
export const STREAM_HOST = 'backup.example.test'

/** A member that is a server on loopback. */
export function member(port: number, id = 'raw/primary', more: Partial<StreamMember> = {}): StreamMember {
  return { id, target: { kind: 'tcp', host: '127.0.0.1', port }, tls: null, at: at(71), ...more }
}

/** A service that forwards. */
export function service(members: readonly StreamMember[], more: Partial<StreamService> = {}): StreamService {
  return {
    start: null,
    signatures: [],
    names: [],
    class: 'relay',
    action: { kind: 'forward', members, terminate: null, proxyProtocol: false, returnAfterMs: 1_000 },
    at: at(72),
    ...more,
  }
}

/** A stream listener `raw` on an ephemeral loopback port. */
export function stream(
  services: readonly StreamService[],
  more: Partial<StreamListener> = {},
): StreamListener {
  return {
    id: 'raw',
    kind: 'tcp',
    endpoints: [{ host: '127.0.0.1', port: 0 }],
    services,
    speaks: 'any',
    internalPorts: new Map(),
    loadBalancers: [],
    connections: 10_000,
    connectionsPerSource: 1_000,
    connectionsPerSite: null,
    sniffMs: 300,
    keepAliveMs: 45_000,
    idleMs: 0,
    product: null,
    at: at(70),
    ...more,
  }
}

/** A started relay. */
export type StreamHarness = Pick<GateHarness, 'gate' | 'events' | 'policy' | 'secured'> & {
  readonly relay: StreamRelay
  readonly port: number
  readonly portOf: (listener: string) => number
  /** Makes another policy the one in force. */
  readonly apply: (snapshot: Snapshot) => Promise<void>
  /** Moves the wall clock on. */
  readonly advance: (ms: number) => void
}

/** Starts a gate and a relay with these streams. Fails the test when anything is left open or counted. */
export async function startStreams(
  t: ExecutionContext,
  streams: readonly StreamListener[],
  overrides: Partial<Snapshot> = {},
  options: Partial<StreamRelayOptions> & { readonly overlay?: Overlay } = {},
): Promise<StreamHarness> {
  const { overlay, ...rest } = options
  const { gate, events, policy, secured } = await startGate(
    t,
    { ...overrides, streams },
    overlay === undefined ? {} : { overlay },
  )
  let offsetMs = 0
  let references = 0
  const relay = createStreamRelay({
    current: () => policy,
    lookup: address => ({
      scope: addressScope(address),
      country: address.text.startsWith('203.0.113.')
        ? 'CN'
        : addressScope(address) === 'public'
          ? 'US'
          : null,
      second: null,
      available: true,
    }),
    reporter: events.reporter,
    certificates: { forHost: await certificatesFor([STREAM_HOST]) },
    admission: gate.admission,
    adopt: gate.adopt,
    openThrough: NO_CONNECTORS,
    ticketSecret: Buffer.alloc(32, 7),
    newReference: () => `S-${++references}`,
    clock: {
      nowMs: () => Date.now() + offsetMs,
      monotonicMs: () => performance.now(),
      every: (ms, tick) => {
        const timer = setInterval(tick, Math.min(ms, 20))
        return () => clearInterval(timer)
      },
    },
    ...rest,
  })
  await relay.apply(policy.snapshot)
  const portOf = (listener: string): number =>
    relay.addresses().find(entry => entry.listener === listener)?.port ?? 0
  t.teardown(async () => {
    await relay.close()
    await gate.close()
    const left = [gate.admission.open(), gate.admission.lingering(), relay.connections().length]
    if (left.some(count => count !== 0)) throw new Error(`still counted: ${left.join(', ')}`)
  })
  return {
    gate,
    relay,
    events,
    policy,
    secured,
    port: portOf('raw'),
    portOf,
    apply: async snapshot => {
      policy.snapshot = snapshot
      await gate.apply(snapshot)
      await relay.apply(snapshot)
    },
    advance: ms => {
      offsetMs += ms
    },
  }
}

/** A server of a test: its port, its sockets in the order in which they came. */
export type TestServer = {
  readonly port: number
  readonly sockets: Socket[]
  /** The nth socket, waited for. */
  readonly nth: (index: number) => Promise<Socket>
  readonly stop: () => Promise<void>
}

/** Starts a TCP server that closes with the test. */
export async function startServer(
  t: ExecutionContext,
  onSocket: (socket: Socket) => void = () => undefined,
  port = 0,
): Promise<TestServer> {
  const sockets: Socket[] = []
  const server: Server = createServer({ allowHalfOpen: true }, socket => {
    sockets.push(socket)
    socket.on('error', () => undefined)
    onSocket(socket)
    server.emit('taken')
  })
  server.listen(port, '127.0.0.1')
  await once(server, 'listening')
  const stop = async (): Promise<void> => {
    for (const socket of sockets) socket.destroy()
    if (!server.listening) return
    server.close()
    await once(server, 'close')
  }
  t.teardown(stop)
  return {
    port: (server.address() as AddressInfo).port,
    sockets,
    nth: async index => {
      for (;;) {
        const socket = sockets[index]
        if (socket !== undefined) return socket
        await once(server, 'taken')
      }
    },
    stop,
  }
}

/** Reads until so many bytes have come. */
export async function take(socket: Socket, length: number): Promise<string> {
  const parts: Buffer[] = []
  let have = 0
  while (have < length) {
    const next = once(socket, 'data')
    socket.resume()
    const [chunk] = (await next) as [Buffer]
    parts.push(chunk)
    have += chunk.length
  }
  socket.pause()
  return Buffer.concat(parts).toString('latin1')
}

/** Connects as this address and says how it ends. A reset may come before the connection is known to stand. */
export async function attempt(port: number, localAddress = '127.0.0.1'): Promise<string> {
  return await endOf(connect({ host: '127.0.0.1', port, localAddress }))
}

/** The end of a socket: orderly, or the code of its error. */
export async function endOf(socket: Socket): Promise<string> {
  return await new Promise(resolve => {
    socket.resume()
    socket.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message))
    socket.once('end', () => resolve('end'))
    socket.once('close', () => resolve('close'))
  })
}
