// The head of a request: strict HTTP/1.x grammar (RFC 9112) from bytes to a head, or to the reason why it is refused.
import type { BodyFraming } from '../../forward/forwarder.ts'
import type { Reason } from '../../policy/reasons.ts'
import type { Limits } from '../../policy/snapshot.ts'

/** A request head that only one reading exists for. */
export type RequestHead = {
  readonly method: string
  /** Origin-form, or `*` for OPTIONS. An absolute-form target is reduced to its origin-form. */
  readonly target: string
  /** Minor version: 0 for HTTP/1.0, 1 for HTTP/1.1. */
  readonly minor: number
  /** Flat name, value list in the order received; names keep their spelling, values are trimmed (latin1). */
  readonly headers: readonly string[]
  /** Host field, lower-case, with the port when one was sent. */
  readonly hostField: string
  /** Host, lower-case, without port and trailing dot. */
  readonly host: string
  readonly framing: BodyFraming
  readonly keepAlive: boolean
  readonly expectContinue: boolean
  /** Asks for a WebSocket: `Upgrade` names websocket. Whether the handshake is valid is decided elsewhere. */
  readonly webSocket: boolean
  /** `Connection` names upgrade. */
  readonly connectionUpgrade: boolean
  /** Bytes of the head. */
  readonly bytes: number
}

/** Why bytes are not a head that may be served. */
export type HeadProblem = { readonly reason: Reason; readonly saw: string }

/** The limits that concern heads. */
export type HeadLimits = Pick<Limits, 'headBytes' | 'headerCount' | 'targetBytes'>

const END_OF_HEAD = Buffer.from('\r\n\r\n', 'latin1')

/** Index just after the empty line that ends a head within `from` and `to`; -1: not there yet. */
export function findHeadEnd(bytes: Buffer, from: number, to: number): number {
  const at = bytes.indexOf(END_OF_HEAD, from)
  return at < 0 || at + 4 > to ? -1 : at + 4
}

/**
 * Looks at a head that is not complete yet, so that what can never become one is refused at once rather than timed out:
 * a line that ends in a bare LF, a first byte that starts no method, or too many bytes.
 */
export function problemOfPartialHead(
  bytes: Buffer,
  from: number,
  to: number,
  limits: HeadLimits,
): HeadProblem | undefined {
  const first = bytes[from] ?? 0
  if (to > from && !isToken(first)) return invalid('first byte starts no method')
  for (let at = bytes.indexOf(10, from); at >= 0 && at < to; at = bytes.indexOf(10, at + 1)) {
    if (at === from || bytes[at - 1] !== 13) return framing('line ends in a bare LF')
  }
  if (to - from >= limits.headBytes) return tooLarge(`more than ${limits.headBytes} bytes`)
  return undefined
}

const TOKEN = tokenTable()

/** Whether a byte may stand in a token (RFC 9110, section 5.6.2). */
export function isToken(code: number): boolean {
  return TOKEN[code] === 1
}

/** Whether a problem rather than a head came out. */
export function isProblem(outcome: object): outcome is HeadProblem {
  return 'reason' in outcome
}

/** Refused here whatever the policy says: CONNECT and TRACE make no sense behind a gate, PRI is HTTP/2. */
const NEVER: ReadonlySet<string> = new Set(['CONNECT', 'TRACE', 'TRACK', 'PRI'])
const MAX_METHOD = 24

/**
 * Parses a complete head.
 * @param text the head as latin1, from the first byte of the method to the last byte of the empty line
 */
