// The time limit of one phase of a connection. It does not count while the process itself was held up.

/** How late a timer may be before the process counts as held up. */
const STALL_MS = 250

/** At most one limit runs at a time: setting another replaces it. */
export class PhaseTimer {
  #timer: NodeJS.Timeout | undefined

  /**
   * Calls `done` after the time, unless `clear` or another `set` comes first.
   *
   * Timers run before sockets are read. After a stall, bytes that came in time would be unread when the connection is
   * closed, and the client would get a reset: so one round of reading comes first, and after a real stall, once, the
   * whole time again.
   */
  set(delayMs: number, done: () => void): void {
    this.#start(delayMs, done, true)
  }

  clear(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
  }

  #start(delayMs: number, done: () => void, mayExtend: boolean): void {
    clearTimeout(this.#timer)
    const dueMs = performance.now() + delayMs
    const timer = setTimeout(() => {
      const stalled = performance.now() > dueMs + STALL_MS
      setImmediate(() => {
        if (this.#timer !== timer) return
        if (stalled && mayExtend) this.#start(delayMs, done, false)
        else done()
      })
    }, delayMs)
    this.#timer = timer
  }
}
