// PURE: what the first bytes of a client on a mixed listener are. Bounded: every input is decided after a few hundred bytes.
import type { StreamService, StreamStart } from '../../policy/streams.ts'

/** The first bytes, named. `incomplete`: more bytes could make something else of them. */
export type Sniffed =
  | { readonly kind: 'incomplete' }
  | { readonly kind: Exclude<StreamStart, 'bytes' | 'silence'> }
  | { readonly kind: 'bytes'; readonly service: StreamService }

/** Bytes that are looked at, at most: whatever is undecided then is decided by what it looks like so far. */
export const SNIFF_BYTES = 512

const METHODS = ['GET ', 'POST ', 'HEAD ', 'PUT ', 'OPTIONS ', 'DELETE ', 'PATCH ', 'CONNECT ', 'TRACE ']
const LONGEST_METHOD = 8
/** NetSupport clients ask for this page of their gateway in clear HTTP, with an absolute target. */
const NETSUPPORT_LINE = /^POST (?:http:\/\/[^/ ]{1,255})?\/fakeurl\.htm(?: |$)/i

const INCOMPLETE: Sniffed = { kind: 'incomplete' }

/**
 * Names the first bytes of a client. A service's own signatures come first, so that a policy can say what would otherwise
 * count as binary or HTTP.
 */
export function sniff(bytes: Uint8Array, services: readonly StreamService[]): Sniffed {
  const isFull = bytes.length >= SNIFF_BYTES
  let mayBecome = bytes.length === 0
  for (const service of services) {
    for (const signature of service.signatures) {
      if (service.start !== 'bytes' || !agrees(bytes, signature)) continue
      if (bytes.length >= signature.length) return { kind: 'bytes', service }
      mayBecome = true
    }
  }
  if (mayBecome) return INCOMPLETE
  const tls = tlsStart(bytes)
  if (tls === 'incomplete') return INCOMPLETE
  if (tls === 'yes') return { kind: 'tls' }
  const text = latin1(bytes)
  const method = METHODS.find(word => text.startsWith(word))
  if (method === undefined) {
    const isShort = text.length < LONGEST_METHOD && METHODS.some(word => word.startsWith(text))
    return isShort ? INCOMPLETE : { kind: 'binary' }
  }
  if (method !== 'POST ') return { kind: 'http' }
  const end = text.search(/[\r\n]/)
  if (end < 0 && !isFull) return INCOMPLETE
  return { kind: NETSUPPORT_LINE.test(end < 0 ? text : text.slice(0, end)) ? 'netsupport' : 'http' }
}

/** What undecided bytes count as when no more of them come in time. */
export function sniffAtEnd(bytes: Uint8Array): 'tls' | 'http' | 'binary' {
  if (tlsStart(bytes) !== 'no') return 'tls'
  const text = latin1(bytes)
  return METHODS.some(word => text.startsWith(word)) ? 'http' : 'binary'
}

/** Whether plain bytes are the request of a NetSupport client. */
export function isNetSupport(bytes: Uint8Array): boolean {
  const [line = ''] = latin1(bytes).split(/[\r\n]/, 1)
  return NETSUPPORT_LINE.test(line)
}

/** Whether a first chunk is a TLS record: of a client that says hello, or of a server that answers one. */
export function isTlsRecord(bytes: Uint8Array, side: 'client' | 'server'): boolean {
  const [type = 0, major = 0] = bytes
  if (bytes.length < 2 || major !== 3) return false
  return side === 'client' ? type === 22 : type >= 20 && type <= 23
}

// A handshake record; or the SSL 2.0 framing of a ClientHello, whose third byte says that it is one.
function tlsStart([first = 0, second, third, fourth]: Uint8Array): 'yes' | 'no' | 'incomplete' {
  if (first === 22) return second === undefined ? 'incomplete' : second === 3 ? 'yes' : 'no'
  if ((first & 0x80) === 0 || (third ?? 1) !== 1 || (fourth ?? 3) !== 3) return 'no'
  return fourth === undefined ? 'incomplete' : 'yes'
}

function agrees(bytes: Uint8Array, signature: Uint8Array): boolean {
  const length = Math.min(bytes.length, signature.length)
  for (let at = 0; at < length; at++) if (bytes[at] !== signature[at]) return false
  return true
}

function latin1(bytes: Uint8Array): string {
  let text = ''
  for (let at = 0; at < Math.min(bytes.length, SNIFF_BYTES); at++) text += String.fromCharCode(bytes[at] ?? 0)
  return text
}
