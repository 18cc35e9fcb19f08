// The part of a request body that is kept: for rules to judge before anything is sent, and to send again to another member.

/** A body that was not judged is kept up to here, so that a dead member does not lose a check-in. */
const REPLAY_BYTES = 65_536

/** Later portions below this are copied together: kept one by one, single bytes would cost hundreds of bytes each. */
const SMALL_PORTION = 1024
const FIRST_TAIL_BYTES = 4_096
const MAX_TAIL_BYTES = 65_536

/** Portions kept in the order received: large ones as the views that they are, small ones copied together. */
export class HeldBody {
  /** Rules have not judged yet: everything is kept and nothing is sent. */
  judging: boolean
  bytes = 0
  private kept: Buffer[] | null = []
  /** Where small portions go; the last entry of `kept` is its used part. Null: the last entry is a view. */
  private tail: Buffer | null = null

  constructor(judging: boolean) {
    this.judging = judging
  }

  /** All bytes received so far are here. */
  get complete(): boolean {
    return this.kept !== null
  }

  add(portion: Buffer): void {
    if (this.kept === null) return
    if (!this.judging && this.bytes + portion.length > REPLAY_BYTES) {
      this.forget()
      return
    }
    this.bytes += portion.length
    if (portion.length >= SMALL_PORTION || this.kept.length === 0) {
      this.tail = null
      this.kept.push(portion)
    } else this.addSmall(portion, this.kept)
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
  }
}
