// A strict, incremental parser for HTTP/1.1 responses (RFC 9112). What two parsers could read differently is a problem, never a guess.

/** What the parser tells its owner, in order. Buffers are views of the chunk that was given. */
export type ResponseSink = {
  readonly onInterim: (status: number, headers: readonly string[]) => void
  readonly onHead: (head: ParsedHead) => void
  readonly onBody: (chunk: Buffer) => void
  readonly onTrailers: (trailers: readonly string[]) => void
  /** The response is complete. `reusable`: its framing leaves the connection fit for another exchange. */
  readonly onComplete: (reusable: boolean) => void
  /** A 101 was received; every byte after it belongs to the new protocol. */
  readonly onSwitch: (head: ParsedHead, early: Buffer) => void
}

/** A response head as parsed. */
export type ParsedHead = {
  readonly status: number
  readonly statusText: string
  readonly headers: readonly string[]
  /** The valid Content-Length, or null. */
  readonly contentLength: number | null
  /** Idle time that the server announces (Keep-Alive: timeout=N), milliseconds; null: none. */
  readonly keepAliveMs: number | null
}

/** Bounds of what a response head may be. */
export type ParserLimits = { readonly maxHeadBytes: number; readonly maxHeaders: number }

const MAX_INTERIM = 16
const MAX_LINE_BYTES = 1024
const LF = 0x0a
const CR = 0x0d

const IDLE = 0
const HEAD = 1
const LENGTH = 2
const CHUNK_SIZE = 3
const CHUNK_DATA = 4
const CHUNK_END = 5
const TRAILERS = 6
const UNTIL_CLOSE = 7
const STOPPED = 8

const STATUS_LINE = /^HTTP\/1\.([01]) ([1-9][0-9]{2})(?: ([\t -~\x80-\xff]*))?$/
const NAME = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/
const VALUE = /^[\t -~\x80-\xff]*$/
const CHUNK_LINE = /^([0-9A-Fa-f]{1,12})[ \t]*(?:;[\t -~\x80-\xff]*)?$/
const DIGITS = /^[0-9]{1,15}$/

/** One parser per connection; `begin` arms it for the next response. */
export class ResponseParser {
  readonly #sink: ResponseSink
  readonly #limits: ParserLimits
  #state = IDLE
  #held = ''
  #remaining = 0
  #interims = 0
  #toHead = false
  #mayUpgrade = false
  #reusable = false
  #trailers: string[] = []
  #trailerBytes = 0
  #problem: string | null = null

  constructor(sink: ResponseSink, limits: ParserLimits) {
    this.#sink = sink
    this.#limits = limits
  }

  /** Expects a response. `toHead`: the request was HEAD; `mayUpgrade`: it asked for an upgrade. */
  begin(toHead: boolean, mayUpgrade: boolean): void {
    this.#state = HEAD
    this.#held = ''
    this.#interims = 0
    this.#toHead = toHead
    this.#mayUpgrade = mayUpgrade
    this.#problem = null
  }

  /** Takes no more bytes; what follows in the current chunk is ignored. */
  stop(): void {
    this.#state = STOPPED
  }

  /** Reads a chunk. Returns the problem that makes the response invalid, or null. */
  execute(chunk: Buffer): string | null {
    let at = 0
    while (at < chunk.length && this.#problem === null) {
      switch (this.#state) {
        case HEAD:
          at = this.#readHead(chunk, at)
          break
        case LENGTH:
          at = this.#readCounted(chunk, at)
          if (this.#remaining === 0 && this.#state === LENGTH) this.#complete(at === chunk.length)
          break
        case CHUNK_SIZE:
          at = this.#readChunkSize(chunk, at)
          break
        case CHUNK_DATA:
          at = this.#readCounted(chunk, at)
          if (this.#remaining === 0 && this.#state === CHUNK_DATA) this.#state = CHUNK_END
          break
        case CHUNK_END:
          at = this.#readChunkEnd(chunk, at)
          break
        case TRAILERS:
          at = this.#readTrailer(chunk, at)
          break
        case UNTIL_CLOSE:
          this.#sink.onBody(at === 0 ? chunk : chunk.subarray(at))
          return null
        case IDLE:
          return 'bytes that belong to no request'
        default:
          return null
      }
    }
    return this.#problem
  }

  /** The upstream closed its side. Returns the problem when the response was cut off, or null. */
  finish(): string | null {
    switch (this.#state) {
      case UNTIL_CLOSE:
        this.#reusable = false
        this.#complete(true)
        return null
      case IDLE:
      case STOPPED:
        return null
      case HEAD:
        return this.#held === '' && this.#interims === 0
          ? 'closed without an answer'
          : 'closed in the middle of the response head'
      default:
        return 'closed in the middle of the response body'
    }
  }

  /** True until the first byte of the response. */
  get untouched(): boolean {
    return this.#state === HEAD && this.#held === '' && this.#interims === 0
  }

  #complete(nothingFollows: boolean): void {
    this.#state = IDLE
    this.#sink.onComplete(this.#reusable && nothingFollows)
    // What follows a complete response answers no request: the connection is not reused and the bytes are dropped.
    if (!nothingFollows && this.#state === IDLE) this.#state = STOPPED
  }

  #readHead(chunk: Buffer, at: number): number {
    let head: string
    let next: number
    if (this.#held === '') {
      const end = chunk.indexOf('\r\n\r\n', at, 'latin1')
      if (end < 0) return this.#hold(chunk.toString('latin1', at), this.#limits.maxHeadBytes, chunk.length)
      head = chunk.toString('latin1', at, end)
      next = end + 4
    } else {
      const before = this.#held.length
      const joined = this.#held + chunk.toString('latin1', at)
      const end = joined.indexOf('\r\n\r\n', Math.max(0, before - 3))
      if (end < 0) {
        this.#held = ''
        return this.#hold(joined, this.#limits.maxHeadBytes, chunk.length)
      }
      head = joined.slice(0, end)
      next = at + end + 4 - before
      this.#held = ''
    }
    if (head.length > this.#limits.maxHeadBytes) return this.#fail('a response head over the limit', next)
    return this.#takeHead(head, chunk, next)
  }

  #hold(text: string, limit: number, next: number): number {
    this.#held += text
    return this.#held.length > limit ? this.#fail('a response head or line over the limit', next) : next
  }

  #fail(problem: string, next: number): number {
    this.#problem = problem
    this.#state = STOPPED
    return next
  }

