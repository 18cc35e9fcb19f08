// PURE parser of the first TLS flight: finds the ClientHello across TCP segments and TLS records, bounded, never throws.
import type { HelloFacts } from '../policy/facts.ts'
import { tlsRank, tlsVersionFromCode, type TlsVersion } from '../net/tls-version.ts'

/** The parts of a ClientHello that decisions, alerts and JA4 need; codes as sent, GREASE included. */
export type ParsedHello = {
  /** `client_version` of the message; the highest version when there is no supported_versions extension. */
  readonly legacyVersion: number
  readonly cipherSuites: readonly number[]
  /** Extension types in the order sent. */
  readonly extensions: readonly number[]
  /** Lower-case, without a trailing dot; null when none was sent. */
  readonly serverName: string | null
  /** Codes of supported_versions; null when the extension is absent. */
  readonly supportedVersions: readonly number[] | null
  /** Protocol names, one character per byte. */
  readonly alpn: readonly string[]
  readonly signatureAlgorithms: readonly number[]
  /** True for the SSL 2.0 framing that very old clients use to offer newer versions. */
  readonly sslv2Framing: boolean
}

/** What the bytes so far are. Every answer but `incomplete` is final: more bytes never change it. */
export type HelloRead =
  | { readonly kind: 'incomplete' }
  | { readonly kind: 'hello'; readonly hello: ParsedHello }
  | { readonly kind: 'invalid'; readonly problem: string }
  | { readonly kind: 'too-large'; readonly problem: string }
  /** Not TLS at all. */
  | { readonly kind: 'plaintext' }

/** More records than any real client uses for one ClientHello. */
const MAX_HELLO_RECORDS = 64

const INCOMPLETE: HelloRead = { kind: 'incomplete' }
const MAX_RECORD_BYTES = 16_384 + 256
const RECORD_HEADER_BYTES = 5
const MESSAGE_HEADER_BYTES = 4

const EXTENSION = { serverName: 0, signatureAlgorithms: 13, alpn: 16, supportedVersions: 43 } as const

/**
 * Reads a ClientHello from the start of a byte stream (RFC 8446 section 4.1.2, RFC 5246 section 7.4.1.2).
 * @param bytes everything received so far; not modified, not kept
 * @param maxBytes longest accepted ClientHello, record headers not counted
 */
export function readClientHello(bytes: Uint8Array, maxBytes: number): HelloRead {
  const first = bytes[0]
  if (first === undefined) return INCOMPLETE
  if ((first & 0x80) !== 0) return readSslv2(bytes, maxBytes)
  if (first === 20 || first === 21 || first === 23) return invalid('the first TLS record is not a handshake')
  if (first !== 22) return { kind: 'plaintext' }
  return readRecords(bytes, maxBytes)
}

/** Whether a code is one of the reserved GREASE values (RFC 8701). */
export function isGrease(code: number): boolean {
  return (code & 0x0f0f) === 0x0a0a && code >> 8 === (code & 0xff)
}

/** The versions that a hello offers and the gate knows, strongest first. Without supported_versions only the highest is known. */
export function offeredVersions(hello: ParsedHello): readonly TlsVersion[] {
  // Without the extension a server may not go above TLS 1.2, whatever the field says (RFC 8446 section 4.2.1).
  const codes = hello.supportedVersions ?? [Math.min(hello.legacyVersion, 0x0303)]
  const found = new Set<TlsVersion>()
  for (const code of codes) {
    const version = tlsVersionFromCode(code)
    if (version !== undefined) found.add(version)
  }
  return [...found].sort((a, b) => tlsRank(b) - tlsRank(a))
}

function readRecords(bytes: Uint8Array, maxBytes: number): HelloRead {
  const parts: Uint8Array[] = []
  let have = 0
  let want = -1
  let offset = 0
  for (let records = 1; ; records++) {
    if (records > MAX_HELLO_RECORDS) return tooLarge(`more than ${MAX_HELLO_RECORDS} TLS records`)
    const problem = recordProblem(bytes, offset)
    if (problem !== null) return invalid(problem)
    if (bytes.length < offset + RECORD_HEADER_BYTES) return INCOMPLETE
    const length = u16(bytes, offset + 3)
    const start = offset + RECORD_HEADER_BYTES
    const part = bytes.subarray(start, Math.min(start + length, bytes.length))
    parts.push(part)
    have += part.length
    if (want < 0) {
      const head = messageHead(parts)
      if (head[0] !== undefined && head[0] !== 1) return invalid('the first TLS message is not a ClientHello')
      if (head.length === MESSAGE_HEADER_BYTES) {
        want = MESSAGE_HEADER_BYTES + (u16(head, 1) << 8) + (head[3] ?? 0)
        if (want > maxBytes) return tooLarge(`a ClientHello of ${want} bytes`)
      }
    }
    if (want >= 0 && have >= want) return parseBody(gather(parts, want))
    if (part.length < length) return INCOMPLETE
    offset = start + length
  }
}

