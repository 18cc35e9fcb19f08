// WebSocket frames of a client, made by hand so that they can be wrong, and the messages that a correct server sees in them.
import { deflateRawSync, constants } from 'node:zlib'

/** How a frame differs from a plain masked one. */
export type FrameParts = {
  readonly fin?: boolean
  readonly rsv?: number
  readonly masked?: boolean
  /** Declared length, when it is not that of the payload. */
  readonly length?: number
  /** Bytes of the length field beyond the shortest form: 2 or 8. */
  readonly wide?: 2 | 8
}

const MASK = Buffer.of(0x11, 0xa2, 0x33, 0x7f)

/** One frame. */
export function frame(opcode: number, payload: string | Buffer, parts: FrameParts = {}): Buffer {
  const body = typeof payload === 'string' ? Buffer.from(payload, 'latin1') : Buffer.from(payload)
  const length = parts.length ?? body.length
  const wide = parts.wide ?? (length > 65_535 ? 8 : length > 125 ? 2 : 0)
  const masked = parts.masked ?? true
  const head = Buffer.alloc(2 + wide)
  head[0] = (parts.fin === false ? 0 : 128) | ((parts.rsv ?? 0) << 4) | opcode
  head[1] = (masked ? 128 : 0) | (wide === 8 ? 127 : wide === 2 ? 126 : length)
  if (wide === 2) head.writeUInt16BE(length, 2)
  if (wide === 8) head.writeBigUInt64BE(BigInt(length), 2)
  if (!masked) return Buffer.concat([head, body])
  return Buffer.concat([head, MASK, body.map((byte, at) => byte ^ (MASK[at & 3] ?? 0))])
}

/** A message in fragments, with a ping between each two. */
export function fragments(opcode: number, parts: readonly string[]): Buffer {
  return Buffer.concat(
    parts.flatMap((part, at) => {
      const last = at === parts.length - 1
      const piece = frame(at === 0 ? opcode : 0, part, { fin: last })
      return last ? [piece] : [piece, frame(9, 'ping')]
    }),
  )
}

/** Compresses a message as permessage-deflate does. `context`: what was sent before. */
export function deflated(text: string | Buffer, context = ''): Buffer {
  const bytes = deflateRawSync(text, {
    finishFlush: constants.Z_SYNC_FLUSH,
    ...(context === '' ? {} : { dictionary: Buffer.from(context) }),
  })
  return bytes.subarray(0, -4)
}
