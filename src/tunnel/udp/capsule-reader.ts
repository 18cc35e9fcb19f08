// Takes capsules (RFC 9297) out of a byte stream as it comes, however it is cut, with bounded memory. Pure.
import { readVarint, varintSize } from './varint.ts'

/** The largest value of a DATAGRAM capsule: a UDP payload, and before it a context id and an address with its port. */
export const MAX_DATAGRAM_VALUE = 65_535 + 8 + 19
/** The largest value of any other capsule, known or not. */
export const MAX_CONTROL_VALUE = 16_384

const DATAGRAM = 0
const HEADER_BYTES = 16

/** The stream is no stream of capsules, or not of ones that would be sent here. It cannot be read on. */
export class CapsuleError extends Error {
  override readonly name = 'CapsuleError'
}

/** Takes a capsule. The value is a view: of the chunk that was pushed, or of a buffer that nobody else has. */
export type OnCapsule = (type: number, value: Uint8Array) => void

/** Reads one direction of one connection. */
export class CapsuleReader {
  readonly #onCapsule: OnCapsule
  readonly #isKnown: (type: number) => boolean
  /** The first bytes of a capsule whose header has not come completely. */
  readonly #header = new Uint8Array(HEADER_BYTES)
  #headerLength = 0
  /** A capsule whose value has not come completely. */
  #value: Uint8Array | null = null
  #valueLength = 0
  #type = 0
  /** What is still to come of a capsule of an unknown type. */
  #toSkip = 0

  /** @param isKnown types that are not known are passed over (RFC 9297 section 3.3) and never held in memory */
  constructor(onCapsule: OnCapsule, isKnown: (type: number) => boolean) {
    this.#onCapsule = onCapsule
    this.#isKnown = isKnown
  }

  /** Whether the stream is between two capsules, so that it may end. */
  get isBetween(): boolean {
    return this.#headerLength === 0 && this.#value === null && this.#toSkip === 0
  }

  /**
   * Takes the next bytes, and hands on every capsule that they complete.
   * @throws CapsuleError when a capsule is larger than any that would be sent here
   */
  push(chunk: Uint8Array): void {
    let at = this.#continue(chunk)
    while (at < chunk.length) {
      const typeSize = varintSize(chunk[at] ?? 0)
      const lengthAt = at + typeSize
      const valueAt = lengthAt < chunk.length ? lengthAt + varintSize(chunk[lengthAt] ?? 0) : Infinity
      if (valueAt > chunk.length) {
        this.#header.set(chunk.subarray(at))
        this.#headerLength = chunk.length - at
        return
      }
      const type = readVarint(chunk, at)
      const length = checkedLength(type, readVarint(chunk, lengthAt))
      const end = valueAt + length
      if (end <= chunk.length) {
        if (this.#isKnown(type))
          this.#onCapsule(type, new Uint8Array(chunk.buffer, chunk.byteOffset + valueAt, length))
      } else this.#begin(type, length, chunk, valueAt)
      at = end
    }
  }

  /** Completes what an earlier chunk began, and returns where the next capsule begins. */
  #continue(chunk: Uint8Array): number {
    let at = 0
    if (this.#headerLength > 0) {
      at = this.#continueHeader(chunk)
      if (this.#headerLength > 0) return at
    }
    if (this.#toSkip > 0) {
      const skipped = Math.min(this.#toSkip, chunk.length - at)
      this.#toSkip -= skipped
      return at + skipped
    }
    const value = this.#value
    if (value === null) return at
    const taken = Math.min(value.length - this.#valueLength, chunk.length - at)
    value.set(chunk.subarray(at, at + taken), this.#valueLength)
    this.#valueLength += taken
    if (this.#valueLength === value.length) {
      this.#value = null
      this.#onCapsule(this.#type, value)
    }
    return at + taken
  }

  #continueHeader(chunk: Uint8Array): number {
    const header = this.#header
    for (let at = 0; at < chunk.length;) {
      header[this.#headerLength++] = chunk[at++] ?? 0
      const typeSize = varintSize(header[0] ?? 0)
      if (this.#headerLength <= typeSize) continue
      if (this.#headerLength < typeSize + varintSize(header[typeSize] ?? 0)) continue
      const type = readVarint(header, 0)
      const length = checkedLength(type, readVarint(header, typeSize))
      this.#headerLength = 0
      if (length === 0) {
        if (this.#isKnown(type)) this.#onCapsule(type, header.subarray(0, 0))
      } else this.#begin(type, length, header, HEADER_BYTES)
      return at
    }
    return chunk.length
  }

  #begin(type: number, length: number, chunk: Uint8Array, from: number): void {
    const present = Math.max(0, chunk.length - from)
    if (!this.#isKnown(type)) {
      this.#toSkip = length - present
      return
    }
    const value = new Uint8Array(length)
    value.set(chunk.subarray(from))
    this.#value = value
    this.#valueLength = present
    this.#type = type
  }
}

function checkedLength(type: number, length: number): number {
  const most = type === DATAGRAM ? MAX_DATAGRAM_VALUE : MAX_CONTROL_VALUE
  if (length > most)
    throw new CapsuleError(`a capsule of type 0x${type.toString(16)} with ${length} bytes, at most ${most}`)
  return length
}
