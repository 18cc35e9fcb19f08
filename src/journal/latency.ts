// How long requests take, and where: histograms per hour, class and part, small enough to be kept for as long as the ledger.
import type { TrafficClass } from '../policy/classes.ts'
import type { EventFields, EventName } from './events.ts'
import { HOUR_MS } from './ledger-facts.ts'

/**
 * `gate`: the gate's own time, from the head of a request until it is handed to the server, without the time that the client
 * took to send a body. `server`: from there to the head of the server's answer, the way to it included. `total`: from the head
 * of the request to the end of the answer.
 */
export type LatencyPart = 'gate' | 'server' | 'total'

/** Counts of one hour, class and part. */
export type LatencySum = {
  /** Hours since the epoch. */
  readonly hour: number
  readonly class: TrafficClass
  readonly part: LatencyPart
  /** Count by bucket; see `bucketOf`. */
  readonly buckets: readonly number[]
}

/** The running histograms. */
export type LatencyTally = {
  /** Takes what it needs from an event: three logarithms and three additions. */
  readonly record: <K extends EventName>(name: K, fields: EventFields[K], nowMs: number) => void
  /** Takes all counts out; null when there are none. */
  readonly drain: () => readonly LatencySum[] | null
}

/** Buckets grow by a quarter: a quantile is right to about a tenth. */
const GROWTH = 1.25
/** Upper end of the first bucket, in milliseconds. */
const FIRST_MS = 0.02
/** The last bucket begins at about two minutes and has no end. */
export const BUCKETS = 72
const LOG_GROWTH = Math.log(GROWTH)
/** Hours that may wait while the store takes nothing: a day of all classes. */
const MAX_WAITING = 24 * 9

/** The bucket of a time in milliseconds. */
export function bucketOf(ms: number): number {
  if (!(ms > FIRST_MS)) return 0
  return Math.min(BUCKETS - 1, Math.ceil(Math.log(ms / FIRST_MS) / LOG_GROWTH))
}

/** Upper end of a bucket in milliseconds. */
export function bucketEnd(bucket: number): number {
  return FIRST_MS * GROWTH ** bucket
}

/** The quantile of a histogram in milliseconds, in the middle of its bucket; null: it is empty. */
export function quantileOf(buckets: readonly number[], quantile: number): number | null {
  const total = buckets.reduce((sum, count) => sum + count, 0)
  if (total === 0) return null
  let left = Math.max(1, Math.ceil(total * quantile))
  for (const [bucket, count] of buckets.entries()) {
    left -= count
    if (left <= 0) return bucket === 0 ? FIRST_MS : bucketEnd(bucket) / Math.sqrt(GROWTH)
  }
  return bucketEnd(buckets.length - 1)
}

type Cell = {
  readonly hour: number
  readonly class: TrafficClass
  readonly counts: Float64Array
}

const PARTS: readonly LatencyPart[] = ['gate', 'server', 'total']

/** Makes empty histograms. */
export function createLatencyTally(): LatencyTally {
  let hour = 0
  let current = new Map<TrafficClass, Cell>()
  let cells: Cell[] = []

  const cellOf = (trafficClass: TrafficClass, nowMs: number): Cell | undefined => {
    const now = Math.floor(nowMs / HOUR_MS)
    if (now !== hour) {
      hour = now
      current = new Map()
    }
    let cell = current.get(trafficClass)
    if (cell === undefined && cells.length < MAX_WAITING) {
      cell = { hour, class: trafficClass, counts: new Float64Array(BUCKETS * PARTS.length) }
      current.set(trafficClass, cell)
      cells.push(cell)
    }
    return cell
  }
  const add = (counts: Float64Array, part: number, ms: number): void => {
    const index = part * BUCKETS + bucketOf(ms)
    counts[index] = (counts[index] ?? 0) + 1
  }
  const closed = (f: EventFields['request.closed'], nowMs: number): void => {
    // What no server answered tells nothing about it; a WebSocket lasts for days.
    if (f.webSocket || f.upstreamMs <= 0 || f.gateMs === undefined || f.gateMs < 0) return
    const counts = cellOf(f.class, nowMs)?.counts
    if (counts === undefined) return
    add(counts, 0, f.gateMs)
    add(counts, 1, f.upstreamMs - (f.forwardedMs ?? f.gateMs))
    if (f.ending === 'complete') add(counts, 2, f.durationMs)
  }
  return {
    record: (name, fields, nowMs) => {
      if (name === 'request.closed') closed(fields as EventFields['request.closed'], nowMs)
    },
    drain: () => {
      if (cells.length === 0) return null
      const sums = cells.flatMap(cell =>
        PARTS.map((part, index) => ({
          hour: cell.hour,
          class: cell.class,
          part,
          buckets: [...cell.counts.subarray(index * BUCKETS, (index + 1) * BUCKETS)],
        })),
      )
      cells = []
      current = new Map()
      return sums
    },
  }
}
