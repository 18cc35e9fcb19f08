// Notices RMM servers that answer far more slowly than usual: medians of answer times, the last minutes against the days before.
import type { EventFields, EventName } from './journal/events.ts'

/** How slow a member is. */
export type Slowness = { readonly recentMs: number; readonly usualMs: number; readonly sinceMs: number }

/** Watches the closing events of requests. */
export type UpstreamPace = {
  /** Costs a few additions for a request, nothing for other events. */
  readonly record: <K extends EventName>(name: K, fields: EventFields[K], nowMs: number) => void
  /** Null: not slow, or too little is known. */
  readonly slowness: (member: string, nowMs: number) => Slowness | null
}

const SLOT_MS = 5 * 60_000
/** Buckets by half powers of two: 1 ms to about 23 minutes, exact to 20 %. */
const BUCKETS = 42
/** What is usual fades: a day later a slot counts about a third. */
const FADING = 0.996
const ENOUGH_RECENT = 20
const ENOUGH_USUAL = 100
const MANY_TIMES = 4
/** Nobody calls less slow. */
const LEAST_MS = 1_000
const MAX_MEMBERS = 200

type Pace = {
  slot: number
  readonly now: Float64Array
  readonly before: Float64Array
  readonly usual: Float64Array
  slowSinceMs: number | null
}

/** Begins without knowledge. */
export function createUpstreamPace(): UpstreamPace {
  const members = new Map<string, Pace>()
  const paceOf = (member: string): Pace | undefined => {
    const known = members.get(member)
    if (known !== undefined || members.size >= MAX_MEMBERS) return known
    const zeros = (): Float64Array => new Float64Array(BUCKETS)
    const pace = { slot: 0, now: zeros(), before: zeros(), usual: zeros(), slowSinceMs: null }
    members.set(member, pace)
    return pace
  }
  return {
    record: (name, fields, nowMs) => {
      if (name !== 'request.closed') return
      const { upstream, upstreamMs, webSocket, ending } = fields as EventFields['request.closed']
      if (upstream === '' || webSocket || ending !== 'complete') return
      const pace = paceOf(upstream)
      if (pace === undefined) return
      turn(pace, nowMs)
      const bucket = bucketOf(upstreamMs)
      pace.now[bucket] = (pace.now[bucket] ?? 0) + 1
    },
    slowness: (member, nowMs) => {
      const pace = members.get(member)
      if (pace === undefined) return null
      turn(pace, nowMs)
      const found = compare(pace)
      if (found === null) {
        pace.slowSinceMs = null
        return null
      }
      pace.slowSinceMs ??= (pace.slot - 1) * SLOT_MS
      return { ...found, sinceMs: pace.slowSinceMs }
    },
  }
}

/** Goes on to the slot of this time. Slow slots do not become usual: a slow week would hide itself. */
function turn(pace: Pace, nowMs: number): void {
  const slot = Math.floor(nowMs / SLOT_MS)
  if (slot === pace.slot) return
  const isSlow = compare(pace) !== null
  const isNext = slot === pace.slot + 1
  for (let index = 0; index < BUCKETS; index++) {
    if (!isSlow) pace.usual[index] = (pace.usual[index] ?? 0) * FADING + (pace.before[index] ?? 0)
    pace.before[index] = isNext ? (pace.now[index] ?? 0) : 0
    if (!isNext && !isSlow) pace.usual[index] = (pace.usual[index] ?? 0) + (pace.now[index] ?? 0)
    pace.now[index] = 0
  }
  pace.slot = slot
}

function compare({
  now,
  before,
  usual,
}: Pace): { readonly recentMs: number; readonly usualMs: number } | null {
  const recent = medianOf(now, before)
  const normal = medianOf(usual, null)
  if (recent.count < ENOUGH_RECENT || normal.count < ENOUGH_USUAL) return null
  const isSlow = recent.ms >= LEAST_MS && recent.ms >= MANY_TIMES * normal.ms
  return isSlow ? { recentMs: recent.ms, usualMs: normal.ms } : null
}

function bucketOf(ms: number): number {
  return Math.max(0, Math.min(BUCKETS - 1, Math.floor(2 * Math.log2(Math.max(1, ms)))))
}

function medianOf(
  first: Float64Array,
  second: Float64Array | null,
): { readonly count: number; readonly ms: number } {
  const at = (index: number): number => (first[index] ?? 0) + (second?.[index] ?? 0)
  let count = 0
  for (let index = 0; index < BUCKETS; index++) count += at(index)
  let seen = 0
  for (let index = 0; index < BUCKETS; index++) {
    seen += at(index)
    if (count > 0 && seen >= count / 2) return { count, ms: Math.round(2 ** ((index + 0.5) / 2)) }
  }
  return { count, ms: 0 }
}
