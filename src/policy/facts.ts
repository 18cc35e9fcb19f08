// The facts of each phase: plain data that adapters gather and decisions read. Nothing here is looked up or computed twice.
import type { Address, AddressScope } from '../net/address.ts'
import type { TlsVersion } from '../net/tls-version.ts'

/** What the country databases say of an address; overrides of the policy are applied by the decision. */
export type GeoFacts = {
  readonly scope: AddressScope
  /** ISO 3166-1 alpha-2 from the first database; null when it has no answer. */
  readonly country: string | null
  /** The second opinion's answer; null when there is none or it has no answer. */
  readonly second: string | null
  /** False when no database is loaded at all. */
  readonly available: boolean
}

/** Who connects: the canonical client address and what is known of it. */
export type SourceFacts = { readonly address: Address; readonly geo: GeoFacts }

/** Facts at the accept phase. */
export type AcceptFacts = {
  readonly source: SourceFacts
  readonly listener: string
  /** Connections that this address has open already, this one not counted. */
  readonly openFromSource: number
  /** Connections open in all, this one not counted. */
  readonly openTotal: number
  readonly nowMs: number
}

/** Facts of a parsed ClientHello. */
export type HelloFacts = {
  /** Server name, lower-case, without a trailing dot; null when none was sent. */
  readonly serverName: string | null
  /** Offered versions that the gate knows, strongest first. */
  readonly versions: readonly TlsVersion[]
  readonly alpn: readonly string[]
  /** JA4 fingerprint (FoxIO's published scheme); empty: nobody sent this hello, it is part of a question. */
  readonly ja4: string
  /** Number of cipher suites offered, GREASE not counted. */
  readonly cipherCount: number
}

/** Facts of the finished handshake. */
export type TlsFacts = { readonly version: TlsVersion; readonly cipher: string; readonly resumed: boolean }

/** Case-insensitive view of the request's headers; names are given in lower case. */
export type HeaderView = {
  /** First value, or undefined. */
  readonly get: (name: string) => string | undefined
  /** Flat list name, value, name, value ... as received. */
  readonly raw: readonly string[]
}

/** Facts of a request's head. */
export type RequestFacts = {
  readonly method: string
  /** As in the request line, for example `1.1`; left out: 1.1. */
  readonly httpVersion?: string
  /** Host header, lower-case, port removed. */
  readonly host: string
  /** The request target exactly as received. */
  readonly target: string
  /** Normalised path (see ips/target.ts); case is kept, `pathFolded` has it folded. */
  readonly path: string
  readonly pathFolded: string
  /** Raw query without `?`; empty when there is none. */
  readonly query: string
  readonly headers: HeaderView
  readonly webSocket: boolean
  readonly nowMs: number
}
