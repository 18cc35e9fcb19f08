// PURE: the answer to plain HTTP on a port that speaks HTTPS: the same page under https://, for names that the gate serves.
import { findName } from '../../policy/decide-hello.ts'
import type { Snapshot } from '../../policy/snapshot.ts'

/** What a plain request comes to. */
export type Redirect =
  | { readonly kind: 'incomplete' }
  | { readonly kind: 'redirect'; readonly location: string; readonly answer: string }
  | { readonly kind: 'refused'; readonly saw: string }

/** Longest request head that is read for a redirect. */
const REDIRECT_HEAD_BYTES = 8_192

/**
 * Reads a request head and makes the redirect. Only GET and HEAD are sent on: a client that posts has already shown what it
 * posts to everybody on the way, and must be told so instead.
 */
export function readRedirect(bytes: Uint8Array, snapshot: Pick<Snapshot, 'names'>, port: number): Redirect {
  const text = Buffer.from(bytes.subarray(0, REDIRECT_HEAD_BYTES)).toString('latin1')
  const end = text.indexOf('\r\n\r\n')
  if (end < 0)
    return bytes.length < REDIRECT_HEAD_BYTES
      ? { kind: 'incomplete' }
      : { kind: 'refused', saw: 'a request head without an end' }
  const [line = '', ...headers] = text.slice(0, end).split('\r\n')
  const [, method = '', target = ''] = /^([A-Z]+) (\/[\x21-\x7e]*) HTTP\/1\.[01]$/.exec(line) ?? []
  if (method === '') return { kind: 'refused', saw: 'a request line that cannot be read' }
  if (method !== 'GET' && method !== 'HEAD') return { kind: 'refused', saw: `${method} in plain HTTP` }
  const hosts = headers.flatMap(
    header => /^host:[ \t]*([a-z0-9._-]{1,253})(?::\d{1,5})?[ \t]*$/i.exec(header)?.[1] ?? [],
  )
  const [host] = hosts
  if (host === undefined || hosts.length > 1) return { kind: 'refused', saw: 'no host that can be read' }
  const name = host.toLowerCase()
  if (findName(snapshot, name) === undefined)
    return { kind: 'refused', saw: `host ${name}, which is not served` }
  const location = `https://${name}${port === 443 ? '' : `:${port}`}${target}`
  const answer =
    `HTTP/1.1 301 Moved Permanently\r\nLocation: ${location}\r\nContent-Length: 0\r\n` +
    'Cache-Control: no-store\r\nConnection: close\r\n\r\n'
  return { kind: 'redirect', location, answer }
}
