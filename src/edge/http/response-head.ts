// Serialises response heads: status line, headers as given, and the framing that the gate itself decides.
import { isToken } from './request-head.ts'

/** How a response body is framed towards the client. */
export type ResponseFraming =
  /** No body and no framing header: 1xx, 204, 304 without a length. */
  | { readonly kind: 'none' }
  /** Exactly so many bytes; for HEAD the number that GET would give. */
  | { readonly kind: 'length'; readonly bytes: number }
  | { readonly kind: 'chunked' }
  /** Until the connection closes (HTTP/1.0). */
  | { readonly kind: 'close' }

/** Statuses that never carry a body (RFC 9110, section 6.4.1). */
function isBodiless(status: number): boolean {
  return status === 204 || status === 304 || status < 200
}

/**
 * Chooses the framing of a response.
 * @param length bytes that the upstream announced; null: unknown
 */
export function responseFraming(
  method: string,
  status: number,
  minor: number,
  length: number | null,
): ResponseFraming {
  if (isBodiless(status)) return status === 304 && length !== null ? { kind: 'length', bytes: length } : NONE
  if (length !== null) return { kind: 'length', bytes: length }
  if (method === 'HEAD') return NONE
  return minor === 1 ? CHUNKED : UNTIL_CLOSE
}

const NONE: ResponseFraming = { kind: 'none' }
const CHUNKED: ResponseFraming = { kind: 'chunked' }
const UNTIL_CLOSE: ResponseFraming = { kind: 'close' }

/**
 * A response head as latin1 text.
 * @param headers flat list; framing and connection headers in it are left out, the gate writes its own
 * @returns undefined when a header would break the framing (a line break in it): the upstream's answer is not valid
 */
export function serialiseHead(
  status: number,
  statusText: string,
  headers: readonly string[],
  framing: ResponseFraming,
  close: boolean,
): string | undefined {
  if (breaksLine(statusText)) return undefined
  let head =
    status === 200 && statusText === 'OK' ? 'HTTP/1.1 200 OK\r\n' : `HTTP/1.1 ${status} ${statusText}\r\n`
  for (let at = 0; at < headers.length; at += 2) {
    const name = headers[at] as string
    const value = headers[at + 1] as string
    if (isOwnHeader(name)) continue
    if (!isFieldName(name) || breaksLine(value)) return undefined
    head += `${name}: ${value}\r\n`
  }
  if (framing.kind === 'length') head += `Content-Length: ${framing.bytes}\r\n`
  else if (framing.kind === 'chunked') head += 'Transfer-Encoding: chunked\r\n'
  return head + (close ? 'Connection: close\r\n\r\n' : '\r\n')
}

/** The head of a 101 answer. */
export function serialiseSwitch(statusText: string, headers: readonly string[]): string | undefined {
  const own = serialiseHead(101, statusText, headers, NONE, false)
  return own === undefined
    ? undefined
    : `${own.slice(0, -2)}Upgrade: websocket\r\nConnection: Upgrade\r\n\r\n`
}

/** An interim response (1xx). */
export function serialiseInterim(status: number, headers: readonly string[]): string | undefined {
  return serialiseHead(status, INTERIM_TEXT[status] ?? 'Interim', headers, NONE, false)
}

/** What tells a client to send the body that it holds back. */
export const CONTINUE = 'HTTP/1.1 100 Continue\r\n\r\n'

const INTERIM_TEXT: Readonly<Record<number, string>> = { 102: 'Processing', 103: 'Early Hints' }

function isOwnHeader(name: string): boolean {
  switch (name.length) {
    case 7:
      return name.toLowerCase() === 'upgrade'
    case 10: {
      const folded = name.toLowerCase()
      return folded === 'connection' || folded === 'keep-alive'
    }
    case 14:
      return name.toLowerCase() === 'content-length'
    case 17:
      return name.toLowerCase() === 'transfer-encoding'
    default:
      return false
  }
}

function breaksLine(value: string): boolean {
  return value.includes('\n') || value.includes('\r') || value.includes('\0')
}

function isFieldName(name: string): boolean {
  for (let at = 0; at < name.length; at++) if (!isToken(name.charCodeAt(at))) return false
  return name.length > 0
}
