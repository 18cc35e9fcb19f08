// PURE: names what arrived on a TLS port without being TLS, and writes the short answer that HTTP clients get.
import type { Reason } from '../policy/reasons.ts'
import { isNetSupport } from './tcp/sniff.ts'

/** What the plain bytes look like. */
export type Plaintext =
  | { readonly kind: 'incomplete' }
  /** `netSupport`: the request of a NetSupport client to its gateway, as far as it has come. */
  | { readonly kind: 'http'; readonly netSupport: boolean }
  | { readonly kind: 'other'; readonly what: string }

const HTTP_METHODS = ['GET ', 'POST ', 'HEAD ', 'PUT ', 'OPTIONS ', 'DELETE ', 'PATCH ', 'CONNECT ', 'TRACE ']
const OTHERS: readonly (readonly [string, string])[] = [
  ['SSH-', 'SSH'],
  ['PROXY ', 'a PROXY protocol header from an address that is not in loadBalancers'],
  ['\r\n\r\n\0\r\nQUIT\n', 'a PROXY protocol version 2 header from an address that is not in loadBalancers'],
  ['\x03\0', 'Remote Desktop (RDP)'],
  ['EHLO', 'SMTP'],
  ['HELO', 'SMTP'],
  ['\0', 'a binary protocol'],
]
const LONGEST = 12

/** Names the protocol by its first bytes; `incomplete` only while more bytes could still make it a known one. */
export function namePlaintext(bytes: Uint8Array): Plaintext {
  let text = ''
  for (let at = 0; at < Math.min(bytes.length, LONGEST); at++) text += String.fromCharCode(bytes[at] ?? 0)
  for (const method of HTTP_METHODS)
    if (text.startsWith(method)) return { kind: 'http', netSupport: isNetSupport(bytes) }
  for (const [start, what] of OTHERS) if (text.startsWith(start)) return { kind: 'other', what }
  const couldBecome =
    HTTP_METHODS.some(method => method.startsWith(text)) || OTHERS.some(([start]) => start.startsWith(text))
  if (couldBecome) return { kind: 'incomplete' }
  return { kind: 'other', what: 'bytes of no known protocol' }
}

/** A complete HTTP/1.1 answer for a plain-HTTP client, with the reference that explains itself. */
export function plainHttpAnswer(reason: Reason, status: number, because: string, reference: string): string {
  const sentence =
    reason === 'plaintext-on-tls'
      ? 'This port speaks HTTPS: use https:// instead of http://.'
      : `Refused: ${because}.`
  const body = `${sentence} Reference: ${reference}\n`
  const words = status === 400 ? 'Bad Request' : status === 403 ? 'Forbidden' : 'Service Unavailable'
  return (
    `HTTP/1.1 ${status} ${words}\r\nContent-Type: text/plain; charset=utf-8\r\n` +
    `Content-Length: ${new TextEncoder().encode(body).length}\r\nConnection: close\r\n\r\n${body}`
  )
}
