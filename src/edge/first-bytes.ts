// The bytes of a connection before anything has been decided: collected without copying when one segment is enough.

const NOTHING = Buffer.alloc(0)

/** Collects segments. The caller bounds the length: its parsers answer finally once there is too much. */
export class FirstBytes {
  #buffer: Buffer = NOTHING
  #length = 0
  #isOwn = false

  /** Everything received and not dropped; valid until the next `push`. */
  get bytes(): Buffer {
    return this.#buffer.length === this.#length ? this.#buffer : this.#buffer.subarray(0, this.#length)
  }

  /** Adds a segment. */
  push(chunk: Buffer): void {
    if (this.#length === 0) {
      this.#buffer = chunk
      this.#length = chunk.length
      this.#isOwn = false
      return
    }
    const length = this.#length + chunk.length
    if (!this.#isOwn || length > this.#buffer.length) {
      // Doubling keeps a client that sends single bytes from costing a copy of everything for each of them.
      const grown = Buffer.allocUnsafeSlow(Math.max(1_024, 2 * length))
      this.#buffer.copy(grown, 0, 0, this.#length)
      this.#buffer = grown
      this.#isOwn = true
    }
    chunk.copy(this.#buffer, this.#length)
    this.#length = length
  }

  /** Removes bytes from the start. */
  drop(count: number): void {
    this.#buffer = this.bytes.subarray(count)
    this.#length = this.#buffer.length
    this.#isOwn = false
  }
}
