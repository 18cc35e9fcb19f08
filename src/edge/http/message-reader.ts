// PURE: takes the client's WebSocket messages out of its bytes, fragments joined and unmasked, within a limit.
import { FrameHeads, OPCODE, unmask, type FrameHead } from './web-socket-frames.ts'

/** A message as far as it was gathered, still compressed where it was sent so. */
export type RawMessage = {
  readonly kind: 'text' | 'binary'
  readonly compressed: boolean
  readonly payload: Uint8Array
}

/**
 * What the bytes led to. `end` is the index behind it.
 * `control`: a control frame between messages. `overflow`: the message is larger than the limit; what was gathered comes
 * along and the rest is skipped. `skipped`: the end of such a message. `more`: nothing is complete.
 */
export type Reading =
  | { readonly found: 'more' }
  | { readonly found: 'control' | 'skipped'; readonly end: number }
  | { readonly found: 'message' | 'overflow'; readonly end: number; readonly message: RawMessage }
  | { readonly found: 'invalid'; readonly saw: string }

const MORE: Reading = { found: 'more' }
const FIRST_CAPACITY = 1_024
const MAX_CONTROL = 125

/** Reads messages. Everything that RFC 6455 forbids a client is `invalid`: two readers could see different messages in it. */
export class MessageReader {
  private readonly heads = new FrameHeads()
  private readonly maxBytes: number
  private readonly mayCompress: boolean
  private frame: FrameHead | null = null
  private frameRead = 0
  private kind: RawMessage['kind'] | null = null
  private compressed = false
  private gathered: Uint8Array = new Uint8Array(0)
  private used = 0
  private skipping = false
  private closed = false
  /** Bytes on the wire of the message under way, frame heads and control frames within it included. */
  rawBytes = 0

  /**
   * @param maxBytes longest payload of a message, and half the longest message on the wire
   * @param mayCompress permessage-deflate was negotiated
   */
  constructor(maxBytes: number, mayCompress: boolean) {
    this.maxBytes = maxBytes
    this.mayCompress = mayCompress
  }

  /** Nothing was begun that is not complete. */
  get isBetweenMessages(): boolean {
    return this.kind === null && this.isBetweenFrames
  }

  get isBetweenFrames(): boolean {
    return this.frame === null && !this.heads.isWithin
  }

  /** The rest of the message under way is not gathered. */
  get isSkipping(): boolean {
    return this.skipping
  }

  /** Bytes of memory that the gathered payload takes. */
  get memory(): number {
    return this.gathered.length
  }

  /** Gives the message under way up; what was gathered of it. Null: none is under way. */
  skip(): RawMessage | null {
    if (this.kind === null || this.skipping) return null
    this.skipping = true
    return this.takeGathered(this.kind)
  }

  /** Reads on from `from`. Call it again from `end` on until it says `more` or `invalid`. */
  read(bytes: Uint8Array, from: number): Reading {
    let at = from
    while (at < bytes.length) {
      if (this.closed) return invalid('data after the Close frame')
      if (this.frame === null) {
        const head = this.heads.take(bytes, at)
        this.rawBytes += this.heads.at - at
        at = this.heads.at
        if (head === null) break
        const problem = this.problemOf(head)
        if (problem !== null) return invalid(problem)
        this.begin(head)
      }
      const found = this.takePayload(bytes, at)
      if (found.reading !== null) return found.reading
      at = found.at
    }
    if (this.rawBytes > 2 * this.maxBytes + MAX_CONTROL && this.kind !== null && !this.skipping)
      return this.overflow(this.kind, at)
    return MORE
  }

