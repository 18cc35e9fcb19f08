// The gate: listening sockets that follow the policy, and the connections that came through them.
import { hash } from 'node:crypto'
import type { TLSSocket } from 'node:tls'
import type { Reporter } from '../journal/events.ts'
import { parseAddress, type Address } from '../net/address.ts'
import type { GeoFacts } from '../policy/facts.ts'
import type { Listener, Snapshot } from '../policy/snapshot.ts'
import { createAdmission, type Admission } from './accept.ts'
import type { Certificates } from './certificates.ts'
import type { ConnectionHandler, CurrentPolicy } from './connection.ts'
import { drainConnections } from './drain.ts'
import { GateConnection } from './gate-connection.ts'
import { tupleOf, type GateContext } from './gate-context.ts'
import { createJa4 } from './ja4.ts'
import type { LiveConnection } from './live-connection.ts'
import { keepListening, type ApplyResult, type ListeningAddress } from './listening.ts'
import type { AdoptClient } from './tcp/stream-context.ts'
import { tcpServers } from './tcp-servers.ts'
import { createTlsServers } from './tls-profiles.ts'

/** What the gate needs from outside. */
export type GateOptions = {
  readonly current: CurrentPolicy
  readonly lookup: (address: Address) => GeoFacts
  readonly reporter: Reporter
  readonly isUpstreamUp: (group: string) => boolean
  readonly certificates: Pick<Certificates, 'forHost'>
  readonly handler: ConnectionHandler
  /** At least 32 random bytes, new at each start or shared by gates that are to resume each other's sessions. */
  readonly ticketSecret: Buffer
  readonly newReference: () => string
  /** Milliseconds since the epoch. */
  readonly clock: () => number
  /** Refused connections that may stay for up to two seconds to read why; default 1,000. */
  readonly maxLingering?: number
}

/** Counts for status and metrics. */
export type GateCounts = {
  readonly connections: number
  /** Admitted and not closed. */
  readonly open: number
  readonly sources: number
  readonly lingering: number
  readonly handshakes: number
  readonly awaitingHeader: number
}

/** The running gate. */
export type Gate = {
  /** Counts of what is open, for others who take connections. */
  readonly admission: Admission
  /** Takes over a client of somebody else's socket, with what it has sent so far, as one of this listener; false: there is none. */
  readonly adopt: AdoptClient
  /** Opens new endpoints and closes removed ones; connections stay. Load certificates of the snapshot first. */
  readonly apply: (snapshot: Snapshot) => Promise<ApplyResult>
  readonly addresses: () => readonly ListeningAddress[]
  readonly connections: () => readonly LiveConnection[]
  readonly counts: () => GateCounts
  /** Closes open connections that the policy in force would not admit any more; returns how many. Only ever on request. */
  readonly cutRefused: () => number
  /** Takes no new connections, lets open ones finish for up to `ms`, cuts the rest and returns how many that were. */
  readonly drain: (ms: number) => Promise<number>
  /** Closes everything at once. */
  readonly close: () => Promise<void>
}

const KEEP_ALIVE_MS = 45_000
const REMEMBERED_HELLOS = 1_000
const DEFAULT_MAX_LINGERING = 1_000

