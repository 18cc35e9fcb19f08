// The words of the ledger: what is remembered of traffic per source, shape and hour so that a decision can be asked again.
import type { TlsVersion } from '../net/tls-version.ts'
import type { TrafficClass } from '../policy/classes.ts'
import type { Reason } from '../policy/reasons.ts'

/**
 * How traffic of one shape came out: `passed`; `failed`: the policy let it through, but it was cut short or answered with
 * a server error; the reason of its refusal; or what ended it before any decision.
 */
export type LedgerOutcome = 'passed' | 'failed' | Reason | 'silent' | 'handshake-failed'

/**
 * Everything about a piece of traffic that decisions look at, apart from source and time. Few distinct shapes exist, so
 * they are stored once and rows point to them.
 */
export type LedgerShape = {
  /**
   * `accept` and `hello`: the connection got no further. `request`: a request was judged. `datagram`: a heartbeat was.
   * `stream`: a raw TCP stream was.
   */
  readonly phase: 'accept' | 'hello' | 'request' | 'datagram' | 'stream'
  readonly listener: string
  /** Host header of a request; null before requests. */
  readonly host: string | null
  readonly serverName: string | null
  readonly class: TrafficClass | null
  readonly method: string | null
  /** Shape of the path (see path-shape.ts); `*` when there were too many, null before requests. */
  readonly path: string | null
  readonly webSocket: boolean
  readonly offered: readonly TlsVersion[]
  readonly negotiated: TlsVersion | null
  /** Of the first connection of the hour with this shape, for orientation: decisions do not read it. */
  readonly ja4: string | null
  /** Family of the user agent, not its text. */
  readonly userAgent: string
  readonly outcome: LedgerOutcome
}

/** What one source did in one shape in one hour. */
export type LedgerRow = {
  /** Canonical address; null: sources beyond the limit of an hour, taken together. */
  readonly source: string | null
  readonly hourMs: number
  readonly shape: LedgerShape
  readonly count: number
  readonly bytesIn: number
  readonly bytesOut: number
  readonly firstMs: number
  readonly lastMs: number
}

/** What one source did in one shape, over an hour or a day: all that a replay needs. */
export type LedgerSum = Pick<LedgerRow, 'source' | 'shape' | 'count' | 'lastMs'> & {
  /** Hours that are added up. */
  readonly hours: number
}

/** Numbers per cell of a batch: source and shape index, hour, count, bytes in, bytes out, first and last second. */
export const CELL_WIDTH = 8

/** Additions to the ledger on their way to the store. Numbers of `cells` come in groups of CELL_WIDTH. */
export type LedgerBatch = {
  readonly sources: readonly string[]
  readonly shapes: readonly LedgerShape[]
  /** Hours count from the epoch; seconds count from the start of the hour. */
  readonly cells: Float64Array
}

/** Source text of the row that takes what is beyond the limit of an hour. */
export const OVERFLOW_SOURCE = ''

/** Milliseconds of an hour. */
export const HOUR_MS = 3_600_000
