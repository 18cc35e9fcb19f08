// The capsules of the UDP tunnel: datagrams, contexts of Connect-UDP-Bind, and five of our own. Pure.
import { addressFromBytes, type Address } from '../../net/address.ts'
import { CapsuleError } from './capsule-reader.ts'
import { readVarint, varintLength, varintSize, writeVarint } from './varint.ts'

/**
 * Types of capsules. DATAGRAM is RFC 9297, section 3.5; the next three are draft-ietf-masque-connect-udp-listen (0x11 to 0x13
 * since draft 08). The others are ours: unknown types are passed over, so that a peer without them still understands the rest.
 */
export const CAPSULE = {
  datagram: 0x00,
  assign: 0x11,
  acknowledge: 0x12,
  close: 0x13,
  /** An id that the other end of the tunnel answers with a pong, and nobody behind it. */
  ping: 0x1a6c_4f20,
  pong: 0x1a6c_4f21,
  /** The last capsule of a connection: a code and a sentence for the log of the other side. */
  goodbye: 0x1a6c_4f22,
  /** What the connector's machine says of the service behind a context. */
  trouble: 0x1a6c_4f23,
  /** Which service of the connector the context is for that is assigned next. */
  service: 0x1a6c_4f24,
} as const

const KNOWN: ReadonlySet<number> = new Set(Object.values(CAPSULE))

/** Whether capsules of this type are read. */
export function isKnownCapsule(type: number): boolean {
  return type === 0 || KNOWN.has(type)
}

/** Who a context stands for; null: every datagram says it by itself (the uncompressed context). */
export type ContextPeer = { readonly address: Address; readonly port: number } | null

/** Why an end closes the connection. */
export const GOODBYE = {
  /** Drained, stopped or replaced: nothing is wrong. */
  done: 0,
  /** Capsules that no honest peer sends. */
  malformed: 1,
  /** Nothing was heard for too long. */
  silent: 2,
  /** The service is no longer offered, or was never. */
  service: 3,
  /** More contexts than the peer allows at once, again and again. */
  excess: 4,
  /** A defect of the end that says so: it costs this connection and nothing else. */
  defect: 5,
} as const

/** What a connector says of the service behind it. */
export const TROUBLE = {
  /** The machine says that nothing listens on the UDP port (ICMP port unreachable). */
  portClosed: 1,
  /** No way to the machine: no route, no file handle, no address. */
  unreachable: 2,
} as const

const MAX_TEXT = 200
const encoder = new TextEncoder()

/** Bytes of a DATAGRAM capsule before its payload. */
export function datagramHeadLength(context: number, payload: number): number {
  const id = varintLength(context)
  return 1 + varintLength(id + payload) + id
}

/** Writes what comes before the payload of a DATAGRAM capsule. Returns the offset after it. */
export function writeDatagramHead(target: Uint8Array, at: number, context: number, payload: number): number {
  target[at] = CAPSULE.datagram
  return writeVarint(target, writeVarint(target, at + 1, varintLength(context) + payload), context)
}

/** COMPRESSION_ASSIGN: a context and whom it stands for. */
export function encodeAssign(context: number, peer: ContextPeer): Uint8Array {
  const id = varintLength(context)
  const ip = peer === null ? 0 : peer.address.family === 4 ? 4 : 16
  const { bytes, at } = capsule(CAPSULE.assign, id + 1 + (peer === null ? 0 : ip + 2))
  const after = writeVarint(bytes, at, context)
  bytes[after] = peer === null ? 0 : peer.address.family
  if (peer !== null) writePeer(bytes, after + 1, peer)
  return bytes
}

/** Reads the value of a COMPRESSION_ASSIGN capsule. Throws CapsuleError when it is malformed. */
export function readAssign(value: Uint8Array): { readonly context: number; readonly peer: ContextPeer } {
  const [context, end] = contextOf(value)
  if (context === 0) throw new CapsuleError('context 0 cannot be assigned')
  const version = value[end]
  if (version === 0 && value.length === end + 1) return { context, peer: null }
  const read = readPeer(value.subarray(end))
  if (read === undefined || read.rest.length > 0) throw new CapsuleError('an assignment without an address')
  return { context, peer: read.peer }
}

/** COMPRESSION_ACK and COMPRESSION_CLOSE: a context. */
export function encodeContext(type: 'acknowledge' | 'close', context: number): Uint8Array {
  return numbered(CAPSULE[type], context)
}

/** Reads the value of a COMPRESSION_ACK or COMPRESSION_CLOSE capsule. Throws CapsuleError when it is malformed. */
export function readContext(value: Uint8Array): number {
  const [context, end] = contextOf(value)
  if (context === 0 || end !== value.length)
    throw new CapsuleError('a context id was expected, and nothing else')
  return context
}

