// PURE parser of PROXY protocol headers, versions 1 and 2 (haproxy.org/download/2.9/doc/proxy-protocol.txt), strict and bounded.
import { addressFromBytes, parseAddress, type Address } from '../net/address.ts'

/** The client that a load balancer speaks for. */
export type ProxySource = { readonly address: Address; readonly port: number }

/** What the bytes so far are. Every answer but `incomplete` is final. */
export type ProxyRead =
  | { readonly kind: 'incomplete' }
  /** The bytes are not a PROXY header at all. */
  | { readonly kind: 'missing' }
  | { readonly kind: 'invalid'; readonly problem: string }
  /** `source` is null when the load balancer speaks for itself (LOCAL, UNKNOWN): a health check. */
  | { readonly kind: 'header'; readonly bytes: number; readonly source: ProxySource | null }

/** Longest version 2 header that is read, with all its TLVs. */
export const MAX_PROXY_HEADER_BYTES = 4_096

const MAX_V1_BYTES = 107
const V1_START = [0x50, 0x52, 0x4f, 0x58, 0x59, 0x20]
const V2_START = [0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a]
const V2_HEADER_BYTES = 16

const INCOMPLETE: ProxyRead = { kind: 'incomplete' }
const MISSING: ProxyRead = { kind: 'missing' }

/** Reads a PROXY protocol header from the start of a byte stream. */
export function readProxyHeader(bytes: Uint8Array): ProxyRead {
  const first = bytes[0]
  if (first === undefined) return INCOMPLETE
  const start = first === V2_START[0] ? V2_START : V1_START
  for (let at = 0; at < Math.min(start.length, bytes.length); at++)
    if (bytes[at] !== start[at]) return MISSING
  if (bytes.length < start.length) return INCOMPLETE
  return start === V1_START ? readV1(bytes) : readV2(bytes)
}

function readV1(bytes: Uint8Array): ProxyRead {
  let text = ''
  for (let at = 0; at < Math.min(bytes.length, MAX_V1_BYTES); at++) {
    const code = bytes[at] ?? 0
    if (code === 0x0a) {
      if (!text.endsWith('\r')) return invalid('version 1 without CR LF')
      return parseV1(text.slice(0, -1), at + 1)
    }
    if (text.endsWith('\r') || (code !== 0x0d && (code < 0x20 || code > 0x7e)))
      return invalid('version 1 with a character that does not belong there')
    text += String.fromCharCode(code)
  }
  return bytes.length < MAX_V1_BYTES ? INCOMPLETE : invalid('version 1 longer than 107 bytes')
}

function parseV1(line: string, bytes: number): ProxyRead {
  if (line === 'PROXY UNKNOWN' || line.startsWith('PROXY UNKNOWN ')) {
    return { kind: 'header', bytes, source: null }
  }
  const parts = line.split(' ')
  const [, family, from = '', to = '', fromPort = '', toPort = ''] = parts
  if (parts.length !== 6 || (family !== 'TCP4' && family !== 'TCP6'))
    return invalid('version 1 with other fields than TCP4 or TCP6')
  const isV6 = family === 'TCP6'
  const address = from.includes(':') === isV6 ? parseAddress(from) : undefined
  const target = to.includes(':') === isV6 ? parseAddress(to) : undefined
  const port = parsePort(fromPort)
  if (address === undefined || target === undefined || port === undefined || parsePort(toPort) === undefined)
    return invalid('version 1 with a bad address or port')
  return { kind: 'header', bytes, source: { address, port } }
}

function parsePort(text: string): number | undefined {
  if (!/^(?:0|[1-9][0-9]{0,4})$/.test(text)) return undefined
  const port = Number(text)
  return port <= 65_535 ? port : undefined
}

function readV2(bytes: Uint8Array): ProxyRead {
  const versionAndCommand = bytes[12]
  const familyAndProtocol = bytes[13]
  if (versionAndCommand === undefined) return INCOMPLETE
  const command = versionAndCommand & 0x0f
  if (versionAndCommand >> 4 !== 2 || command > 1) return invalid('version 2 with an unknown command')
  if (familyAndProtocol === undefined || bytes.length < V2_HEADER_BYTES) return INCOMPLETE
  const length = ((bytes[14] ?? 0) << 8) | (bytes[15] ?? 0)
  const total = V2_HEADER_BYTES + length
  if (total > MAX_PROXY_HEADER_BYTES) return invalid(`version 2 longer than ${MAX_PROXY_HEADER_BYTES} bytes`)

  const isLocal = command === 0 || familyAndProtocol === 0x00
  const addressBytes = familyAndProtocol === 0x11 ? 4 : familyAndProtocol === 0x21 ? 16 : 0
  if (!isLocal && addressBytes === 0) return invalid('version 2 for something other than TCP over IP')
  if (!isLocal && length < 2 * addressBytes + 4) return invalid('version 2 without its addresses')
  if (bytes.length < total) return INCOMPLETE
  if (isLocal) return { kind: 'header', bytes: total, source: null }

  const address = addressFromBytes(bytes.subarray(V2_HEADER_BYTES, V2_HEADER_BYTES + addressBytes))
  if (address === undefined) return invalid('version 2 with a bad address')
  const portAt = V2_HEADER_BYTES + 2 * addressBytes
  const port = ((bytes[portAt] ?? 0) << 8) | (bytes[portAt + 1] ?? 0)
  return { kind: 'header', bytes: total, source: { address, port } }
}

function invalid(problem: string): ProxyRead {
  return { kind: 'invalid', problem }
}
