// The memory of everything that waits for rules, counted over all connections of a gate; copies kept for a second try give way.

/** Something kept that can be let go without harm to anything but a second try. */
export type Replaceable = { readonly forget: () => void }

/** Counts bytes against the limit that the policy in force sets at each call. */
export class HeldMemory {
  private usedBytes = 0
  /** Kept copies, oldest first. */
  private readonly copies = new Set<Replaceable>()

  /** Bytes taken and not given back. */
  get bytes(): number {
    return this.usedBytes
  }

  /** Takes bytes. Lets the oldest copies go when that makes room. Returns false, and takes nothing, when there is none. */
  take(bytes: number, limit: number): boolean {
    if (this.usedBytes + bytes > limit && !this.makeRoom(limit - bytes)) return false
    this.usedBytes += bytes
    return true
  }

  /** Gives bytes back. */
  give(bytes: number): void {
    this.usedBytes -= bytes
  }

  /** From now on these bytes may be taken away: they are kept only for a second try. */
  offer(copy: Replaceable): void {
    this.copies.add(copy)
  }

  withdraw(copy: Replaceable): void {
    this.copies.delete(copy)
  }

  private makeRoom(limit: number): boolean {
    for (const copy of this.copies) {
      if (this.usedBytes <= limit) break
      this.copies.delete(copy)
      copy.forget()
    }
    return this.usedBytes <= limit
  }
}
