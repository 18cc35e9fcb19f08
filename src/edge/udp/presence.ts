// Who sends heartbeats in the expected rhythm, who is late, and who is gone: by sender, by place, and in all. Pure.
import type { PresenceCount } from '../../policy/running-state.ts'

/** Late after so many times the expected interval, gone after so many. */
const LATE_AFTER = 2
const GONE_AFTER = 3
/** Senders that are watched. */
const MAX_WATCHED = 100_000
/** A sender that is gone for so long is no longer expected. */
const FORGET_MS = 24 * 3_600_000
/** One place is reported so often at most: when all of it is gone, and when some of it is. */
export const WHOLE_EVERY_MS = 60_000
export const SOME_EVERY_MS = 600_000
/** Places that one report names; the others are summed up. */
export const MAX_NAMED = 20
/** So large a part of all senders, of several places, is no matter of the places. */
const ALL_SHARE = 0.9
const ALL_LEAST = 5
/** A tick that comes so late says that this process was stopped, or its clock was set: nobody else is to blame. */
const STALL_MS = 3_000
/** A sender is watched from its third heartbeat on; one whose source is not known, after a minute of them. */
const LEAST_HEARTBEATS = 3
const LEAST_UNKNOWN = 12

/** What is asked of a flow. */
export type Sender = {
  readonly key: string
  readonly address: { readonly text: string }
  readonly standing: { readonly site: { readonly id: string } | null }
  readonly known: boolean
  readonly openedMs: number
  readonly lastHeartbeatMs: number
  readonly total: { readonly heartbeats: number }
}

/** A site, or an address of none. */
export type Place = { readonly site: string | null; readonly address: string }

/** What is worth a report. */
export type PresenceReport =
  | {
      readonly kind: 'some'
      readonly place: Place | null
      readonly gone: number
      readonly known: number
      readonly places: number
      readonly lastMs: number
    }
  | {
      readonly kind: 'place'
      readonly place: Place
      readonly known: number
      /** Senders of other places that are not gone. */
      readonly others: number
      readonly lastMs: number
    }
  | {
      readonly kind: 'all'
      readonly gone: number
      readonly known: number
      readonly places: number
      readonly lastMs: number
    }
  | {
      readonly kind: 'back'
      readonly place: Place | null
      readonly known: number
      readonly gone: number
      readonly sinceMs: number
    }

type Entry = {
  readonly place: Place
  readonly placeKey: string
  lastMs: number
  state: keyof PresenceCount
  isReported: boolean
}
type PlaceState = { someMs: number; wholeMs: number; wholeSinceMs: number | null }
type Sum = { readonly place: Place; known: number; gone: number; fresh: number; lastMs: number }

/** Watches the senders of one listener. Nothing of it outlives the process: after a start nobody is expected yet. */
export class Presence {
  readonly #entries = new Map<string, Entry>()
  readonly #byAddress = new Map<string, Set<string>>()
  readonly #places = new Map<string, PlaceState>()
  #tickMs: number | null = null
  #resumedMs = -Infinity
  #pendingMs: number | null = null
  #allSinceMs: number | null = null

  /** Senders by site; null: of no site. */
  bySite(): ReadonlyMap<string | null, PresenceCount> {
    const out = new Map<string | null, { -readonly [state in keyof PresenceCount]: number }>()
    for (const { place, state } of this.#entries.values()) {
      const count = out.get(place.site) ?? { present: 0, late: 0, gone: 0 }
      count[state]++
      out.set(place.site, count)
    }
    return out
  }

  /** Whether (nearly) all senders of the listener are gone, as far as it was reported. */
  get areAllGone(): boolean {
    return this.#allSinceMs !== null
  }

  get size(): number {
    return this.#entries.size
  }

  /** A flow ended by our doing: its sender is not expected. */
  forget(key: string): void {
    const entry = this.#entries.get(key)
    if (entry === undefined) return
    this.#entries.delete(key)
    const own = this.#byAddress.get(entry.place.address)
    own?.delete(key)
    if (own?.size === 0) this.#byAddress.delete(entry.place.address)
  }

