// Fields of the events about raw TCP streams.
import type { RuleHit } from '../ips/rule-set.ts'
import type { TlsVersion } from '../net/tls-version.ts'
import type { TrafficClass } from '../policy/classes.ts'
import type { StreamStart } from '../policy/streams.ts'
import type { ClientFields, Ending, RefusalFields } from './events.ts'

/** Fields of every event about a raw TCP stream. */
export type StreamFields = ClientFields & {
  /** The port that the client came to. */
  readonly localPort: number
  /** Null: no service had been chosen yet. */
  readonly class: TrafficClass | null
  /** What the first bytes were, on mixed listeners. */
  readonly start: StreamStart | null
  readonly serverName: string | null
}

/** Fields by event name. */
export type StreamEventFields = {
  'stream.refused': StreamFields &
    RefusalFields & {
      readonly phase: 'accept' | 'hello'
      readonly offered: readonly TlsVersion[]
      readonly ja4: string | null
      readonly hits?: readonly RuleHit[]
    }
  'stream.opened': StreamFields & {
    readonly negotiated: TlsVersion | null
    /** The server, and the member of the service that it is. */
    readonly upstream: string
    readonly member: string
    /** Time until the connection to the server stood. */
    readonly connectMs: number
  }
  /** What a stream carried since its last report, about every hour while it is open: the ledger is fed from it. */
  'stream.counted': StreamFields & { readonly bytesIn: number; readonly bytesOut: number }
  /** One side speaks TLS and the other does not. */
  'stream.mismatch': StreamFields & {
    readonly reference: string
    readonly what: 'tls-to-plain' | 'plain-to-tls'
    readonly upstream: string
  }
  'stream.closed': StreamFields & {
    readonly upstream: string
    readonly bytesIn: number
    readonly bytesOut: number
    /** Of these bytes, what no `stream.counted` has told yet. */
    readonly freshIn: number
    readonly freshOut: number
    readonly durationMs: number
    readonly ending: Ending
  }
  /** A client held one connection where the product uses two: it waits for notifications over UDP, which never come. */
  'stream.lone-session': ClientFields & {
    readonly product: string
    readonly durationMs: number
    readonly advice: string
  }
}
