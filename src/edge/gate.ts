// The gate: listening sockets that follow the policy, and the connections that came through them.
import { hash } from 'node:crypto'
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import type { TLSSocket } from 'node:tls'
import type { Reporter } from '../journal/events.ts'
import { parseAddress, type Address } from '../net/address.ts'
import type { GeoFacts } from '../policy/facts.ts'
import type { Endpoint, Listener, Snapshot } from '../policy/snapshot.ts'
import { createAdmission, type Admission } from './accept.ts'
import type { Certificates } from './certificates.ts'
import type { ConnectionHandler, CurrentPolicy } from './connection.ts'
import { drainConnections } from './drain.ts'
import { GateConnection } from './gate-connection.ts'
import { tupleOf, type GateContext, type OpenEndpoint } from './gate-context.ts'
import { createJa4 } from './ja4.ts'
import type { LiveConnection } from './live-connection.ts'
import { findPortHolder } from './port-holder.ts'
import type { AdoptClient } from './tcp/stream-context.ts'
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

/** An endpoint that listens now. */
export type ListeningAddress = { readonly listener: string; readonly host: string; readonly port: number }

/** What `apply` did. Endpoints that failed are tried again every few seconds. */
export type ApplyResult = { readonly opened: number; readonly closed: number; readonly failed: number }

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

type Bound = OpenEndpoint & { readonly endpoint: Endpoint; readonly server: Server }
type Wanted = { readonly listener: Listener; readonly endpoint: Endpoint }

const BACKLOG = 4_096
const KEEP_ALIVE_MS = 45_000
const REMEMBERED_HELLOS = 1_000
const RETRY_MS = 10_000
const DEFAULT_MAX_LINGERING = 1_000

/** Creates a gate that listens nowhere until `apply`. */
export function createGate(options: GateOptions): Gate {
  const { clock: nowMs, reporter, current } = options
  const bound = new Map<string, Bound>()
  const failures = new Map<string, string>()
  let wanted: ReadonlyMap<string, Wanted> = new Map()
  let queue: Promise<unknown> = Promise.resolve()
  let retry: NodeJS.Timeout | undefined
  let isDraining = false
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
    isDraining: () => isDraining,
  }

  const accept = (raw: Socket, endpoint: OpenEndpoint): void => {
    // A link-local peer carries the interface as a zone, which is no part of its address.
    const peer = parseAddress(raw.remoteAddress?.split('%', 1)[0] ?? '')
    if (peer === undefined) {
      // The client was gone before it was accepted: there is no address that an event could name.
      raw.on('error', () => undefined)
      raw.destroy()
      return
    }
    new GateConnection(context, endpoint, raw, peer, raw.remotePort ?? 0).start(
      current().snapshot.limits.helloMs,
    )
  }

  const open = async (key: string, { listener, endpoint }: Wanted): Promise<void> => {
    const { host, port } = endpoint
    const server = createServer({
      allowHalfOpen: true,
      noDelay: true,
      keepAlive: true,
      keepAliveInitialDelay: KEEP_ALIVE_MS,
    })
    const entry: Bound = { listener, endpoint, server }
    server.on('connection', raw => accept(raw, entry))
    try {
      await listen(server, {
        host,
        port,
        backlog: BACKLOG,
        ipv6Only: host === '::' && hasAnyV4(wanted, port),
      })
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code ?? String(error)
      if (failures.get(key) === code) return
      failures.set(key, code)
      const explained = await explainBindFailure(code, endpoint)
      reporter.report('listener.failed', { listener: listener.id, host, port, ...explained })
      return
    }
    failures.delete(key)
    bound.set(key, entry)
    // Errors of a socket that listens (EMFILE and the like) are reported, and it goes on listening.
    server.on('error', error => {
      reporter.report('gate.internal-error', {
        where: `listener ${listener.id}`,
        problem: error.message,
        stack: error.stack ?? '',
      })
    })
    reporter.report('listener.opened', { listener: listener.id, host, port: portOf(server) })
  }

  const shut = (key: string, { server, listener, endpoint }: Bound): void => {
    bound.delete(key)
    const port = portOf(server)
    server.close()
    const connectionsKept = context.connections.size
    reporter.report('listener.closed', { listener: listener.id, host: endpoint.host, port, connectionsKept })
  }

  const openWanted = async (): Promise<number> => {
    clearTimeout(retry)
    let opened = 0
    for (const [key, want] of wanted) {
      if (isDraining || bound.has(key)) continue
      await open(key, want)
      if (bound.has(key)) opened++
    }
    if (!isDraining && bound.size < wanted.size) {
      retry = setTimeout(() => void inTurn(openWanted), RETRY_MS)
      retry.unref()
    }
    return opened
  }

  const inTurn = <T>(work: () => Promise<T>): Promise<T> => {
    const done = queue.then(work)
    queue = done.catch(() => undefined)
    return done
  }

  const stopListening = (): void => {
    isDraining = true
    clearTimeout(retry)
    for (const [key, entry] of bound) shut(key, entry)
  }

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
      inTurn(async () => {
        wanted = endpointsOf(snapshot)
        let closed = 0
        for (const [key, entry] of bound) {
          const want = wanted.get(key)
          if (want !== undefined) entry.listener = want.listener
          else {
            shut(key, entry)
            closed++
          }
        }
        for (const key of failures.keys()) if (!wanted.has(key)) failures.delete(key)
        context.servers.retain(snapshot)
        prepareServers(context, snapshot)
        for (const connection of context.connections) connection.policyChanged()
        const opened = await openWanted()
        return { opened, closed, failed: wanted.size - bound.size }
      }),
    addresses: () =>
      [...bound.values()].map(({ listener, endpoint, server }) => ({
        listener: listener.id,
        host: endpoint.host,
        port: portOf(server),
      })),
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
      stopListening()
      return await drainConnections(context.connections, ms)
    },
    close: async () => {
      stopListening()
      await drainConnections(context.connections, 0)
    },
  }
}