/** A ping or its answer. */
export function encodeProbe(type: 'ping' | 'pong', id: number): Uint8Array {
  return numbered(CAPSULE[type], id)
}

/** Reads the id of a ping or pong. Throws CapsuleError when it is malformed. */
export function readProbe(value: Uint8Array): number {
  const [id, end] = contextOf(value)
  if (end !== value.length) throw new CapsuleError('a ping carries one number')
  return id
}

/** What the connector's machine says of the service behind a context: one of TROUBLE. */
export function encodeTrouble(context: number, code: number): Uint8Array {
  const { bytes, at } = capsule(CAPSULE.trouble, varintLength(context) + varintLength(code))
  writeVarint(bytes, writeVarint(bytes, at, context), code)
  return bytes
}

/** Reads it. Throws CapsuleError when it is malformed. */
export function readTrouble(value: Uint8Array): { readonly context: number; readonly code: number } {
  const [context, end] = contextOf(value)
  const rest = value.subarray(end)
  const [code, last] = contextOf(rest)
  if (last !== rest.length) throw new CapsuleError('a trouble carries two numbers')
  return { context, code }
}

/** Which service a context is for. */
export function encodeService(context: number, service: string): Uint8Array {
  const name = encoder.encode(service)
  const { bytes, at } = capsule(CAPSULE.service, varintLength(context) + name.length)
  bytes.set(name, writeVarint(bytes, at, context))
  return bytes
}

/** Reads it. Throws CapsuleError when the name is longer than names are. */
export function readService(value: Uint8Array): { readonly context: number; readonly service: string } {
  const [context, end] = contextOf(value)
  if (value.length - end > MAX_TEXT) throw new CapsuleError('a service with a name of over 200 bytes')
  return { context, service: new TextDecoder().decode(value.subarray(end)) }
}

/** The last capsule of a connection. */
export function encodeGoodbye(code: number, text: string): Uint8Array {
  let words = encoder.encode(text)
  if (words.length > MAX_TEXT) words = words.subarray(0, MAX_TEXT)
  const { bytes, at } = capsule(CAPSULE.goodbye, varintLength(code) + words.length)
  bytes.set(words, writeVarint(bytes, at, code))
  return bytes
}

/** Reads a goodbye. The text is made harmless for a log: one line, at most 200 bytes. */
export function readGoodbye(value: Uint8Array): { readonly code: number; readonly text: string } {
  const [code, end] = contextOf(value)
  const words = new TextDecoder().decode(value.subarray(end, end + MAX_TEXT))
  return { code, text: words.replaceAll(/[^\x20-\x7e]+/g, ' ').trim() }
}

/**
 * Reads the payload of a datagram in the uncompressed context: whom it is of or for, then the UDP payload.
 * Undefined: it begins with no address; such a datagram is dropped.
 */
export function readUncompressed(
  bytes: Uint8Array,
): { readonly peer: NonNullable<ContextPeer>; readonly payload: Uint8Array } | undefined {
  const read = readPeer(bytes)
  return read === undefined ? undefined : { peer: read.peer, payload: read.rest }
}

function writePeer(target: Uint8Array, at: number, { address, port }: NonNullable<ContextPeer>): number {
  let offset = at
  for (const word of address.words) {
    for (let shift = 24; shift >= 0; shift -= 8) target[offset++] = (word >>> shift) & 0xff
  }
  target[offset++] = port >>> 8
  target[offset++] = port & 0xff
  return offset
}

function readPeer(
  bytes: Uint8Array,
): { readonly peer: NonNullable<ContextPeer>; readonly rest: Uint8Array } | undefined {
  const ip = bytes[0] === 4 ? 4 : bytes[0] === 6 ? 16 : 0
  if (ip === 0 || bytes.length < 1 + ip + 2) return undefined
  const address = addressFromBytes(bytes.subarray(1, 1 + ip))
  const port = ((bytes[1 + ip] ?? 0) << 8) | (bytes[2 + ip] ?? 0)
  if (address === undefined || port === 0) return undefined
  return { peer: { address, port }, rest: bytes.subarray(3 + ip) }
}

function contextOf(value: Uint8Array): readonly [context: number, end: number] {
  const end = value.length === 0 ? 1 : varintSize(value[0] ?? 0)
  if (end > value.length) throw new CapsuleError('a capsule that ends within a number')
  return [readVarint(value, 0), end]
}

function numbered(type: number, value: number): Uint8Array {
  const { bytes, at } = capsule(type, varintLength(value))
  writeVarint(bytes, at, value)
  return bytes
}

function capsule(type: number, length: number): { readonly bytes: Uint8Array; readonly at: number } {
  const bytes = new Uint8Array(varintLength(type) + varintLength(length) + length)
  return { bytes, at: writeVarint(bytes, writeVarint(bytes, 0, type), length) }
}
