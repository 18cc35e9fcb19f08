// Decodes a request body from the connection's bytes: a counted body, or the chunked coding in its strict form (RFC 9112, section 7.1).
import type { BodyFraming } from '../../forward/forwarder.ts'
import type { HeadProblem } from './request-head.ts'
import { isToken } from './request-head.ts'

/** Takes decoded portions of a body. They are views of the bytes given to `feed`, or small chunks gathered into one. */
export type BodySink = { readonly onBody: (portion: Buffer) => void }

const MAX_SIZE_DIGITS = 12
/** Chunk extensions of a whole body: nobody needs them, and they are free CPU for an attacker (CVE-2024-22019). */
const MAX_EXTENSION_BYTES = 1024
const MAX_TRAILER_BYTES = 4096
const MAX_TRAILERS = 32
/** Chunks below this are handed on together: one for each byte would cost a write, and a chunk upstream, for each byte. */
const SMALL_CHUNK = 1024

type State =
  | 'data'
  | 'size'
  | 'extension'
  | 'size-lf'
  | 'data-cr'
  | 'data-lf'
  | 'trailer-start'
  | 'trailer-name'
  | 'trailer-value'
  | 'trailer-lf'
  | 'end-lf'
  | 'done'

/** State of one body. Trailers are checked and dropped: nothing upstream may come to rely on them. */
export class BodyDecoder {
  /** Decoded bytes so far. */
  received = 0
  problem: HeadProblem | null = null
  readonly #chunked: boolean
  readonly #maxBytes: number
  #state: State
  /** Bytes that remain of the body or of the chunk. */
  #remaining: number
  #sizeDigits = 0
  #extensionBytes = 0
  #trailerBytes = 0
  #trailers = 0
  readonly #gather = new Gather()

