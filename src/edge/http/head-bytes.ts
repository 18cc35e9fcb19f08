// Bytes received but not parsed yet: usually one chunk as it came, a growing buffer only for clients that send piecemeal.

const FIRST_CAPACITY = 1024

/** Received bytes from `start` to `end` of `bytes`. */
export class HeadBytes {
  bytes: Buffer
  start = 0
  end: number
  private searchedTo = 0
  private own = false

  constructor(chunk: Buffer) {
    this.bytes = chunk
    this.end = chunk.length
  }

  get length(): number {
    return this.end - this.start
  }

  /** Where the search for the end of the head goes on: three bytes back, since its mark has four. */
  searchFrom(): number {
    return Math.max(this.start, this.searchedTo - 3)
  }

  searched(): void {
    this.searchedTo = this.end
  }

  /** Skips one line break before a request line (RFC 9112, section 2.2): old clients send one after a body. */
  skipLineBreak(): void {
    if (this.length >= 2 && this.bytes[this.start] === 13 && this.bytes[this.start + 1] === 10)
      this.start += 2
  }

  append(chunk: Buffer): void {
    const needed = this.length + chunk.length
    if (!this.own || this.start + needed > this.bytes.length) {
      const grown = Buffer.allocUnsafeSlow(Math.max(FIRST_CAPACITY, needed * 2))
      this.bytes.copy(grown, 0, this.start, this.end)
      this.bytes = grown
      this.searchedTo = Math.max(0, this.searchedTo - this.start)
      this.end -= this.start
      this.start = 0
      this.own = true
    }
    chunk.copy(this.bytes, this.end)
    this.end += chunk.length
  }

  takeAll(): Buffer {
    return this.bytes.subarray(this.start, this.end)
  }
}
