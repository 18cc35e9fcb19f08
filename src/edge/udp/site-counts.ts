// What the flows of each site did, added up for status: heartbeats, replies, and how many seem to be lost on the way.
import type { FlowCount } from './flow.ts'

/** Heartbeats of one site, as far as flows have been counted (every 20 s). */
export type SiteHeartbeats = {
  readonly site: string | null
  heartbeats: number
  replies: number
  lastHeartbeatMs: number
  lastReplyMs: number | null
  /** Heartbeats of senders with a rhythm, and those of them that should have come and did not. */
  rhythmic: number
  missed: number
}

/** Sites that are remembered: more than any policy names. */
const MAX_SITES = 10_000

/** Adds up by site. */
export class SiteCounts {
  readonly #bySite = new Map<string | null, SiteHeartbeats>()

  add(site: string | null, { flow, heartbeats, replies, kept, missed }: FlowCount<unknown>): void {
    const { lastHeartbeatMs, lastReplyMs } = flow
    const known = this.#bySite.get(site)
    if (known === undefined) {
      if (this.#bySite.size >= MAX_SITES) return
      const rhythmic = kept
      this.#bySite.set(site, { site, heartbeats, replies, lastHeartbeatMs, lastReplyMs, rhythmic, missed })
      return
    }
    known.heartbeats += heartbeats
    known.replies += replies
    known.rhythmic += kept
    known.missed += missed
    known.lastHeartbeatMs = Math.max(known.lastHeartbeatMs, lastHeartbeatMs)
    if (lastReplyMs !== null) known.lastReplyMs = Math.max(known.lastReplyMs ?? 0, lastReplyMs)
  }

  list(): readonly (SiteHeartbeats & { readonly lossPercent: number | null })[] {
    return [...this.#bySite.values()].map(entry => ({
      ...entry,
      lossPercent: lossPercent(entry.rhythmic, entry.missed),
    }))
  }
}

/** Lost heartbeats in percent of those that were due, to a tenth; null: too few were judged to say. */
export function lossPercent(rhythmic: number, missed: number): number | null {
  const due = rhythmic + missed
  return due < MIN_JUDGED ? null : Math.round((missed / due) * 1_000) / 10
}

const MIN_JUDGED = 10