/** Creates a gate that listens nowhere until `apply`. */
export function createGate(options: GateOptions): Gate {
  const { clock: nowMs, reporter, current } = options
  let lastId = 0
  const idStart = nowMs().toString(36)

  // A client that sends its alert and hangs up leaves a TLS socket without a tuple; the socket that it wraps still says
  // whose it was. That is private to Node (trap 11): should it go away, only the words for such a failure get poorer.
  const ownerOf = (socket: TLSSocket): GateConnection | undefined =>
    context.handshakes.get(tupleOf(socket)) ?? context.wrapped.get(Reflect.get(socket, '_parent') ?? socket)
  const context: GateContext = {
    admission: createAdmission({
      current,
      lookup: options.lookup,
      nowMs,
      maxLingering: options.maxLingering ?? DEFAULT_MAX_LINGERING,
    }),
    servers: createTlsServers({
      certificates: options.certificates,
      ticketSecret: options.ticketSecret,
      nowMs,
      onSecure: socket => {
        const owner = ownerOf(socket)
        if (owner === undefined) socket.destroy()
        else owner.secured(socket)
      },
      onFailed: (error: NodeJS.ErrnoException, socket) => {
        ownerOf(socket)?.handshakeFailed(error.code ?? 'handshake-error', describeTlsError(error))
      },
    }),
    reporter,
    isUpstreamUp: options.isUpstreamUp,
    handler: options.handler,
    ja4: createJa4(text => hash('sha256', text), REMEMBERED_HELLOS),
    newReference: options.newReference,
    newId: () => `${idStart}-${(++lastId).toString(36)}`,
    nowMs,
    connections: new Set(),
    handshakes: new Map(),
    wrapped: new WeakMap(),
    awaitingHeader: { count: 0 },
    isDraining: () => listening.isStopped(),
  }

  const listening = keepListening({
    ...tcpServers<Listener>({
      reporter,
      kind: 'listener',
      keepAliveMs: () => KEEP_ALIVE_MS,
      accept: (raw, peer, place) =>
        new GateConnection(context, place, raw, peer, raw.remotePort ?? 0).start(
          current().snapshot.limits.helloMs,
        ),
    }),
    connectionsKept: () => context.connections.size,
  })

  return {
    admission: context.admission,
    adopt: (raw, id, client, first) => {
      const listener = current().snapshot.listeners.find(entry => entry.id === id)
      if (listener === undefined) return false
      const { helloMs } = current().snapshot.limits
      new GateConnection(context, { listener }, raw, client.address, client.port).start(helloMs, first)
      return true
    },
    apply: snapshot =>
      listening.apply(snapshot.listeners, () => {
        context.servers.retain(snapshot)
        prepareServers(context, snapshot)
        for (const connection of context.connections) connection.policyChanged()
      }),
    addresses: listening.addresses,
    connections: () => [...context.connections].map(connection => connection.live()),
    counts: () => ({
      connections: context.connections.size,
      open: context.admission.open(),
      sources: context.admission.sources(),
      lingering: context.admission.lingering(),
      handshakes: context.handshakes.size,
      awaitingHeader: context.awaitingHeader.count,
    }),
    cutRefused: () => {
      let cut = 0
      for (const connection of context.connections) {
        const { address: text, phase, listener } = connection.live()
        const address = phase === 'open' ? parseAddress(text) : undefined
        if (address === undefined || context.admission.admits(address, listener)) continue
        connection.cut()
        cut++
      }
      return cut
    },
    drain: async ms => {
      listening.stop()
      return await drainConnections(context.connections, ms)
    },
    close: async () => {
      listening.stop()
      await drainConnections(context.connections, 0)
    },
  }
}

/** Makes the TLS servers that most clients need before the first of them comes. */
function prepareServers({ servers, reporter }: GateContext, snapshot: Snapshot): void {
  for (const name of snapshot.names) {
    const profiles = new Set(snapshot.listeners.map(listener => name.tlsProfile ?? listener.tlsProfile))
    for (const profile of profiles) {
      try {
        servers.serverFor(snapshot, profile, name.host)
      } catch (error) {
        reporter.report('gate.internal-error', {
          where: `TLS profile ${profile} for ${name.host}`,
          problem: String(error),
          stack: error instanceof Error ? (error.stack ?? '') : '',
        })
      }
    }
  }
}

/** OpenSSL's own words without its file names and numbers. */
function describeTlsError(error: Error): string {
  const reason = (error as { reason?: unknown }).reason
  return typeof reason === 'string' ? reason : error.message.slice(0, 200)
}
