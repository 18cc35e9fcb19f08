// How often agents check in over HTTPS, and what a silence means by that: the same words and measures as for heartbeats. Pure.
import { findName } from './decide-hello.ts'
import type { Snapshot } from './snapshot.ts'

/** A silence measured by the interval of the product. */
export type Punctuality = 'present' | 'late' | 'gone'

/** Late after so many intervals, gone after so many: as with heartbeats. */
const LATE_AFTER = 2
const GONE_AFTER = 3

/**
 * How often agents of these names check in, in milliseconds: the slowest counts. Null: a name is of a product that does not
 * say, or unknown, or there is none.
 */
export function checkInEvery(snapshot: Pick<Snapshot, 'names'>, hosts: readonly string[]): number | null {
  let slowest: number | null = null
  for (const host of hosts) {
    const everyMs = findName(snapshot, host)?.profile.checkInEveryMs ?? null
    if (everyMs === null) return null
    slowest = Math.max(slowest ?? 0, everyMs)
  }
  return slowest
}

/** How often agents of any name check in: for places of which nobody knows what they use. Null: a product does not say. */
export function slowestCheckIn(snapshot: Pick<Snapshot, 'names'>): number | null {
  return checkInEvery(
    snapshot,
    snapshot.names.filter(name => name.dashboard === undefined).map(({ host }) => host),
  )
}

/** What a silence of so many milliseconds means. */
export function punctuality(silentMs: number, everyMs: number): Punctuality {
  if (silentMs > GONE_AFTER * everyMs) return 'gone'
  return silentMs > LATE_AFTER * everyMs ? 'late' : 'present'
}

/** The silence after which an agent that checks in so often is gone, in milliseconds. */
export function goneAfter(everyMs: number): number {
  return GONE_AFTER * everyMs
}