function recordProblem(bytes: Uint8Array, offset: number): string | null {
  if (bytes.length > offset && bytes[offset] !== 22) return 'another TLS record inside the ClientHello'
  if (bytes.length > offset + 1 && bytes[offset + 1] !== 3) return 'an unknown TLS record version'
  if (bytes.length < offset + RECORD_HEADER_BYTES) return null
  const length = u16(bytes, offset + 3)
  if (length === 0) return 'an empty TLS record'
  return length > MAX_RECORD_BYTES ? 'a TLS record that is too long' : null
}

/** Up to the first four message bytes, which may lie in four records. */
function messageHead(parts: readonly Uint8Array[]): Uint8Array {
  const only = parts[0]
  if (parts.length === 1 && only !== undefined) return only.subarray(0, MESSAGE_HEADER_BYTES)
  let have = 0
  for (const part of parts) have += part.length
  return gather(parts, Math.min(MESSAGE_HEADER_BYTES, have))
}

function gather(parts: readonly Uint8Array[], length: number): Uint8Array {
  const only = parts[0]
  if (only !== undefined && only.length >= length) return only.subarray(0, length)
  const whole = new Uint8Array(length)
  let at = 0
  for (const part of parts) {
    const piece = part.subarray(0, length - at)
    whole.set(piece, at)
    at += piece.length
  }
  return whole
}

function parseBody(message: Uint8Array): HelloRead {
  let at = MESSAGE_HEADER_BYTES
  const need = (count: number): boolean => at + count <= message.length
  if (!need(35)) return invalid('a ClientHello that ends in its fixed part')
  const legacyVersion = u16(message, at)
  const sessionIdBytes = message[at + 34] ?? 0
  at += 35 + sessionIdBytes
  if (sessionIdBytes > 32 || !need(2)) return invalid('a malformed session id')
  const cipherBytes = u16(message, at)
  at += 2
  if (cipherBytes < 2 || cipherBytes % 2 !== 0 || !need(cipherBytes + 1))
    return invalid('a malformed list of cipher suites')
  const cipherSuites = list16(message, at, cipherBytes)
  at += cipherBytes
  const compressionBytes = message[at] ?? 0
  at += 1 + compressionBytes
  if (compressionBytes < 1 || at > message.length) return invalid('a malformed list of compression methods')

  const hello = {
    legacyVersion,
    cipherSuites,
    extensions: [] as number[],
    serverName: null as string | null,
    supportedVersions: null as readonly number[] | null,
    alpn: [] as readonly string[],
    signatureAlgorithms: [] as readonly number[],
    sslv2Framing: false,
  }
  if (at === message.length) return { kind: 'hello', hello }
  if (!need(2) || u16(message, at) !== message.length - at - 2)
    return invalid('a malformed list of extensions')
  at += 2
  const seen = new Set<number>()
  while (at < message.length) {
    if (!need(4)) return invalid('a malformed extension')
    const type = u16(message, at)
    const length = u16(message, at + 2)
    at += 4
    if (!need(length)) return invalid('a malformed extension')
    const body = message.subarray(at, at + length)
    at += length
    hello.extensions.push(type)
    if (!isRead(type)) continue
    // Two of these could be read differently by two parsers: by this one and by the TLS library behind it.
    if (seen.has(type)) return invalid('an extension that is there twice')
    seen.add(type)
    const problem = readExtension(hello, type, body)
    if (problem !== null) return invalid(problem)
  }
  return { kind: 'hello', hello }
}

function isRead(type: number): boolean {
  return (
    type === EXTENSION.serverName ||
    type === EXTENSION.signatureAlgorithms ||
    type === EXTENSION.alpn ||
    type === EXTENSION.supportedVersions
  )
}

type HelloDraft = {
  serverName: string | null
  supportedVersions: readonly number[] | null
  alpn: readonly string[]
  signatureAlgorithms: readonly number[]
}