function endpointsOf(snapshot: Snapshot): ReadonlyMap<string, Wanted> {
  const wanted = new Map<string, Wanted>()
  for (const listener of snapshot.listeners) {
    for (const [index, endpoint] of listener.endpoints.entries()) {
      const own = endpoint.port === 0 ? ` ${listener.id} ${index}` : ''
      const key = `${endpoint.host} ${endpoint.port}${own}`
      if (!wanted.has(key)) wanted.set(key, { listener, endpoint })
    }
  }
  return wanted
}

function hasAnyV4(wanted: ReadonlyMap<string, Wanted>, port: number): boolean {
  return port !== 0 && wanted.has(`0.0.0.0 ${port}`)
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

/** Resolves when the server listens. */
export function listen(
  server: Server,
  options: { host: string; port: number; backlog: number; ipv6Only: boolean },
): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(options, () => {
      server.off('error', reject)
      resolve()
    })
  })
}

/** The port that a server listens on; 0: it does not. */
export function portOf(server: Server): number {
  const address = server.address() as AddressInfo | null
  return address?.port ?? 0
}

/** Why an address could not be had, and what to do about it. */
export async function explainBindFailure(
  code: string,
  { host, port }: Endpoint,
): Promise<{ problem: string; remedy: string }> {
  switch (code) {
    case 'EADDRINUSE': {
      const holder = await findPortHolder(port)
      const who = holder === undefined ? 'another process' : `${holder.command} (process ${holder.pid})`
      return {
        problem: `port ${port} is held by ${who}`,
        remedy: `Stop ${who} or move it to another port, or set another port for this listener; \`ss -ltnp sport = :${port}\` shows who listens.`,
      }
    }
    case 'EACCES':
      return {
        problem: `this process may not listen on port ${port}`,
        remedy:
          'Start it with the capability CAP_NET_BIND_SERVICE (systemd: AmbientCapabilities), or use a port from 1024 on.',
      }
    case 'EADDRNOTAVAIL':
      return {
        problem: `the address ${host} is not on this machine`,
        remedy:
          'Correct the address of the listener, or add it to a network interface; it is tried again every 10 seconds.',
      }
    default:
      return { problem: `${code} on ${host} port ${port}`, remedy: 'Correct the endpoint of the listener.' }
  }
}

/** OpenSSL's own words without its file names and numbers. */
function describeTlsError(error: Error): string {
  const reason = (error as { reason?: unknown }).reason
  return typeof reason === 'string' ? reason : error.message.slice(0, 200)
}
