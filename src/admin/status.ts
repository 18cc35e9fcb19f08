// What a running gate says of itself: the shape of `GET /v1/status`, shared by the API and the command line.
import type { AddressScope } from '../net/address.ts'
import type { TlsVersion } from '../net/tls-version.ts'

/** One open connection. */
export type ConnectionState = {
  readonly id: string
  readonly address: string
  readonly port: number
  readonly listener: string
  readonly site: string | null
  readonly country: string
  readonly name: string | null
  readonly tls: TlsVersion | null
  readonly openedMs: number
  readonly requests: number
  readonly bytesIn: number
  readonly bytesOut: number
  /** `handshake`, `idle`, the class of the running request, or `websocket <class>`. */
  readonly state: string
}

/** One upstream member. */
export type MemberState = {
  readonly group: string
  readonly member: string
  readonly origin: string
  readonly state: 'unknown' | 'up' | 'down' | 'returning'
  readonly sinceMs: number
  readonly lastProblem: string | null
  readonly serving: boolean
  readonly openRequests: number
  /** Medians of answer times, when they are far above what is usual; null: they are not, or too few are known. */
  readonly slow?: { readonly recentMs: number; readonly usualMs: number; readonly sinceMs: number } | null
}

/** One UDP listener for heartbeats. Numbers count from its start; times are null before the first one. */
export type HeartbeatStatus = {
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
  /** Heartbeats and replies by site; null: clients of no recorded site. */
  readonly sites: readonly {
    readonly site: string | null
    readonly heartbeats: number
    readonly replies: number
    readonly lastHeartbeatMs: number
    readonly lastReplyMs: number | null
    /** Lost between clients and gate, estimated from senders with a rhythm; null: too few to say. */
    readonly lossPercent: number | null
    /** Senders in their expected interval, late (twice it) and gone (three times); null: nobody is expected. */
    readonly senders: { readonly present: number; readonly late: number; readonly gone: number } | null
  }[]
  /** (Nearly) all senders, of several places, are gone: the cause is on the side of the gate. */
  readonly allGone: boolean
  /** The connector that it goes through; null: none. */
  readonly connector: {
    /** `away`: not attached; `not-offered`: attached without this service. */
    readonly trouble: 'away' | 'not-offered' | null
    /** The public port is closed until the connector is back. */
    readonly portClosed: boolean
    readonly connections: number
    readonly sinceMs: number
    readonly contexts: number
    readonly queuedBytes: number
    readonly roundTripMs: number | null
    readonly dropped: { readonly aged: number; readonly overflow: number; readonly away: number }
    readonly forged: number
  } | null
}

/** One listener for raw TCP. Totals count from the start of the gate. */
export type StreamStatus = {
  readonly listener: string
  readonly kind: 'tcp' | 'tls' | 'mixed'
  readonly product: string | null
  readonly open: number
  readonly opened: number
  readonly refused: number
  readonly bytesIn: number
  readonly bytesOut: number
  readonly members: readonly {
    readonly member: string
    readonly state: MemberState['state']
    readonly serving: boolean
    readonly sinceMs: number
    readonly lastProblem: string | null
  }[]
}

/** One certificate in use. */
export type CertificateState = {
  readonly name: string
  readonly subject: string
  readonly keyType: string
  readonly validToMs: number
  readonly sha256: string
  readonly file: string
  /** Made by Portcullis itself for development. */
  readonly development: boolean
}

/** One loaded country database. */
export type DatabaseStatus = {
  readonly role: 'first' | 'second'
  readonly file: string
  readonly type: string
  readonly builtMs: number
}

/** A policy file that was not taken. */
export type RejectedPolicy = { readonly atMs: number; readonly problems: readonly string[] }

/** One attached client (N24). */
export type ClientState = {
  readonly id: string
  readonly name: string
  /** Name of its gateway key. */
  readonly key: string
  readonly publicAddress: string
  readonly realAddress: string
  readonly site: string | null
  readonly country: string
  readonly version: string
  /** What it has proven to be (`ed25519/...`); null: it has shown no identity. */
  readonly identity: string | null
  readonly sinceMs: number
  readonly services: readonly { readonly name: string; readonly kind: 'tcp' | 'udp' }[]
}

/** One operator who is connected to a service of a client (N24). */
export type SessionState = {
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

/** A class that is open to a site or range for a while. */
export type OpeningStatus = {
  readonly range: string
  readonly classes: readonly string[]
  readonly reason: string
  readonly owner: string
  readonly expiresMs: number
}

/** A trial that is not over. Sites and listeners null: everywhere. */
export type TrialStatus = {
  readonly stages: readonly string[]
  readonly sites: readonly string[] | null
  readonly listeners: readonly string[] | null
  readonly expiresMs: number
  /** `file:line:column`. */
  readonly line: string
}

/** One public port that leads to a PC for a while. Bytes are those of TCP. */
export type InvitationStatus = {
  readonly port: number
  readonly target: { readonly host: string; readonly port: number }
  /** Who may connect, besides what the policy asks; null: everybody whom it lets in. */
  readonly from: { readonly sites: readonly string[]; readonly ranges: readonly string[] } | null
  readonly owner: string
  readonly openedMs: number
  readonly expiresMs: number
  /** Whether the port is open; false: something else holds it, and it is tried again. */
  readonly tcp: boolean
  readonly udp: boolean
  readonly connections: number
  readonly flows: number
  readonly bytesIn: number
  readonly bytesOut: number
}

/** Everything that `portcullis status` shows. */
export type GateStatus = {
  readonly version: string
  readonly pid: number
  readonly startedMs: number
  readonly nowMs: number
  readonly policy: {
    readonly id: string
    readonly directory: string
    readonly loadedMs: number
    readonly model: string
    readonly home: readonly string[]
    readonly rules: number
    readonly sites: number
    readonly warnings: readonly string[]
    /** Stages on trial; absent: none. */
    readonly trials?: readonly TrialStatus[]
    /** The newest attempt that failed after the policy in force was loaded; null: none. */
    readonly rejected: RejectedPolicy | null
  }
  readonly listeners: readonly { readonly listener: string; readonly host: string; readonly port: number }[]
  /** Numbers of all connections; `connections` lists at most 2,000 of them. */
  readonly open: { readonly connections: number; readonly webSockets: number; readonly max: number }
  readonly connections: readonly ConnectionState[]
  readonly upstreams: readonly MemberState[]
  readonly streams: readonly StreamStatus[]
  readonly heartbeats: readonly HeartbeatStatus[]
  readonly invitations: readonly InvitationStatus[]
  readonly clients: readonly ClientState[]
  readonly sessions: readonly SessionState[]
  /** Classes opened for a while; `range` is `site:<id>` or a range. */
  readonly openings: readonly OpeningStatus[]
  readonly certificates: readonly CertificateState[]
  readonly databases: readonly DatabaseStatus[]
  readonly memory: { readonly rssBytes: number; readonly heapBytes: number }
}

/** Words for address scopes in front of a person. */
export const SCOPE_WORDS: Readonly<Record<AddressScope, string>> = {
  public: 'public address',
  private: 'private address',
  cgnat: 'carrier-grade NAT address',
  loopback: 'loopback address',
  'link-local': 'link-local address',
  reserved: 'reserved address',
}