function readExtension(hello: HelloDraft, type: number, body: Uint8Array): string | null {
  if (type === EXTENSION.serverName) {
    const name = readServerName(body)
    if (name === undefined) return 'a malformed server name'
    hello.serverName = name
  } else if (type === EXTENSION.supportedVersions) {
    const length = body[0] ?? 0
    if (length < 2 || length % 2 !== 0 || body.length !== length + 1) return 'a malformed list of versions'
    hello.supportedVersions = list16(body, 1, length)
  } else if (type === EXTENSION.alpn) {
    const names = readAlpn(body)
    if (names === undefined) return 'a malformed list of application protocols'
    hello.alpn = names
  } else {
    if (body.length < 4 || body.length % 2 !== 0 || u16(body, 0) !== body.length - 2)
      return 'a malformed list of signature algorithms'
    hello.signatureAlgorithms = list16(body, 2, body.length - 2)
  }
  return null
}

/** RFC 6066 section 3: exactly one host_name entry is what every client sends and OpenSSL accepts. */
function readServerName(body: Uint8Array): string | undefined {
  if (body.length < 6 || u16(body, 0) !== body.length - 2 || body[2] !== 0) return undefined
  if (u16(body, 3) !== body.length - 5) return undefined
  let end = body.length
  if (body[end - 1] === 0x2e) end--
  if (end - 5 < 1 || end - 5 > 255) return undefined
  let name = ''
  for (let at = 5; at < end; at++) {
    const code = body[at] ?? 0
    const isUpper = code >= 0x41 && code <= 0x5a
    const isPlain =
      (code >= 0x61 && code <= 0x7a) || (code >= 0x30 && code <= 0x39) || isNamePunctuation(code)
    if (!isUpper && !isPlain) return undefined
    name += String.fromCharCode(isUpper ? code + 32 : code)
  }
  return name
}

/** Hyphen, dot, underscore; colon for clients that send an IPv6 address although they must not. */
function isNamePunctuation(code: number): boolean {
  return code === 0x2d || code === 0x2e || code === 0x5f || code === 0x3a
}

function readAlpn(body: Uint8Array): readonly string[] | undefined {
  if (body.length < 4 || u16(body, 0) !== body.length - 2) return undefined
  const names: string[] = []
  for (let at = 2; at < body.length;) {
    const length = body[at] ?? 0
    if (length === 0 || at + 1 + length > body.length) return undefined
    names.push(String.fromCharCode(...body.subarray(at + 1, at + 1 + length)))
    at += 1 + length
  }
  return names
}

/** SSL 2.0 framing of a ClientHello (RFC 5246 appendix E.2): what Windows XP clients send with "use SSL 2.0" ticked. */
function readSslv2(bytes: Uint8Array, maxBytes: number): HelloRead {
  if (bytes.length < 3) return INCOMPLETE
  if (bytes[2] !== 1) return { kind: 'plaintext' }
  if (bytes.length < 4) return INCOMPLETE
  if (bytes[3] !== 3 && bytes[3] !== 0) return { kind: 'plaintext' }
  if (bytes.length < 11) return INCOMPLETE
  const length = u16(bytes, 0) & 0x7fff
  const cipherBytes = u16(bytes, 5)
  const sessionBytes = u16(bytes, 7)
  const challengeBytes = u16(bytes, 9)
  const isConsistent = length === 9 + cipherBytes + sessionBytes + challengeBytes
  if (!isConsistent || cipherBytes === 0 || cipherBytes % 3 !== 0 || challengeBytes < 16)
    return invalid('a malformed SSL 2.0 ClientHello')
  if (length > maxBytes) return tooLarge(`an SSL 2.0 ClientHello of ${length} bytes`)
  if (bytes.length < length + 2) return INCOMPLETE
  const cipherSuites: number[] = []
  for (let at = 11; at < 11 + cipherBytes; at += 3) {
    if (bytes[at] === 0) cipherSuites.push(u16(bytes, at + 1))
  }
  return {
    kind: 'hello',
    hello: {
      legacyVersion: u16(bytes, 3),
      cipherSuites,
      extensions: [],
      serverName: null,
      supportedVersions: null,
      alpn: [],
      signatureAlgorithms: [],
      sslv2Framing: true,
    },
  }
}

function list16(bytes: Uint8Array, start: number, length: number): number[] {
  const list: number[] = []
  for (let at = start; at < start + length; at += 2) list.push(u16(bytes, at))
  return list
}

function u16(bytes: Uint8Array, at: number): number {
  return ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0)
}

function invalid(problem: string): HelloRead {
  return { kind: 'invalid', problem }
}

function tooLarge(problem: string): HelloRead {
  return { kind: 'too-large', problem }
}

/** The facts of a hello, as decisions and events want them. */
export function helloFacts(hello: ParsedHello, ja4: string): HelloFacts {
  return {
    serverName: hello.serverName,
    versions: offeredVersions(hello),
    alpn: hello.alpn,
    ja4,
    cipherCount: hello.cipherSuites.length,
  }
}
