// WebSocket frames (RFC 6455) as far as the practice server and its agents need them: text, binary, fragments, ping, pong, close.
import { createHash } from 'node:crypto'

/** Frame types. */
export const OPCODE = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 } as const

/** Longest message that is accepted. */
export const MAX_MESSAGE_BYTES = 16 * 2 ** 20

/** The value of Sec-WebSocket-Accept for a client's key (RFC 6455 section 4.2.2). */
export function acceptKey(key: string): string {
  return createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64')
}

/** Encodes one final frame. Clients must mask, servers must not. */
export function encodeFrame(opcode: number, payload: Uint8Array, mask: Uint8Array | null): Buffer {
  const extra = payload.length < 126 ? 0 : payload.length < 65_536 ? 2 : 8
  const head = Buffer.alloc(2 + extra)
  head[0] = 0x80 | opcode
  head[1] = (mask === null ? 0 : 0x80) | (extra === 0 ? payload.length : extra === 2 ? 126 : 127)
  if (extra === 2) head.writeUInt16BE(payload.length, 2)
  if (extra === 8) head.writeBigUInt64BE(BigInt(payload.length), 2)
  if (mask === null) return Buffer.concat([head, payload])
  const body = Buffer.from(payload)
  applyMask(body, mask)
  return Buffer.concat([head, mask, body])
}

/** What a reader tells. */
export type FrameHandlers = {
  readonly message: (payload: Buffer, binary: boolean) => void
  readonly ping: (payload: Buffer) => void
  readonly pong: (payload: Buffer) => void
  readonly close: (code: number) => void
  /** The peer broke the protocol; the code is the close code to answer with. */
  readonly broken: (code: number) => void
}

/** Reads frames from bytes as they come. Feeding stops mattering after `close` or `broken`. */
export function createFrameReader(
  masked: boolean,
  handlers: FrameHandlers,
): { readonly feed: (bytes: Buffer) => void } {
  let pending: Buffer[] = []
  let pendingBytes = 0
  let needed = 2
  let fragments: Buffer[] = []
  let fragmentBytes = 0
  let fragmentOpcode: number | null = null
  let over = false

  function fail(code: number): void {
    over = true
    handlers.broken(code)
  }

  function finish(opcode: number, final: boolean, payload: Buffer): void {
    if (opcode >= 8) {
      if (!final || payload.length > 125) return fail(1002)
      if (opcode === OPCODE.ping) handlers.ping(payload)
      else if (opcode === OPCODE.pong) handlers.pong(payload)
      else if (opcode === OPCODE.close) {
        over = true
        handlers.close(payload.length >= 2 ? payload.readUInt16BE(0) : 1005)
      } else fail(1002)
      return
    }
    if (opcode > 2 || (opcode === OPCODE.continuation) !== (fragmentOpcode !== null)) return fail(1002)
    fragmentOpcode ??= opcode
    fragments.push(payload)
    fragmentBytes += payload.length
    if (fragmentBytes > MAX_MESSAGE_BYTES) return fail(1009)
    if (!final) return
    const whole = fragments.length === 1 ? payload : Buffer.concat(fragments)
    const binary = fragmentOpcode === OPCODE.binary
    fragments = []
    fragmentBytes = 0
    fragmentOpcode = null
    handlers.message(whole, binary)
  }

  /** Takes one frame off the bytes; undefined when it is not complete, `needed` then says how many bytes it takes. */
  function take(bytes: Buffer): Buffer | undefined {
    const [first = 0, second = 0] = bytes
    if ((first & 0x70) !== 0 || (second & 0x80) !== (masked ? 0x80 : 0)) {
      fail(1002)
      return undefined
    }
    const short = second & 127
    const extra = short < 126 ? 0 : short === 126 ? 2 : 8
    const headBytes = 2 + extra + (masked ? 4 : 0)
    needed = headBytes
    if (bytes.length < headBytes) return undefined
    const length =
      extra === 0 ? short : extra === 2 ? bytes.readUInt16BE(2) : Number(bytes.readBigUInt64BE(2))
    if (length > MAX_MESSAGE_BYTES) {
      fail(1009)
      return undefined
    }
    needed = headBytes + length
    if (bytes.length < needed) return undefined
    const payload = Buffer.from(bytes.subarray(headBytes, needed))
    if (masked) applyMask(payload, bytes.subarray(headBytes - 4, headBytes))
    const rest = bytes.subarray(needed)
    needed = 2
    finish(first & 15, (first & 0x80) !== 0, payload)
    return over ? undefined : rest
  }

  return {
    feed(chunk) {
      if (over) return
      pending.push(chunk)
      pendingBytes += chunk.length
      if (pendingBytes < needed) return
      let bytes = pending.length === 1 ? chunk : Buffer.concat(pending)
      while (bytes.length >= 2) {
        const rest = take(bytes)
        if (rest === undefined) break
        bytes = rest
      }
      pending = bytes.length === 0 ? [] : [bytes]
      pendingBytes = bytes.length
    },
  }
}

function applyMask(payload: Buffer, mask: Uint8Array): void {
  for (let at = 0; at < payload.length; at++) payload[at] = (payload[at] ?? 0) ^ (mask[at & 3] ?? 0)
}
