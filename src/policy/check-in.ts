// How often agents check in over HTTPS, and what a silence means by that: the same words and measures as for heartbeats. Pure.
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
export function checkInEvery({ names }: Pick<Snapshot, 'names'>, hosts: readonly string[]): number | null {
  let slowest: number | null = null
  for (const host of hosts) {
    const everyMs = names.find(name => name.host === host)?.profile.checkInEveryMs ?? null
    if (everyMs === null) return null
    slowest = Math.max(slowest ?? 0, everyMs)
  }
  return slowest
}

/** How often agents of any name check in: for places of which nobody knows what they use. Null: a product does not say. */
export function slowestCheckIn(snapshot: Pick<Snapshot, 'names'>): number | null {
  return checkInEvery(
    snapshot,
    snapshot.names.map(({ host }) => host),
  )
}

/** What a silence of so many milliseconds means. */
export function punctuality(silentMs: number, everyMs: number): Punctuality {
  if (silentMs > GONE_AFTER * everyMs) return 'gone'
  return silentMs > LATE_AFTER * everyMs ? 'late' : 'present'
}

/** The silence after which an agent is gone; `otherwise` where nobody knows how often it comes. */
export function goneAfter(everyMs: number | null, otherwise: number): number {
  return everyMs === null ? otherwise : GONE_AFTER * everyMs
}
