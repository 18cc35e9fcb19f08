// One coarse timer for all connections of a gate: nobody starts a timer per request.

/** Clock functions of the process, given in by the composition root. */
export type HttpClock = {
  /** Wall clock, milliseconds since the epoch: for policy and events. */
  readonly nowMs: () => number
  /** Monotonic milliseconds: for limits and durations, so that a corrected wall clock ends no connection. */
  readonly monotonicMs: () => number
  /** Calls `tick` every `ms` until the returned function is called. */
  readonly every: (ms: number, tick: () => void) => () => void
}

/** Something with a point in time after which it is told. */
export type Watched = {
  /** Monotonic milliseconds; Infinity: no deadline. */
  deadlineMs: number
  readonly onDeadline: () => void
}

/** How far a deadline may be overrun. */
export const DEADLINE_STEP_MS = 250

const STALL_MS = DEADLINE_STEP_MS * 4

/** Watches deadlines; its timer runs only while there is something to watch. */
export class Deadlines {
  /** Monotonic time, at most one step old: good enough to set deadlines from, and free. */
  nowMs: number
  readonly #clock: HttpClock
  readonly #watched = new Set<Watched>()
  #stop: (() => void) | null = null
  #stalled = false

  constructor(clock: HttpClock) {
    this.#clock = clock
    this.nowMs = clock.monotonicMs()
  }

  get size(): number {
    return this.#watched.size
  }

  add(entry: Watched): void {
    this.#watched.add(entry)
    if (this.#stop !== null) return
    this.nowMs = this.#clock.monotonicMs()
    this.#stop = this.#clock.every(DEADLINE_STEP_MS, () => this.#tick())
  }

  remove(entry: Watched): void {
    if (!this.#watched.delete(entry) || this.#watched.size > 0) return
    this.#stop?.()
    this.#stop = null
  }

  #tick(): void {
    const lastMs = this.nowMs
    this.nowMs = this.#clock.monotonicMs()
    // The process itself was held up: what clients sent meanwhile is read before anybody is called late. Only once in a
    // row: a gate that is kept busy all the time must get rid of those who do nothing.
    this.#stalled = this.nowMs - lastMs > STALL_MS && !this.#stalled
    if (this.#stalled) return
    for (const entry of this.#watched) if (entry.deadlineMs <= this.nowMs) entry.onDeadline()
  }
}
