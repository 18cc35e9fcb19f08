// Undoes content codings with zlib, within a limit of output and as leniently as servers do.
import zlib from 'node:zlib'
import type { Inflate } from '../../ips/parts/inspected.ts'

type Result = ReturnType<Inflate>
/** `read`: bytes of input up to the end of the compressed data. */
type Measured = Result & { readonly read: number }
type Decompress = typeof zlib.inflateRawSync

const EMPTY = new Uint8Array(0)
/** Members of a gzip stream that are read one after the other. */
const MAX_MEMBERS = 64
/** Shorter and shorter beginnings of the input are tried for what came before an error or fits the limit. */
const BEGINNINGS = [4, 16, 64, 256, 1024] as const

/**
 * Inflates at once, on this thread: callers bound input and output. Takes raw deflate for `deflate` as servers and browsers do,
 * several gzip members, missing or wrong checksums, and bytes behind the end, which are left out. When the result is not
 * complete, its bytes are a beginning of what it would be.
 */
export const inflate: Inflate = (coding, bytes, maxBytes) => {
  if (bytes.length === 0) return { bytes: EMPTY, ended: 'cut-off' }
  if (maxBytes <= 0) return { bytes: EMPTY, ended: 'limit' }
  switch (coding) {
    case 'gzip':
      return gunzip(bytes, maxBytes)
    case 'br':
      return run(zlib.brotliDecompressSync, zlib.constants.BROTLI_OPERATION_FLUSH, bytes, maxBytes)
    case 'deflate':
      return inflateZlib(bytes, maxBytes)
    case 'deflate-raw':
      return inflateRaw(bytes, maxBytes)
  }
}

function inflateRaw(bytes: Uint8Array, maxBytes: number): Measured {
  return run(zlib.inflateRawSync, zlib.constants.Z_SYNC_FLUSH, bytes, maxBytes)
}

/** RFC 1950, or RFC 1951 without the envelope that it ought to have. */
function inflateZlib(bytes: Uint8Array, maxBytes: number): Result {
  const [cmf = 0, flags = 0] = bytes
  if ((cmf & 0x0f) === 8 && (cmf * 256 + flags) % 31 === 0 && (flags & 0x20) === 0) {
    const result = inflateRaw(bytes.subarray(2), maxBytes)
    if (result.ended !== 'broken' || result.bytes.length > 0) return result
  }
  return inflateRaw(bytes, maxBytes)
}

/** RFC 1952, member by member: zlib fails as a whole when one is broken, while servers have read those before it. */
function gunzip(bytes: Uint8Array, maxBytes: number): Result {
  const parts: Uint8Array[] = []
  let used = 0
  let rest = bytes
  let ended: Result['ended'] = 'limit'
  for (let member = 0; member < MAX_MEMBERS && used < maxBytes; member++) {
    const start = endOfGzipHeader(rest)
    if (start === null) {
      // Behind a whole member, what is no gzip is padding or rubbish, which nobody reads.
      ended = member > 0 ? 'complete' : rest[0] === 0x1f && rest.length < 18 ? 'cut-off' : 'broken'
      break
    }
    const result = inflateRaw(rest.subarray(start), maxBytes - used)
    parts.push(result.bytes)
    used += result.bytes.length
    ended = result.ended
    if (ended !== 'complete') break
    const trailer = start + result.read + 8
    if (trailer > rest.length) {
      ended = 'cut-off'
      break
    }
    rest = rest.subarray(trailer)
    if (rest.length === 0) break
    ended = 'limit'
  }
  return { bytes: parts.length === 1 ? (parts[0] ?? EMPTY) : Buffer.concat(parts), ended }
}

/** Where the compressed data begins; null: it is no gzip header, or not all of one. */
function endOfGzipHeader(bytes: Uint8Array): number | null {
  const [first, second, method, flags = 0] = bytes
  if (first !== 0x1f || second !== 0x8b || method !== 8 || bytes.length < 10) return null
  let at = 10
  if ((flags & 4) !== 0) at += 2 + (bytes[at] ?? 0) + (bytes[at + 1] ?? 0) * 256
  for (const flag of [8, 16]) {
    if ((flags & flag) === 0) continue
    const end = bytes.indexOf(0, at)
    if (end < 0) return null
    at = end + 1
  }
  if ((flags & 2) !== 0) at += 2
  return at < bytes.length ? at : null
}

function run(decompress: Decompress, flush: number, bytes: Uint8Array, maxBytes: number): Measured {
  const whole = attempt(decompress, undefined, bytes, maxBytes)
  if (typeof whole === 'object') return { ...whole, ended: 'complete' }
  if (whole === 'cut-off') {
    const part = attempt(decompress, flush, bytes, maxBytes)
    if (typeof part === 'object') return { ...part, ended: 'cut-off' }
  }
  for (const divisor of BEGINNINGS) {
    const part = attempt(decompress, flush, bytes.subarray(0, Math.floor(bytes.length / divisor)), maxBytes)
    if (typeof part === 'object' && part.bytes.length > 0) return { ...part, ended: whole }
  }
  return { bytes: EMPTY, ended: whole, read: 0 }
}

function attempt(
  decompress: Decompress,
  finishFlush: number | undefined,
  bytes: Uint8Array,
  maxBytes: number,
): Omit<Measured, 'ended'> | 'cut-off' | 'broken' | 'limit' {
  try {
    const options = {
      maxOutputLength: maxBytes,
      info: true,
      ...(finishFlush === undefined ? {} : { finishFlush }),
    }
    const { buffer, engine } = decompress(bytes, options) as unknown as {
      readonly buffer: Buffer
      readonly engine: { readonly bytesWritten: number }
    }
    return { bytes: buffer, read: engine.bytesWritten }
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : ''
    return code === 'ERR_BUFFER_TOO_LARGE' ? 'limit' : code === 'Z_BUF_ERROR' ? 'cut-off' : 'broken'
  }
}
