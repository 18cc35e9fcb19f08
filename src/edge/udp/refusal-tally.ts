// Refused datagrams, counted: the first of a source is reported at once, the others of a minute together. Pure.

/** A refusal that comes again and again. */
export type Tally<Fields> = { readonly fields: Fields; count: number }

/** Sources that are remembered; what is beyond them is reported one by one (and limited there like every flood). */
export const TALLIED_SOURCES = 4_096
/** How long refusals of one source are gathered. */
export const TALLY_MS = 60_000

/** Gathers refusals by source and reason. */
export class RefusalTally<Fields> {
  #gathered = new Map<string, Tally<Fields>>()
  #startedMs = 0

  /** Whether no more sources are remembered: what comes now may be one datagram each from as many addresses. */
  get isFull(): boolean {
    return this.#gathered.size >= TALLIED_SOURCES
  }

  /** Notes a refusal. Returns true when it is to be reported now, on its own. */
  note(key: string, fields: () => Fields): boolean {
    const known = this.#gathered.get(key)
    if (known !== undefined) {
      known.count++
      return false
    }
    if (this.#gathered.size < TALLIED_SOURCES) this.#gathered.set(key, { fields: fields(), count: 0 })
    return true
  }

  /** The refusals that were not reported yet, when a minute is over; empty before. */
  take(nowMs: number, now = false): readonly Tally<Fields>[] {
    if (!now && nowMs - this.#startedMs < TALLY_MS) return []
    this.#startedMs = nowMs
    const due = [...this.#gathered].filter(([, { count }]) => count > 0)
    // Whoever goes on is reported once a minute; whoever stopped begins anew.
    this.#gathered = new Map(due.map(([key, { fields }]) => [key, { fields, count: 0 }]))
    return due.map(([, entry]) => entry)
  }
}