  #takeHead(text: string, chunk: Buffer, next: number): number {
    const firstEnd = text.indexOf('\r\n')
    const match = STATUS_LINE.exec(firstEnd < 0 ? text : text.slice(0, firstEnd))
    if (match === null) return this.#fail('an invalid status line', next)
    const headers: string[] = []
    const problem = firstEnd < 0 ? null : readFields(text, firstEnd + 2, headers, this.#limits.maxHeaders)
    if (problem !== null) return this.#fail(problem, next)
    const framing = readFraming(headers, match[1] === '1')
    if (typeof framing === 'string') return this.#fail(framing, next)
    const head: ParsedHead = {
      status: Number(match[2]),
      statusText: match[3] ?? '',
      headers,
      contentLength: match[2] === '204' ? null : framing.contentLength,
      keepAliveMs: framing.keepAliveMs,
    }
    if (head.status < 200) return this.#takeInterim(head, chunk, next)
    this.#reusable = framing.keepAlive
    // A server that sends a body where none may be would answer the next request with it.
    const strayBody = head.status === 204 && (framing.chunked || (framing.contentLength ?? 0) > 0)
    if (this.#toHead || strayBody) this.#reusable = false
    return this.#startBody(head, framing.chunked, next === chunk.length, next)
  }

  #takeInterim(head: ParsedHead, chunk: Buffer, next: number): number {
    if (head.status === 101) {
      if (!this.#mayUpgrade) return this.#fail('a 101 that nobody asked for', next)
      this.#state = STOPPED
      this.#sink.onSwitch(head, chunk.subarray(next))
      return chunk.length
    }
    this.#interims++
    if (this.#interims > MAX_INTERIM) return this.#fail('too many interim responses', next)
    this.#sink.onInterim(head.status, head.headers)
    return next
  }

  #startBody(head: ParsedHead, chunked: boolean, nothingFollows: boolean, next: number): number {
    const { status, contentLength } = head
    const bodiless = this.#toHead || status === 204 || status === 304
    const ends = bodiless || (!chunked && contentLength === 0)
    this.#remaining = contentLength ?? 0
    if (ends) this.#state = LENGTH
    else if (chunked) this.#state = CHUNK_SIZE
    else this.#state = contentLength === null ? UNTIL_CLOSE : LENGTH
    this.#sink.onHead(head)
    if (ends && this.#state === LENGTH) this.#complete(nothingFollows)
    return next
  }

  #readCounted(chunk: Buffer, at: number): number {
    const end = Math.min(chunk.length, at + this.#remaining)
    this.#remaining -= end - at
    this.#sink.onBody(at === 0 && end === chunk.length ? chunk : chunk.subarray(at, end))
    return end
  }

  /** Returns the line without its end, or null when it is not complete yet (the position is then the chunk's end). */
  #takeLine(chunk: Buffer, at: number): { readonly line: string | null; readonly next: number } {
    const end = chunk.indexOf(LF, at)
    if (end < 0)
      return { line: null, next: this.#hold(chunk.toString('latin1', at), MAX_LINE_BYTES, chunk.length) }
    const line = this.#held + chunk.toString('latin1', at, end)
    this.#held = ''
    if (line.length > MAX_LINE_BYTES || !line.endsWith('\r')) {
      return { line: null, next: this.#fail('an invalid line in a chunked body', end + 1) }
    }
    return { line: line.slice(0, -1), next: end + 1 }
  }

  #readChunkSize(chunk: Buffer, at: number): number {
    const { line, next } = this.#takeLine(chunk, at)
    if (line === null) return next
    const size = CHUNK_LINE.exec(line)?.[1]
    if (size === undefined) return this.#fail('an invalid chunk size', next)
    this.#remaining = Number.parseInt(size, 16)
    this.#state = this.#remaining === 0 ? TRAILERS : CHUNK_DATA
    this.#trailers = []
    this.#trailerBytes = 0
    return next
  }

  #readChunkEnd(chunk: Buffer, at: number): number {
    const expected = this.#held === '' ? CR : LF
    if (chunk[at] !== expected) return this.#fail('a chunk longer than its size', at + 1)
    this.#held = expected === CR ? '\r' : ''
    if (expected === LF) this.#state = CHUNK_SIZE
    return at + 1
  }

  #readTrailer(chunk: Buffer, at: number): number {
    const { line, next } = this.#takeLine(chunk, at)
    if (line === null) return next
    if (line !== '') {
      this.#trailerBytes += line.length
      if (this.#trailerBytes > this.#limits.maxHeadBytes) return this.#fail('trailers over the limit', next)
      const problem = readFields(line, 0, this.#trailers, this.#limits.maxHeaders)
      return problem === null ? next : this.#fail(problem, next)
    }
    if (this.#trailers.length > 0) this.#sink.onTrailers(this.#trailers)
    if (this.#state === TRAILERS) this.#complete(next === chunk.length)
    return next
  }
}

/** Reads `name: value` lines from `start` on. Returns a problem or null. */
function readFields(text: string, start: number, into: string[], maxHeaders: number): string | null {
  let at = start
  while (at <= text.length) {
    let end = text.indexOf('\r\n', at)
    if (end < 0) end = text.length
    const colon = text.indexOf(':', at)
    if (colon < 0 || colon >= end) return 'a header line without a colon'
    const name = text.slice(at, colon)
    if (!NAME.test(name)) return 'an invalid header name'
    const value = trimmed(text, colon + 1, end)
    if (!VALUE.test(value)) return 'an invalid header value'
    if (into.push(name, value) > maxHeaders * 2) return 'too many headers'
    at = end + 2
  }
  return null
}

function trimmed(text: string, from: number, to: number): string {
  let start = from
  let end = to
  while (start < end && isBlank(text.charCodeAt(start))) start++
  while (end > start && isBlank(text.charCodeAt(end - 1))) end--
  return text.slice(start, end)
}

function isBlank(code: number): boolean {
  return code === 0x20 || code === 0x09
}

type Framing = {
  readonly contentLength: number | null
  readonly chunked: boolean
  readonly keepAlive: boolean
  readonly keepAliveMs: number | null
}

/** Message framing by RFC 9112 section 6, without its tolerances. Returns a problem as text. */
function readFraming(headers: readonly string[], isHttp11: boolean): Framing | string {
  let contentLength: number | null = null
  let chunked = false
  let keepAlive = isHttp11
  let keepAliveMs: number | null = null
  for (let at = 0; at < headers.length; at += 2) {
    const name = headers[at] ?? ''
    const value = headers[at + 1] ?? ''
    if (name.length === 14 && name.toLowerCase() === 'content-length') {
      if (contentLength !== null || !DIGITS.test(value)) return 'an invalid or repeated Content-Length'
      contentLength = Number(value)
    } else if (name.length === 17 && name.toLowerCase() === 'transfer-encoding') {
      if (chunked || !isHttp11 || value.toLowerCase() !== 'chunked') return 'an invalid Transfer-Encoding'
      chunked = true
    } else if (name.length === 10) {
      const lower = name.toLowerCase()
      if (lower === 'connection') keepAlive = readConnection(value, keepAlive)
      else if (lower === 'keep-alive') keepAliveMs = readKeepAlive(value)
    }
  }
  if (chunked && contentLength !== null) return 'both Content-Length and Transfer-Encoding'
  return { contentLength, chunked, keepAlive, keepAliveMs }
}

function readConnection(value: string, keepAlive: boolean): boolean {
  const lower = value.toLowerCase()
  if (lower === 'keep-alive') return true
  if (lower === 'close') return false
  const options = lower.split(',').map(option => option.trim())
  return options.includes('close') ? false : keepAlive || options.includes('keep-alive')
}

function readKeepAlive(value: string): number | null {
  const seconds = /(?:^|[,\s])timeout\s*=\s*"?([0-9]{1,6})/i.exec(value)?.[1]
  return seconds === undefined ? null : Number(seconds) * 1000
}