  /** @param maxBytes largest decoded body; 0: no limit */
  constructor(framing: BodyFraming, maxBytes: number) {
    this.#chunked = framing.kind === 'chunked'
    this.#remaining = framing.kind === 'length' ? framing.bytes : 0
    this.#state = this.#chunked ? 'size' : this.#remaining > 0 ? 'data' : 'done'
    this.#maxBytes = maxBytes
    if (maxBytes > 0 && this.#remaining > maxBytes) this.problem = tooLarge(this.#remaining, maxBytes)
  }

  /** The body is complete. */
  get done(): boolean {
    return this.#state === 'done'
  }

  /**
   * Decodes bytes from `from` on and hands portions to the sink. Stops at the end of the body or at a problem.
   * @returns index of the first byte that does not belong to the body
   */
  feed(bytes: Buffer, from: number, sink: BodySink): number {
    let at = from
    while (at < bytes.length && this.#state !== 'done' && this.problem === null) {
      at =
        this.#state === 'data' ? this.#takeData(bytes, at, sink) : this.#takeFraming(bytes[at] as number, at)
    }
    this.#gather.handOver(sink)
    return at
  }

  #takeData(bytes: Buffer, at: number, sink: BodySink): number {
    const end = Math.min(bytes.length, at + this.#remaining)
    this.#remaining -= end - at
    this.received += end - at
    if (this.#remaining === 0) this.#state = this.#chunked ? 'data-cr' : 'done'
    const portion = at === 0 && end === bytes.length ? bytes : bytes.subarray(at, end)
    if (this.#chunked && portion.length < SMALL_CHUNK) {
      this.#gather.add(portion, bytes.length - at)
    } else {
      this.#gather.handOver(sink)
      sink.onBody(portion)
    }
    return end
  }

  #takeFraming(byte: number, at: number): number {
    const state = this.#state
    if (state === 'size') this.#takeSize(byte)
    else if (state === 'size-lf') this.#takeSizeEnd(byte)
    else if (state === 'data-cr') this.#expect(byte, 13, 'data-lf', 'chunk is longer than its size')
    else if (state === 'data-lf') this.#expect(byte, 10, 'size', 'chunk ends in a bare CR')
    else if (state === 'extension') this.#takeExtension(byte)
    else this.#takeTrailer(byte, state)
    return at + 1
  }

  #takeSize(byte: number): void {
    const digit = hexDigit(byte)
    if (digit >= 0) {
      if (++this.#sizeDigits > MAX_SIZE_DIGITS) return this.#refuse('chunk size has too many digits')
      this.#remaining = this.#remaining * 16 + digit
      return
    }
    if (this.#sizeDigits === 0) return this.#refuse('chunk without a size')
    if (byte === 13) this.#state = 'size-lf'
    else if (byte === 59) this.#state = 'extension'
    else return this.#refuse('chunk size is not a plain hexadecimal number')
    const total = this.received + this.#remaining
    if (this.#maxBytes > 0 && total > this.#maxBytes) this.problem = tooLarge(total, this.#maxBytes)
  }

  #takeSizeEnd(byte: number): void {
    this.#sizeDigits = 0
    this.#expect(
      byte,
      10,
      this.#remaining > 0 ? 'data' : 'trailer-start',
      'chunk size line ends in a bare CR',
    )
  }

  #takeExtension(byte: number): void {
    if (byte === 13) this.#state = 'size-lf'
    else if (!isText(byte)) this.#refuse('control byte in a chunk extension')
    else if (++this.#extensionBytes > MAX_EXTENSION_BYTES) this.#refuse('chunk extensions are too long')
  }

  #takeTrailer(byte: number, state: State): void {
    if (++this.#trailerBytes > MAX_TRAILER_BYTES) return this.#refuse('trailers are too long')
    if (state === 'trailer-value') {
      if (byte === 13) this.#state = 'trailer-lf'
      else if (!isText(byte)) this.#refuse('control byte in a trailer')
    } else if (state === 'trailer-lf') {
      this.#expect(byte, 10, 'trailer-start', 'trailer ends in a bare CR')
    } else if (state === 'end-lf') {
      this.#expect(byte, 10, 'done', 'body ends in a bare CR')
    } else if (state === 'trailer-start' && byte === 13) {
      this.#state = 'end-lf'
    } else if (state === 'trailer-name' && byte === 58) {
      this.#state = 'trailer-value'
    } else if (!isToken(byte)) {
      this.#refuse('trailer name')
    } else if (state === 'trailer-start') {
      this.#state = 'trailer-name'
      if (++this.#trailers > MAX_TRAILERS) this.#refuse('too many trailers')
    }
  }

  #expect(byte: number, wanted: number, next: State, otherwise: string): void {
    if (byte === wanted) this.#state = next
    else this.#refuse(otherwise)
  }

  #refuse(saw: string): void {
    this.problem = { reason: 'framing-invalid', saw }
  }
}

/** Small portions of one `feed`, made into one. A single one stays the view that it is. */
class Gather {
  #single: Buffer | null = null
  #joined: Buffer | null = null
  #used = 0

  /** @param atMost bytes that can still be added in this `feed`, these included */
  add(portion: Buffer, atMost: number): void {
    if (this.#joined === null) {
      if (this.#single === null) {
        this.#single = portion
        return
      }
      this.#joined = Buffer.allocUnsafeSlow(this.#single.length + atMost)
      this.#used = this.#single.copy(this.#joined)
      this.#single = null
    }
    this.#used += portion.copy(this.#joined, this.#used)
  }

  handOver(sink: BodySink): void {
    const portion = this.#joined?.subarray(0, this.#used) ?? this.#single
    if (portion === null) return
    this.#single = null
    this.#joined = null
    this.#used = 0
    sink.onBody(portion)
  }
}

function tooLarge(bytes: number, max: number): HeadProblem {
  return { reason: 'body-too-large', saw: `${bytes} bytes, limit ${max}` }
}

function isText(byte: number): boolean {
  return (byte >= 32 && byte !== 127) || byte === 9
}

function hexDigit(byte: number): number {
  if (byte >= 48 && byte <= 57) return byte - 48
  const letter = byte | 32
  return letter >= 97 && letter <= 102 ? letter - 87 : -1
}