export function parseRequestHead(text: string, limits: HeadLimits): RequestHead | HeadProblem {
  const length = text.length
  if (length > limits.headBytes) return tooLarge(`${length} bytes`)

  let at = 0
  while (isToken(text.charCodeAt(at))) at++
  if (at === 0 || at > MAX_METHOD || text.charCodeAt(at) !== 32) return invalid('request line')
  const method = text.slice(0, at)
  const targetStart = ++at
  let code = text.charCodeAt(at)
  while (code > 32 && code < 127) code = text.charCodeAt(++at)
  if (at - targetStart > limits.targetBytes) return tooLarge(`target of ${at - targetStart} bytes`)
  if (code !== 32 || at === targetStart) {
    return code > 126 ? { reason: 'target-invalid', saw: 'bytes outside ASCII' } : invalid('request line')
  }
  const rawTarget = text.slice(targetStart, at)
  if (!text.startsWith('HTTP/1.', at + 1)) return invalid('protocol version')
  const minor = text.charCodeAt(at + 8) - 48
  if (minor !== 0 && minor !== 1) return invalid('protocol version')
  at += 9
  if (text.charCodeAt(at) !== 13 || text.charCodeAt(at + 1) !== 10) {
    return endsInBareByte(text.charCodeAt(at))
      ? framing('request line ends in a bare CR or LF')
      : invalid('request line')
  }
  at += 2
  if (NEVER.has(method)) return { reason: 'method-refused', saw: method }

  const headers: string[] = []
  const fields: Fields = newFields()
  while (at < length - 2) {
    const nameStart = at
    while (isToken((code = text.charCodeAt(at)))) at++
    if (code !== 58 || at === nameStart) return badName(code, at === nameStart)
    const nameEnd = at
    at++
    while ((code = text.charCodeAt(at)) === 32 || code === 9) at++
    const valueStart = at
    while ((code >= 32 && code !== 127) || code === 9) code = text.charCodeAt(++at)
    if (code !== 13 || text.charCodeAt(at + 1) !== 10) {
      return endsInBareByte(code)
        ? framing('header line holds a bare CR or LF')
        : invalid('control byte in a header value')
    }
    let valueEnd = at
    while (valueEnd > valueStart && isBlank(text.charCodeAt(valueEnd - 1))) valueEnd--
    at += 2
    const name = text.slice(nameStart, nameEnd)
    const value = text.slice(valueStart, valueEnd)
    if (headers.push(name, value) > limits.headerCount * 2)
      return tooLarge(`more than ${limits.headerCount} headers`)
    const problem = noteField(fields, name, value)
    if (problem !== undefined) return problem
  }
  return assemble(method, rawTarget, minor, headers, fields, length)
}

/** Header fields that decide about framing, routing and the connection. */
type Fields = {
  host: string | undefined
  length: number
  chunked: boolean
  close: boolean
  connectionUpgrade: boolean
  webSocket: boolean
  expectContinue: boolean
}

function newFields(): Fields {
  return {
    host: undefined,
    length: -1,
    chunked: false,
    close: false,
    connectionUpgrade: false,
    webSocket: false,
    expectContinue: false,
  }
}

// The length of the name is looked at first: most headers are none of these and cost one comparison.
function noteField(fields: Fields, name: string, value: string): HeadProblem | undefined {
  switch (name.length) {
    case 4:
      if (name === 'Host' || name.toLowerCase() === 'host') {
        if (fields.host !== undefined) return framing('more than one Host')
        fields.host = value
      }
      return undefined
    case 6:
      if (name.toLowerCase() === 'expect') {
        if (value.toLowerCase() !== '100-continue') return invalid('Expect that nobody knows')
        fields.expectContinue = true
      }
      return undefined
    case 7:
      if (name.toLowerCase() === 'upgrade' && names(value, 'websocket')) fields.webSocket = true
      return undefined
    case 10:
      if (name === 'Connection' || name.toLowerCase() === 'connection') noteConnection(fields, value)
      return undefined
    case 14:
      return name.toLowerCase() === 'content-length' ? noteLength(fields, value) : undefined
    case 17:
      if (name.toLowerCase() === 'transfer-encoding') {
        if (fields.chunked) return framing('more than one Transfer-Encoding')
        if (value.toLowerCase() !== 'chunked') return framing('Transfer-Encoding other than chunked')
        fields.chunked = true
      }
      return undefined
    default:
      return undefined
  }
}

function noteConnection(fields: Fields, value: string): void {
  if (value === 'keep-alive' || value === 'Keep-Alive') return
  if (names(value, 'close')) fields.close = true
  if (names(value, 'upgrade')) fields.connectionUpgrade = true
}

// 15 digits stay below 2^53, so that the number is exact.
const LENGTH = /^[0-9]{1,15}$/

function noteLength(fields: Fields, value: string): HeadProblem | undefined {
  if (fields.length >= 0) return framing('more than one Content-Length')
  if (!LENGTH.test(value)) return framing('Content-Length is not a plain number')
  fields.length = Number(value)
  return undefined
}

