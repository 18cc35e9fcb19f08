// What every connection of the gate shares.
import type { Socket } from 'node:net'
import type { Reporter } from '../journal/events.ts'
import type { Listener } from '../policy/snapshot.ts'
import type { Admission } from './accept.ts'
import type { ParsedHello } from './client-hello.ts'
import type { ConnectionHandler } from './connection.ts'
import type { GateConnection } from './gate-connection.ts'
import type { TlsServers } from './tls-profiles.ts'

/** The shared part of all connections. */
export type GateContext = {
  readonly admission: Admission
  readonly servers: TlsServers
  readonly reporter: Reporter
  readonly isUpstreamUp: (group: string) => boolean
  readonly handler: ConnectionHandler
  /** Fingerprint of a ClientHello. */
  readonly ja4: (hello: ParsedHello) => string
  readonly newReference: () => string
  readonly newId: () => string
  readonly nowMs: () => number
  /** Every connection between accept and close. */
  readonly connections: Set<GateConnection>
  /** Connections in their handshake by `tupleOf` (trap 11: the TLS socket does not say publicly which socket it wraps). */
  readonly handshakes: Map<string, GateConnection>
  /** The same by the socket below, for handshakes whose client is already gone. */
  readonly wrapped: WeakMap<object, GateConnection>
  /** Connections of load balancers that have not named their client yet. */
  readonly awaitingHeader: { count: number }
  readonly isDraining: () => boolean
}

/** An endpoint that listens. `listener` follows the snapshot. */
export type OpenEndpoint = { listener: Listener }

/** How long a refused client may take to read why. */
export const LINGER_MS = 2_000

/** The TCP 4-tuple of a live socket: unique on this machine, also for clients behind a load balancer. */
export function tupleOf(socket: Socket): string {
  return `${socket.remoteAddress}|${socket.remotePort}|${socket.localAddress}|${socket.localPort}`
}
