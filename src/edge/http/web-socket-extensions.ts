// permessage-deflate (RFC 7692): what of an offer is passed on when messages are to be read, what was agreed, and undoing it.
import { constants, inflateRawSync } from 'node:zlib'

/** What client and server agreed about messages of the client. */
export type Deflate = { readonly contextTakeover: boolean }

/**
 * The extensions of a 101, as far as they concern reading the client's messages.
 * @returns null: none; a text: an extension that the gate did not offer or does not understand
 */
export function agreedDeflate(headers: readonly string[]): Deflate | null | string {
  const extensions = extensionsOf(headers)
  if (extensions.length === 0) return null
  const [{ name, parameters } = { name: '', parameters: [] }] = extensions
  if (extensions.length > 1 || name !== DEFLATE) return 'an extension that was not offered'
  let contextTakeover = true
  const seen = new Set<string>()
  for (const parameter of parameters) {
    const [key = '', value] = parameter.split('=').map(part => part.trim().toLowerCase())
    if (seen.has(key)) return 'a parameter of permessage-deflate twice'
    seen.add(key)
    const isFlag = key === 'client_no_context_takeover' || key === 'server_no_context_takeover'
    const isBits = key === 'client_max_window_bits' || key === 'server_max_window_bits'
    if (isFlag ? value !== undefined : !isBits || !WINDOW_BITS.test(value ?? ''))
      return 'parameters of permessage-deflate that do not exist'
    if (key === 'client_no_context_takeover') contextTakeover = false
  }
  return { contextTakeover }
}

const DEFLATE = 'permessage-deflate'
// A quoted value is allowed (RFC 7692, section 5).
const WINDOW_BITS = /^"?(?:[89]|1[0-5])"?$/

/** Headers of an upgrade request without offers of extensions that the gate could not read messages through. */
export function readableOffers(headers: readonly string[]): readonly string[] {
  const offers = extensionsOf(headers)
  if (offers.every(({ name }) => name === DEFLATE)) return headers
  const kept: string[] = []
  for (let at = 0; at < headers.length; at += 2) {
    if (headers[at]?.toLowerCase() !== EXTENSIONS) kept.push(headers[at] as string, headers[at + 1] as string)
  }
  const readable = offers.filter(({ name }) => name === DEFLATE).map(({ text }) => text)
  if (readable.length > 0) kept.push('Sec-WebSocket-Extensions', readable.join(', '))
  return kept
}

const EXTENSIONS = 'sec-websocket-extensions'

type Extension = { readonly name: string; readonly parameters: readonly string[]; readonly text: string }

function extensionsOf(headers: readonly string[]): readonly Extension[] {
  const out: Extension[] = []
  for (let at = 0; at < headers.length; at += 2) {
    if (headers[at]?.toLowerCase() !== EXTENSIONS) continue
    for (const entry of headers[at + 1]?.split(',') ?? []) {
      const text = entry.trim()
      if (text === '') continue
      const [name = '', ...parameters] = text.split(';').map(part => part.trim())
      out.push({ name: name.toLowerCase(), parameters, text })
    }
  }
  return out
}

/** A decompressed message. `limit`: it is longer, the first bytes are here. `broken`: no valid deflate. */
export type Inflated = {
  readonly bytes: Uint8Array
  readonly ended: 'complete' | 'limit' | 'broken'
}

const WINDOW = 32_768
/** What a sender leaves away at the end of each message (RFC 7692, section 7.2.1). */
const TAIL = Buffer.of(0, 0, 255, 255)
/** Blocks marked as the last one of a stream, after which a sender goes on. Real ones send at most one. */
const MAX_STREAMS = 8

/** Decompresses the messages of one client, in their order. */
export class MessageInflater {
  private readonly contextTakeover: boolean
  private window: Buffer = Buffer.alloc(0)
  /** The context is gone: compressed messages can no longer be read. */
  lost = false

  constructor({ contextTakeover }: Deflate) {
    this.contextTakeover = contextTakeover
  }

  /** Bytes of memory that are kept between messages. */
  get memory(): number {
    return this.window.length
  }

  /** A message was passed on without being read: later ones may build on it. */
  skipped(): void {
    this.lost ||= this.contextTakeover
    this.window = Buffer.alloc(0)
  }

  /** Decompresses a message, at most `maxBytes` of it. After anything else than `complete` the context is lost. */
  inflate(payload: Uint8Array, maxBytes: number): Inflated {
    let rest = Buffer.concat([payload, TAIL])
    let window = this.window
    const parts: Buffer[] = []
    let size = 0
    for (let stream = 0; rest.length > 0; stream++) {
      if (stream === MAX_STREAMS) return this.stopped(parts, 'broken')
      const piece = inflatePiece(rest, window, maxBytes - size)
      parts.push(piece.bytes)
      size += piece.bytes.length
      if (piece.ended !== 'complete') return this.stopped(parts, piece.ended)
      window = Buffer.concat([window, piece.bytes]).subarray(-WINDOW)
      if (piece.consumed === 0) return this.stopped(parts, 'broken')
      // All is read, or what is left is the tail after a block that was marked as the last one.
      if (rest.length - piece.consumed <= TAIL.length) break
      rest = rest.subarray(piece.consumed)
    }
    if (this.contextTakeover) this.window = Buffer.from(window)
    const [first] = parts
    return {
      bytes: parts.length === 1 && first !== undefined ? first : Buffer.concat(parts),
      ended: 'complete',
    }
  }

  private stopped(parts: readonly Buffer[], ended: 'limit' | 'broken'): Inflated {
    this.skipped()
    return { bytes: Buffer.concat(parts), ended }
  }
}

type Piece = { readonly bytes: Buffer; readonly consumed: number; readonly ended: Inflated['ended'] }

function inflatePiece(input: Buffer, window: Buffer, maxBytes: number): Piece {
  const whole = attempt(input, window, maxBytes)
  if (whole === 'broken') return { bytes: Buffer.alloc(0), consumed: 0, ended: 'broken' }
  if (whole !== 'limit') return { ...whole, ended: 'complete' }
  // The longest beginning of the input that stays within the limit: zlib gives nothing of what does not.
  let good = 0
  let bytes = Buffer.alloc(0)
  for (let step = 1 << Math.floor(Math.log2(input.length)); step >= 1; step >>= 1) {
    if (good + step >= input.length) continue
    const part = attempt(input.subarray(0, good + step), window, maxBytes)
    if (typeof part === 'string') continue
    good += step
    bytes = part.bytes
  }
  return { bytes, consumed: good, ended: 'limit' }
}

function attempt(
  input: Buffer,
  window: Buffer,
  maxBytes: number,
): { bytes: Buffer<ArrayBuffer>; consumed: number } | 'limit' | 'broken' {
  try {
    const result: unknown = inflateRawSync(input, {
      finishFlush: constants.Z_SYNC_FLUSH,
      maxOutputLength: Math.max(1, maxBytes),
      info: true,
      ...(window.length === 0 ? {} : { dictionary: window }),
    })
    const { buffer, engine } = result as { buffer: Buffer<ArrayBuffer>; engine: { bytesWritten: number } }
    return { bytes: buffer, consumed: engine.bytesWritten }
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE' ? 'limit' : 'broken'
  }
}