  /** Expects nobody any more. */
  clear(): void {
    this.#entries.clear()
    this.#byAddress.clear()
    this.#places.clear()
    this.#pendingMs = null
    this.#allSinceMs = null
  }

  /**
   * To be called about once a second.
   * @param everyMs the expected interval
   * @returns what to report, a bounded number of reports whatever happens
   */
  tick(senders: Iterable<Sender>, everyMs: number, nowMs: number): readonly PresenceReport[] {
    const passedMs = nowMs - (this.#tickMs ?? nowMs)
    this.#tickMs = nowMs
    if (passedMs > STALL_MS || passedMs < 0) this.#resumedMs = nowMs
    for (const sender of senders) this.#hear(sender, everyMs, nowMs)
    let gone = 0
    for (const [key, entry] of this.#entries) {
      this.#judge(entry, everyMs, nowMs)
      if (entry.state !== 'gone') continue
      gone++
      if (nowMs - entry.lastMs >= FORGET_MS) this.forget(key)
      else if (!entry.isReported) this.#pendingMs ??= nowMs
    }
    return [...this.#returned(gone, nowMs), ...this.#missed(everyMs, nowMs)]
  }

  #hear(sender: Sender, everyMs: number, nowMs: number): void {
    const { key, lastHeartbeatMs, total, known } = sender
    const entry = this.#entries.get(key)
    if (entry !== undefined) {
      if (entry.lastMs === lastHeartbeatMs) return
      entry.lastMs = lastHeartbeatMs
      entry.state = 'present'
      entry.isReported = false
      return
    }
    if (total.heartbeats < (known ? LEAST_HEARTBEATS : LEAST_UNKNOWN)) return
    if (nowMs - lastHeartbeatMs >= LATE_AFTER * everyMs) return
    this.#replace(sender, everyMs, nowMs)
    if (this.#entries.size >= MAX_WATCHED) return
    const place = { site: sender.standing.site?.id ?? null, address: sender.address.text }
    const placeKey = place.site === null ? `address ${place.address}` : `site ${place.site}`
    this.#entries.set(key, { place, placeKey, lastMs: lastHeartbeatMs, state: 'present', isReported: false })
    const own = this.#byAddress.get(place.address)
    if (own === undefined) this.#byAddress.set(place.address, new Set([key]))
    else own.add(key)
  }

  // An agent that was restarted, or that a router has given another port, is the one that fell silent before.
  #replace({ address, openedMs }: Sender, everyMs: number, nowMs: number): void {
    for (const key of this.#byAddress.get(address.text) ?? []) {
      const lastMs = this.#entries.get(key)?.lastMs ?? nowMs
      if (lastMs > openedMs || nowMs - lastMs < 1.5 * everyMs) continue
      this.forget(key)
      return
    }
  }

  #judge(entry: Entry, everyMs: number, nowMs: number): void {
    if (entry.state === 'gone') return
    const quietMs = nowMs - Math.max(entry.lastMs, this.#resumedMs)
    if (quietMs >= GONE_AFTER * everyMs) entry.state = 'gone'
    else entry.state = quietMs >= LATE_AFTER * everyMs ? 'late' : 'present'
  }

  /** What was reported as gone and is not any more. */
  #returned(gone: number, nowMs: number): readonly PresenceReport[] {
    const known = this.#entries.size
    if (this.#allSinceMs !== null) {
      if (gone * 2 > known) return []
      const sinceMs = this.#allSinceMs
      this.#allSinceMs = null
      // Those who are still gone are a matter of their places now.
      for (const entry of this.#entries.values()) entry.isReported = false
      this.#pendingMs = null
      return [{ kind: 'back', place: null, known, gone, sinceMs }]
    }
    const waiting = [...this.#places].filter(([, { wholeSinceMs }]) => wholeSinceMs !== null)
    const sums = waiting.length === 0 ? null : this.#sums()
    const out: PresenceReport[] = []
    for (const [placeKey, state] of this.#places) {
      const sum = sums?.get(placeKey)
      if (state.wholeSinceMs !== null && (sum === undefined || sum.gone * 2 <= sum.known)) {
        if (sum !== undefined)
          out.push({
            kind: 'back',
            place: sum.place,
            known: sum.known,
            gone: sum.gone,
            sinceMs: state.wholeSinceMs,
          })
        state.wholeSinceMs = null
      }
      if (state.wholeSinceMs === null && nowMs - Math.max(state.someMs, state.wholeMs) >= SOME_EVERY_MS)
        this.#places.delete(placeKey)
    }
    return limited(out)
  }

  /** What is gone and was not reported yet. It waits for one interval, so that what falls silent together is one report. */
  #missed(everyMs: number, nowMs: number): readonly PresenceReport[] {
    if (this.#pendingMs === null || nowMs - this.#pendingMs < Math.min(60_000, Math.max(2_000, everyMs)))
      return []
    if (this.#allSinceMs !== null) return []
    const sums = this.#sums()
    let [gone, lastMs, places] = [0, 0, 0]
    for (const sum of sums.values()) {
      gone += sum.gone
      if (sum.gone > 0) {
        places++
        lastMs = Math.max(lastMs, sum.lastMs)
      }
    }
    const known = this.#entries.size
    this.#pendingMs = null
    if (known >= ALL_LEAST && gone >= known * ALL_SHARE && places > 1) {
      this.#allSinceMs = lastMs
      for (const entry of this.#entries.values()) if (entry.state === 'gone') entry.isReported = true
      return [{ kind: 'all', gone, known, places, lastMs }]
    }
    const due = new Map<string, PresenceReport>()
    for (const [placeKey, sum] of sums) {
      const report = sum.fresh === 0 ? null : this.#reportOf(placeKey, sum, known - gone, nowMs)
      if (report !== null) due.set(placeKey, report)
    }
    for (const entry of this.#entries.values())
      if (entry.state === 'gone' && due.has(entry.placeKey)) entry.isReported = true
    return limited([...due.values()])
  }

  #reportOf(
    placeKey: string,
    { place, known, gone, lastMs }: Sum,
    heard: number,
    nowMs: number,
  ): PresenceReport | null {
    const state = this.#places.get(placeKey) ?? { someMs: -Infinity, wholeMs: -Infinity, wholeSinceMs: null }
    const isWhole = gone === known && known > 1
    if (nowMs - (isWhole ? state.wholeMs : state.someMs) < (isWhole ? WHOLE_EVERY_MS : SOME_EVERY_MS))
      return null
    this.#places.set(placeKey, state)
    if (!isWhole) {
      state.someMs = nowMs
      return { kind: 'some', place, gone, known, places: 1, lastMs }
    }
    state.wholeMs = nowMs
    state.wholeSinceMs = lastMs
    return { kind: 'place', place, known, others: heard, lastMs }
  }

  #sums(): Map<string, Sum> {
    const sums = new Map<string, Sum>()
    for (const { place, placeKey, state, isReported, lastMs } of this.#entries.values()) {
      const sum = sums.get(placeKey) ?? { place, known: 0, gone: 0, fresh: 0, lastMs: 0 }
      sum.known++
      if (state === 'gone') {
        sum.gone++
        if (!isReported) sum.fresh++
        sum.lastMs = Math.max(sum.lastMs, lastMs)
      }
      sums.set(placeKey, sum)
    }
    return sums
  }
}

/** The largest first; what is beyond them is one report. */
function limited(reports: readonly PresenceReport[]): readonly PresenceReport[] {
  if (reports.length <= MAX_NAMED) return reports
  const rank = ({ kind, known }: PresenceReport): number => (kind === 'some' ? 0 : 1e9) + known
  const sorted = reports.toSorted((a, b) => rank(b) - rank(a))
  const rest = sorted.slice(MAX_NAMED)
  const isBack = rest[0]?.kind === 'back'
  if (isBack) return sorted.slice(0, MAX_NAMED)
  let [gone, known, lastMs] = [0, 0, 0]
  for (const report of rest) {
    known += report.known
    gone += 'gone' in report ? report.gone : report.known
    if ('lastMs' in report) lastMs = Math.max(lastMs, report.lastMs)
  }
  return [
    ...sorted.slice(0, MAX_NAMED),
    { kind: 'some', place: null, gone, known, places: rest.length, lastMs },
  ]
}
