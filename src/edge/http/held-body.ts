// The part of a request body that is kept: for rules to judge before anything is sent, and to send again to another member.

import type { HeldMemory } from './held-memory.ts'

/** A body that was not judged is kept up to here, so that a dead member does not lose a check-in. */
const REPLAY_BYTES = 65_536

/** Later portions below this are copied together: kept one by one, single bytes would cost hundreds of bytes each. */
const SMALL_PORTION = 1024
const FIRST_TAIL_BYTES = 4_096
const MAX_TAIL_BYTES = 65_536

/** What waits for rules may take this long before its rate counts. */
export const GRACE_MS = 10_000

/** Where and under which limits a body is held. */
export type HeldAccount = {
  readonly memory: HeldMemory
  /** Of the whole memory. */
  readonly maxBytes: number
  /** Slowest rate of what waits for rules; 0: any. */
  readonly bytesPerSecond: number
  /** Monotonic milliseconds. */
  readonly sinceMs: number
}

/** Portions kept in the order received: large ones as the views that they are, small ones copied together. */
export class HeldBody {
  /** Rules have not judged yet: everything is kept and nothing is sent. */
  judging: boolean
  bytes = 0
  private kept: Buffer[] | null = []
  /** Where small portions go; the last entry of `kept` is its used part. Null: the last entry is a view. */
  private tail: Buffer | null = null

  /** What of `bytes` is counted in the memory. */
  private counted = 0
  private readonly account: HeldAccount | null

  /** @param account null: the caller counts and watches */
  constructor(judging: boolean, account: HeldAccount | null = null) {
    this.judging = judging
    this.account = account
    if (!judging) account?.memory.offer(this)
  }

  /** Monotonic milliseconds by which more of a body that waits for rules must have come; Infinity: no such time. */
  get untilMs(): number {
    if (!this.judging || this.account === null || this.account.bytesPerSecond === 0) return Infinity
    return this.account.sinceMs + GRACE_MS + (this.bytes / this.account.bytesPerSecond) * 1_000
  }

  /** All bytes received so far are here. */
  get complete(): boolean {
    return this.kept !== null
  }

  /**
   * Keeps a portion. Returns false when there was no memory for it: one that waits for rules is kept nevertheless, and
   * what was kept must be dealt with at once; a copy for a second try is given up.
   */
  add(portion: Buffer): boolean {
    if (this.kept === null) return true
    if (!this.judging && this.bytes + portion.length > REPLAY_BYTES) {
      this.forget()
      return true
    }
    const hasRoom = this.account?.memory.take(portion.length, this.account.maxBytes) ?? true
    // Making room may have taken this very copy.
    if (!this.judging && (!hasRoom || this.kept === null)) {
      if (hasRoom) this.account?.memory.give(portion.length)
      this.forget()
      return false
    }
    if (hasRoom) this.counted += portion.length
    this.bytes += portion.length
    if (portion.length >= SMALL_PORTION || this.kept.length === 0) {
      this.tail = null
      this.kept.push(portion)
    } else this.addSmall(portion, this.kept)
    return hasRoom
  }

  /** Rules let it pass: from now on it is only kept for a second try. */
  judged(): void {
    this.judging = false
    if (this.kept !== null) this.account?.memory.offer(this)
  }

  private addSmall(portion: Buffer, kept: Buffer[]): void {
    const used = this.tail === null ? 0 : (kept.pop()?.length ?? 0)
    if (this.tail !== null && used + portion.length > this.tail.length) {
      kept.push(this.tail.subarray(0, used))
      this.tail = null
    }
    const at = this.tail === null ? 0 : used
    this.tail ??= Buffer.allocUnsafeSlow(Math.min(Math.max(FIRST_TAIL_BYTES, this.bytes), MAX_TAIL_BYTES))
    portion.copy(this.tail, at)
    kept.push(this.tail.subarray(0, at + portion.length))
  }

  portions(): readonly Buffer[] {
    return this.kept ?? []
  }

  joined(): Buffer {
    const [first] = this.portions()
    return first !== undefined && first.length === this.bytes ? first : Buffer.concat(this.portions())
  }

  forget(): void {
    this.kept = null
    this.tail = null
    if (this.account === null) return
    this.account.memory.give(this.counted)
    this.counted = 0
    this.account.memory.withdraw(this)
  }
}
