// Whether the other end of a tunnel is alive, how far away it is, and whether it keeps up. Pure: its clock comes from outside.

/** Each end asks the other one so often. */
export const PING_MS = 2_000
/** While datagrams flow it asks more often: an answer says that everything before the question has arrived. */
export const BUSY_PING_MS = 250
/** Nothing heard for so long: the connection is dead, whatever the system thinks of it. Less than 5 s with the tick. */
export const DEAD_MS = 4_500
/** A question that waits so long for its answer: more would only make the queues on the way longer. */
export const HOLD_MS = 2_000
/** To be ticked so often. */
export const TICK_MS = 250
/** A tick that comes so late says that this process was stopped: the other side is not to blame. */
const STALL_MS = 1_000

/** What is to be done now. */
export type Beat = 'ping' | 'dead' | 'nothing'

/** Watches one connection from one end. */
export class Liveness {
  #heardMs: number
  #tickMs: number
  #pingMs: number
  #lastId = 0
  /** The oldest question without an answer. */
  #asked: { readonly id: number; atMs: number } | null = null
  #hasSent = false
  #roundTripMs: number | null = null

  constructor(nowMs: number) {
    this.#heardMs = nowMs
    this.#tickMs = nowMs
    this.#pingMs = nowMs - PING_MS
  }

  /** The last measured time to the other end and back; null: not yet. */
  get roundTripMs(): number | null {
    return this.#roundTripMs
  }

  /** Id of the question that `tick` asked for. */
  get pingId(): number {
    return this.#lastId
  }

  /** Bytes have come, whatever they were. */
  heard(nowMs: number): void {
    this.#heardMs = nowMs
  }

  /** Datagrams have been handed to the connection. */
  sent(): void {
    this.#hasSent = true
  }

  /** An answer has come. Answers to what was never asked change nothing. */
  answered(id: number, nowMs: number): void {
    if (this.#asked === null || id < this.#asked.id || id > this.#lastId) return
    this.#roundTripMs = nowMs - this.#asked.atMs
    this.#asked = null
  }

  /** Whether more datagrams may be sent: not while the other end is behind with what it has. */
  keepsUp(nowMs: number): boolean {
    return this.#asked === null || nowMs - this.#asked.atMs < HOLD_MS
  }

  /** To be called every TICK_MS. */
  tick(nowMs: number): Beat {
    const late = nowMs - this.#tickMs - TICK_MS
    this.#tickMs = nowMs
    if (late > STALL_MS) {
      this.#heardMs += late
      if (this.#asked !== null) this.#asked.atMs += late
    }
    if (nowMs - this.#heardMs >= DEAD_MS) return 'dead'
    const every = this.#hasSent && this.#asked === null ? BUSY_PING_MS : PING_MS
    if (nowMs - this.#pingMs < every) return 'nothing'
    this.#pingMs = nowMs
    this.#hasSent = false
    this.#lastId++
    this.#asked ??= { id: this.#lastId, atMs: nowMs }
    return 'ping'
  }
}
