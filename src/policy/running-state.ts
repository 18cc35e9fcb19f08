// What parts of a running gate say of themselves. Stated once: who is told (edge, tunnel) and who shows it (admin) never import each other.
import type { InvitationForward } from './invitations.ts'

/** State of a server. `returning`: healthy again, but not yet for long enough to take traffic back from another. */
export type ServerHealth = 'unknown' | 'up' | 'down' | 'returning'

/** How it is with the connector behind a heartbeat listener now. */
export type TunnelState = {
  /** Connections that can carry datagrams; 0: the connector is away. */
  readonly connections: number
  /** Since when it is there, or away. */
  readonly sinceMs: number
  /** Whether it offers the service; null while it is away. */
  readonly isOffered: boolean | null
  readonly contexts: number
  readonly queuedBytes: number
  /** Longest time there and back of its connections; null: not known yet. */
  readonly roundTripMs: number | null
  /** Datagrams that were dropped because they had waited for 2 s, because too many waited, or because nothing carried them. */
  readonly dropped: { readonly aged: number; readonly overflow: number; readonly away: number }
  /** Datagrams of the connector for contexts that never were. */
  readonly forged: number
}

/** What is wrong with a connector; `away`: not attached; `not-offered`: attached without this service; null: nothing. */
export type ConnectorTrouble = 'away' | 'not-offered' | null

/** Senders in their expected interval, late (twice it) and gone (three times). */
export type PresenceCount = { readonly present: number; readonly late: number; readonly gone: number }

/** Heartbeats and replies of one site; null: clients of no recorded site. */
export type SiteHeartbeatState = {
  readonly site: string | null
  readonly heartbeats: number
  readonly replies: number
  readonly lastHeartbeatMs: number
  readonly lastReplyMs: number | null
  /** Lost between clients and gate, estimated from senders with a rhythm; null: too few to say. */
  readonly lossPercent: number | null
  /** Senders that come in the expected interval, or do not; null: nobody is expected. */
  readonly senders: PresenceCount | null
}

/** One UDP listener for heartbeats. Numbers count from its start; times are null before the first one. */
export type HeartbeatState = {
  readonly listener: string
  readonly upstream: string
  readonly flows: number
  readonly sources: number
  readonly heartbeats: number
  readonly replies: number
  readonly lastHeartbeatMs: number | null
  readonly lastReplyMs: number | null
  /** The server has answered nobody for 30 s, although heartbeats came. */
  readonly silent: boolean
  readonly sites: readonly SiteHeartbeatState[]
  /** (Nearly) all senders, of several places, are gone: the cause is on the side of the gate. */
  readonly allGone: boolean
  /** The connector that it goes through; null: none. */
  readonly connector:
    | (TunnelState & {
        readonly trouble: ConnectorTrouble
        /** The public port is closed until the connector is back. */
        readonly portClosed: boolean
      })
    | null
}

/** One server of a raw TCP service. */
export type StreamMemberState = {
  readonly member: string
  readonly state: ServerHealth
  readonly serving: boolean
  readonly sinceMs: number
  readonly lastProblem: string | null
}

/** One listener for raw TCP. Totals count from the start of the gate. */
export type StreamState = {
  readonly listener: string
  readonly kind: 'tcp' | 'tls' | 'mixed'
  readonly product: string | null
  readonly open: number
  readonly opened: number
  readonly refused: number
  readonly bytesIn: number
  readonly bytesOut: number
  readonly members: readonly StreamMemberState[]
}

/** A local service that a connector offers by name. It never connects anywhere else. */
export type OfferedService = {
  readonly name: string
  /** `tcp` also carries HTTP and HTTPS. */
  readonly kind: 'tcp' | 'udp'
}

/** A client (N24): one connector that has attached with a gateway key. The same name with another key is another client. */
export type Client = {
  /** Unique among everything that has attached since the start. */
  readonly id: string
  readonly name: string
  /** Name of the gateway key, never the key. */
  readonly key: string
  /** The address that the gate saw, and the one that the client says it has. */
  readonly publicAddress: string
  readonly realAddress: string
  readonly site: string | null
  readonly country: string
  readonly version: string
  /** What it has proven to be (`ed25519/...`); null: it has shown no identity. */
  readonly identity: string | null
  readonly sinceMs: number
  readonly services: readonly OfferedService[]
}

/** An operator who is connected to a service of a client (N24). */
export type OperatorSession = {
  readonly id: string
  readonly operator: string
  readonly client: string
  readonly key: string
  readonly service: string
  readonly address: string
  readonly startedMs: number
  readonly bytesIn: number
  readonly bytesOut: number
}

/** What a forward does now. Bytes are those of TCP, since it opened. */
export type ForwardState = {
  /** Whether the port is open; false: something else holds it, and it is tried again. */
  readonly tcp: boolean
  readonly udp: boolean
  readonly connections: number
  readonly flows: number
  readonly bytesIn: number
  readonly bytesOut: number
}

/** One public port that leads to a PC for a while, and what it does now. */
export type InvitationStatus = InvitationForward & ForwardState