/** Whether a comma list holds a name, ignoring case (RFC 9110, section 5.6.1). */
export function names(list: string, name: string): boolean {
  const folded = list.toLowerCase()
  if (folded === name) return true
  if (!folded.includes(name)) return false
  return folded.split(',').some(entry => entry.trim() === name)
}

function assemble(
  method: string,
  rawTarget: string,
  minor: number,
  headers: readonly string[],
  fields: Fields,
  bytes: number,
): RequestHead | HeadProblem {
  if (fields.chunked) {
    if (fields.length >= 0) return framing('Content-Length and Transfer-Encoding together')
    if (minor === 0) return framing('Transfer-Encoding in HTTP/1.0')
  }
  if (fields.host === undefined) return invalid('no Host')
  const hostField = fields.host.toLowerCase()
  const host = hostOf(hostField)
  if (host === undefined) return invalid('Host is not a host name')
  const target = rawTarget.charCodeAt(0) === 47 ? rawTarget : reduceTarget(method, rawTarget, hostField)
  if (typeof target !== 'string') return target
  if (target.includes('#')) return { reason: 'target-invalid', saw: 'fragment in the target' }
  return {
    method,
    target,
    minor,
    headers,
    hostField,
    host,
    framing: fields.chunked
      ? CHUNKED
      : fields.length > 0
        ? { kind: 'length', bytes: fields.length }
        : fields.length === 0
          ? EMPTY
          : NO_BODY,
    keepAlive: minor === 1 && !fields.close,
    expectContinue: fields.expectContinue && minor === 1,
    webSocket: fields.webSocket,
    connectionUpgrade: fields.connectionUpgrade,
    bytes,
  }
}

const NO_BODY: BodyFraming = { kind: 'none' }
// `Content-Length: 0` is kept: some servers demand a length on POST.
const EMPTY: BodyFraming = { kind: 'length', bytes: 0 }
const CHUNKED: BodyFraming = { kind: 'chunked' }

// RFC 9112, section 3.2: absolute-form names the same host as Host does; `*` is for OPTIONS; authority-form is for CONNECT.
function reduceTarget(method: string, raw: string, hostField: string): string | HeadProblem {
  if (raw === '*') return method === 'OPTIONS' ? raw : { reason: 'target-invalid', saw: '* without OPTIONS' }
  const folded = raw.slice(0, 8).toLowerCase()
  const start = folded.startsWith('https://') ? 8 : folded.startsWith('http://') ? 7 : -1
  if (start < 0) return { reason: 'target-invalid', saw: 'neither a path nor a URL' }
  const slash = raw.indexOf('/', start)
  const authority = slash < 0 ? raw.slice(start) : raw.slice(start, slash)
  if (authority.toLowerCase() !== hostField) return framing('target and Host name different hosts')
  if (slash < 0) return method === 'OPTIONS' ? { reason: 'target-invalid', saw: 'URL without a path' } : '/'
  return raw.slice(slash)
}

const HOST =
  /^(?:[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?)*\.?|\[[0-9a-f:.]{2,45}\])(?::([0-9]{1,5}))?$/

function hostOf(field: string): string | undefined {
  if (field.length > 261) return undefined
  const match = HOST.exec(field)
  if (match === null) return undefined
  const port = match[1]
  const bare = port === undefined ? field : field.slice(0, -port.length - 1)
  return bare.endsWith('.') ? bare.slice(0, -1) : bare
}

function badName(code: number, empty: boolean): HeadProblem {
  if (empty && isBlank(code)) return framing('folded header line')
  if (isBlank(code)) return framing('space before the colon of a header')
  if (endsInBareByte(code)) return framing('header line without a colon')
  return invalid('header name')
}

function isBlank(code: number): boolean {
  return code === 32 || code === 9
}

function endsInBareByte(code: number): boolean {
  return code === 13 || code === 10
}

function invalid(saw: string): HeadProblem {
  return { reason: 'request-invalid', saw }
}

function framing(saw: string): HeadProblem {
  return { reason: 'framing-invalid', saw }
}

function tooLarge(saw: string): HeadProblem {
  return { reason: 'head-too-large', saw }
}

function tokenTable(): Uint8Array {
  const table = new Uint8Array(256)
  for (const char of "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz") {
    table[char.charCodeAt(0)] = 1
  }
  return table
}
