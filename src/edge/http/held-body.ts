// The part of a request body that is kept: for rules to judge before anything is sent, and to send again to another member.

/** A body that was not judged is kept up to here, so that a dead member does not lose a check-in. */
const REPLAY_BYTES = 65_536

/** Portions kept in the order received; they are views, nothing is copied. */
export class HeldBody {
  /** Rules have not judged yet: everything is kept and nothing is sent. */
  judging: boolean
  bytes = 0
  private kept: Buffer[] | null = []

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
    this.kept.push(portion)
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
  }
}
