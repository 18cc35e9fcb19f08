// What a running gate says of itself: the shape of `GET /v1/status`, shared by the API and the command line.
import type { AddressScope } from '../net/address.ts'
import type { TlsVersion } from '../net/tls-version.ts'
import type {
  Client,
  HeartbeatState,
  InvitationStatus,
  OperatorSession,
  ServerHealth,
  StreamState,
} from '../policy/running-state.ts'

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
  readonly state: ServerHealth
  readonly sinceMs: number
  readonly lastProblem: string | null
  readonly serving: boolean
  readonly openRequests: number
  /** Medians of answer times, when they are far above what is usual; null: they are not, or too few are known. */
  readonly slow?: { readonly recentMs: number; readonly usualMs: number; readonly sinceMs: number } | null
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
  readonly streams: readonly StreamState[]
  readonly heartbeats: readonly HeartbeatState[]
  readonly invitations: readonly InvitationStatus[]
  readonly clients: readonly Client[]
  readonly sessions: readonly OperatorSession[]
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
