// The WebSocket opening handshake (RFC 6455, section 4): what a valid request and a valid 101 look like.
import { createHash } from 'node:crypto'
import { FlatHeaders } from './header-view.ts'
import { names, type HeadProblem, type RequestHead } from './request-head.ts'

// The form of 16 bytes in base64. Spare bits of the last character are not looked at: MeshCentral's native agent sets them.
const KEY = /^[A-Za-z0-9+/]{22}==$/

/** Why an upgrade request is no valid handshake; undefined: it is one. */
export function problemOfHandshake(head: RequestHead, headers: FlatHeaders): HeadProblem | undefined {
  if (head.framing.kind === 'chunked' || (head.framing.kind === 'length' && head.framing.bytes > 0)) {
    return { reason: 'framing-invalid', saw: 'upgrade request with a body' }
  }
  if (head.method !== 'GET') return invalid(`method ${head.method}`)
  if (head.minor !== 1) return invalid('HTTP/1.0')
  if (!head.connectionUpgrade) return invalid('Connection does not name upgrade')
  if (headers.count('upgrade') !== 1 || headers.get('upgrade')?.toLowerCase() !== 'websocket')
    return invalid('several protocols in Upgrade')
  if (headers.count('sec-websocket-version') !== 1 || headers.get('sec-websocket-version') !== '13') {
    return invalid('Sec-WebSocket-Version is not 13')
  }
  if (headers.count('sec-websocket-key') !== 1 || !KEY.test(headers.get('sec-websocket-key') ?? '')) {
    return invalid('Sec-WebSocket-Key is not 16 bytes')
  }
  return undefined
}

/** Why an upstream's 101 does not complete the handshake; undefined: it does. */
export function problemOfSwitch(
  status: number,
  responseHeaders: readonly string[],
  key: string,
): string | undefined {
  const headers = new FlatHeaders(responseHeaders)
  if (status !== 101) return `status ${status}`
  if (headers.get('upgrade')?.toLowerCase() !== 'websocket') return '101 without Upgrade: websocket'
  if (!names(headers.get('connection') ?? '', 'upgrade')) return '101 without Connection: Upgrade'
  if (headers.get('sec-websocket-accept') !== acceptOf(key))
    return 'Sec-WebSocket-Accept does not answer the key'
  return undefined
}

/** The value of Sec-WebSocket-Accept that answers a key. */
export function acceptOf(key: string): string {
  return createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64')
}

function invalid(saw: string): HeadProblem {
  return { reason: 'websocket-invalid', saw }
}
