// PURE: the frames of WebSocket (RFC 6455, section 5): heads read from any split of the bytes, unmasking, Close frames.

/** The head of a frame. */
export type FrameHead = {
  readonly fin: boolean
  /** The first reserved bit: a compressed message, where that was negotiated. */
  readonly rsv1: boolean
  /** The other two reserved bits, which nothing known uses. */
  readonly rsv23: boolean
  readonly opcode: number
  readonly masked: boolean
  /** Bytes of payload; not exact from 2^53 on. */
  readonly length: number
}

/** Opcodes (section 5.2). */
export const OPCODE = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 } as const

/** Close codes that the gate sends (section 7.4). */
export const CLOSE = { goingAway: 1001, protocol: 1002, policy: 1008, tooBig: 1009, tryLater: 1013 } as const

const MAX_HEAD = 14

/** Reads heads of frames, one after the other; the payload between them is for the caller. */
export class FrameHeads {
  /** The mask of the last head; only valid when it was masked. */
  readonly mask = new Uint8Array(4)
  private readonly bytes = new Uint8Array(MAX_HEAD)
  private have = 0
  /** Where the last `take` stopped reading. */
  at = 0

  /** A part of a head was taken. */
  get isWithin(): boolean {
    return this.have > 0
  }

  /** Takes bytes of a head from `from` on. Returns the head once it is complete; `at` is then the start of its payload. */
  take(chunk: Uint8Array, from: number): FrameHead | null {
    let at = from
    let need = this.need()
    while (at < chunk.length && this.have < need) {
      this.bytes[this.have++] = chunk[at++] as number
      if (this.have === 2) need = this.need()
    }
    this.at = at
    if (this.have < need) return null
    this.have = 0
    return this.read(need)
  }

  private need(): number {
    if (this.have < 2) return 2
    const second = this.bytes[1] as number
    const short = second & 127
    return 2 + (short === 127 ? 8 : short === 126 ? 2 : 0) + (second >= 128 ? 4 : 0)
  }

  private read(end: number): FrameHead {
    const first = this.bytes[0] as number
    const second = this.bytes[1] as number
    const masked = second >= 128
    const lengthEnd = masked ? end - 4 : end
    let length = second & 127
    if (length > 125) {
      length = 0
      for (let at = 2; at < lengthEnd; at++) length = length * 256 + (this.bytes[at] as number)
    }
    if (masked) this.mask.set(this.bytes.subarray(lengthEnd, end))
    return {
      fin: first >= 128,
      rsv1: (first & 64) !== 0,
      rsv23: (first & 48) !== 0,
      opcode: first & 15,
      masked,
      length,
    }
  }
}

/** Follows frames only to know where they end: whether something may be said in between. */
export class FrameBoundary {
  private readonly heads = new FrameHeads()
  private remaining = 0

  /** No frame is under way. */
  get isBetween(): boolean {
    return this.remaining === 0 && !this.heads.isWithin
  }

  /**
   * Follows bytes from `from` on.
   * @param stop whether to stop at the first end of a frame
   * @returns where it stopped: the end of the bytes, or behind a frame
   */
  follow(chunk: Uint8Array, from = 0, stop = false): number {
    let at = from
    while (at < chunk.length) {
      if (this.remaining === 0) {
        const head = this.heads.take(chunk, at)
        at = this.heads.at
        if (head !== null) this.remaining = head.length
      } else {
        const step = Math.min(this.remaining, chunk.length - at)
        this.remaining -= step
        at += step
      }
      if (stop && this.isBetween) return at
    }
    return at
  }
}

/** Undoes the mask in place. `offset` is the position of the first byte within the payload of its frame. */
export function unmask(bytes: Uint8Array, mask: Uint8Array, offset: number): void {
  for (let at = 0; at < bytes.length; at++) {
    bytes[at] = (bytes[at] as number) ^ (mask[(offset + at) & 3] as number)
  }
}

/**
 * A Close frame.
 * @param reason at most 123 bytes of ASCII; longer text is cut
 * @param mask four bytes for a frame to a server; null for one to a client
 */
export function closeFrame(code: number, reason: string, mask: Uint8Array | null): Buffer {
  const text = Buffer.from(reason, 'latin1').subarray(0, 123)
  const payload = Buffer.concat([Buffer.of(code >> 8, code & 255), text])
  const head = Buffer.of(0x80 | OPCODE.close, payload.length | (mask === null ? 0 : 128))
  if (mask === null) return Buffer.concat([head, payload])
  unmask(payload, mask, 0)
  return Buffer.concat([head, mask, payload])
}
