// What the edge knows of one downstream connection, from accept to close.
import type { TLSSocket } from 'node:tls'
import type { Ending } from '../journal/events.ts'
import type { HelloFacts, TlsFacts } from '../policy/facts.ts'
import type { Listener, Name, Overlay, Snapshot, TlsProfileName } from '../policy/snapshot.ts'
import type { Standing } from '../policy/standing.ts'

/** The policy in force: what every new decision reads. */
export type PolicyInForce = { readonly snapshot: Snapshot; readonly overlay: Overlay }

/** Gives the policy in force now; cheap, called at every request. */
export type CurrentPolicy = () => PolicyInForce

/** A connection after its handshake. */
export type SecureConnection = {
  readonly id: string
  readonly socket: TLSSocket
  readonly listener: Listener
  readonly clientPort: number
  /** Standing under the policy at accept; request handling renews it when the policy in force has changed. */
  readonly standing: Standing
  readonly hello: HelloFacts
  readonly tls: TlsFacts
  readonly tlsProfile: TlsProfileName
  readonly name: Name
  readonly openedMs: number
  /** Ends the TCP connection with a RST. A TLSSocket cannot do it itself; absent: it is destroyed. */
  readonly reset?: () => void
}

/** What is kept of a connection while it is open: not the standing, which would keep the policy of its beginning in memory. */
export type OpenConnection = Omit<SecureConnection, 'standing'>

/** Handles a secure connection until it closes, and counts what passed. The gate reports the closing event from it. */
export type ConnectionHandler = (connection: SecureConnection) => ConnectionActivity

/** Live counters of a connection, read by the gate at close and by status. */
export type ConnectionActivity = {
  readonly requests: () => number
  readonly bytesIn: () => number
  readonly bytesOut: () => number
  readonly ending: () => Ending
  /** What it is doing now, for status: idle, the class of the request, or websocket. */
  readonly state: () => string
  /** Another policy is in force: let go of the old one. What runs goes on. */
  readonly policyChanged: () => void
  /** Stop taking requests; finish what runs; close when idle. */
  readonly drain: () => void
}
