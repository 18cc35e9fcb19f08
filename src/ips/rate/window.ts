// Counts events over a sliding time, in little memory.

/** Marks per window: events closer together than this share of it are one mark, so that a flood takes no more memory. */
const MARKS = 64

/**
 * Events of the last `perMs`, exact to 1/64 of that time: an event may be forgotten so much too early, never too late.
 * Sliding, so that no two windows side by side let twice the number pass.
 */
export class SlidingWindow {
  readonly #times: number[] = []
  readonly #counts: number[] = []
  #total = 0

  /** Events in the `perMs` before `nowMs`. Times must not go back. */
  count(nowMs: number, perMs: number): number {
    while (this.#times.length > 0 && (this.#times[0] ?? 0) <= nowMs - perMs) {
      this.#times.shift()
      this.#total -= this.#counts.shift() ?? 0
    }
    return this.#total
  }

  /** Notes an event. */
  add(nowMs: number, perMs: number): void {
    this.count(nowMs, perMs)
    const last = this.#times.length - 1
    if (last >= 0 && nowMs - (this.#times[last] ?? 0) < perMs / MARKS) {
      this.#counts[last] = (this.#counts[last] ?? 0) + 1
    } else {
      this.#times.push(nowMs)
      this.#counts.push(1)
    }
    this.#total++
  }

  /** When so many events are left that one more is within `limit`; `nowMs` when they are already. */
  roomAtMs(nowMs: number, perMs: number, limit: number): number {
    let left = this.count(nowMs, perMs)
    for (let at = 0; at < this.#times.length && left >= limit; at++) {
      left -= this.#counts[at] ?? 0
      if (left < limit) return (this.#times[at] ?? nowMs) + perMs
    }
    return nowMs
  }

  clear(): void {
    this.#times.length = 0
    this.#counts.length = 0
    this.#total = 0
  }
}