  private takePayload(
    bytes: Uint8Array,
    from: number,
  ): { readonly at: number; readonly reading: Reading | null } {
    const frame = this.frame as FrameHead
    const at = Math.min(bytes.length, from + frame.length - this.frameRead)
    const isControl = frame.opcode >= OPCODE.close
    if (!isControl && !this.skipping) {
      const room = this.maxBytes - this.used
      this.gather(bytes.subarray(from, Math.min(at, from + room)))
      if (at - from > room) {
        this.frameRead += at - from
        this.rawBytes += at - from
        this.endFrame(frame)
        const reading = this.overflow(this.kind as RawMessage['kind'], at)
        // The message may end with this very frame.
        if (this.frame === null && frame.fin) this.endMessage()
        return { at, reading }
      }
    }
    this.frameRead += at - from
    this.rawBytes += at - from
    if (!this.endFrame(frame)) return { at, reading: null }
    if (isControl) {
      if (frame.opcode === OPCODE.close) {
        // What was sent of a message that will never end must not go on unseen.
        if (this.kind !== null && !this.skipping)
          return { at, reading: invalid('a Close frame within a message') }
        this.closed = true
      } else if (this.kind !== null) return { at, reading: null }
      if (this.kind === null) this.rawBytes = 0
      return { at, reading: { found: 'control', end: at } }
    }
    if (!frame.fin || this.kind === null) return { at, reading: null }
    const { kind, skipping } = this
    const message = skipping ? null : this.takeGathered(kind)
    this.endMessage()
    return {
      at,
      reading: message === null ? { found: 'skipped', end: at } : { found: 'message', end: at, message },
    }
  }

  /** Notes the end of the frame when all of it is there. */
  private endFrame(frame: FrameHead): boolean {
    if (this.frameRead < frame.length) return false
    this.frame = null
    this.frameRead = 0
    return true
  }

  private endMessage(): void {
    this.kind = null
    this.skipping = false
    this.rawBytes = 0
  }

  private begin(head: FrameHead): void {
    this.frame = head
    if (head.opcode === OPCODE.text || head.opcode === OPCODE.binary) {
      this.kind = head.opcode === OPCODE.text ? 'text' : 'binary'
      this.compressed = head.rsv1
    }
  }

  private overflow(kind: RawMessage['kind'], end: number): Reading {
    const message = this.takeGathered(kind)
    this.skipping = true
    return { found: 'overflow', end, message }
  }

  private takeGathered(kind: RawMessage['kind']): RawMessage {
    const payload = this.gathered.subarray(0, this.used)
    this.gathered = new Uint8Array(0)
    this.used = 0
    return { kind, compressed: this.compressed, payload }
  }

  private gather(part: Uint8Array): void {
    const needed = this.used + part.length
    if (needed > this.gathered.length) {
      const grown = new Uint8Array(Math.min(this.maxBytes, Math.max(FIRST_CAPACITY, needed * 2)))
      grown.set(this.gathered.subarray(0, this.used))
      this.gathered = grown
    }
    this.gathered.set(part, this.used)
    unmask(this.gathered.subarray(this.used, needed), this.heads.mask, this.frameRead)
    this.used = needed
  }

  private problemOf(head: FrameHead): string | null {
    const { fin, rsv1, rsv23, opcode, masked, length } = head
    if (!masked) return 'a frame without a mask'
    if (rsv23) return 'a reserved bit'
    if (length > Number.MAX_SAFE_INTEGER) return 'an impossible length'
    if (opcode >= OPCODE.close) {
      if (opcode > OPCODE.pong) return `opcode ${opcode}`
      if (!fin) return 'a control frame in fragments'
      if (rsv1) return 'a compressed control frame'
      return length > MAX_CONTROL ? 'a control frame of more than 125 bytes' : null
    }
    if (opcode > OPCODE.binary) return `opcode ${opcode}`
    if (opcode === OPCODE.continuation) {
      if (this.kind === null) return 'a continuation of nothing'
      return rsv1 ? 'a reserved bit in a continuation' : null
    }
    if (this.kind !== null) return 'a new message before the end of the last one'
    return rsv1 && !this.mayCompress ? 'a compressed message without permessage-deflate' : null
  }
}

function invalid(saw: string): Reading {
  return { found: 'invalid', saw }
}
