// One request to the practice server and the few ways to answer it.
import type { IncomingMessage, ServerResponse } from 'node:http'
import { parseAddress } from '../net/address.ts'

/** The name that every answer carries, so that nobody takes the practice server for a product. */
export const SERVER_NAME = 'Practice-RMM'

/** A request with what the routes need of it. */
export type Exchange = {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  /** Path as sent, query removed. */
  readonly path: string
  /** Path in lower case: the servers that it stands in for ignore case. */
  readonly folded: string
  readonly query: URLSearchParams
  readonly source: string
  readonly peer: string
}

/** Makes the exchange of a request. A header is believed only when it comes from a trusted peer. */
export function exchangeOf(
  request: IncomingMessage,
  response: ServerResponse,
  trustedPeers: ReadonlySet<string>,
): Exchange {
  const target = request.url ?? '/'
  const mark = target.indexOf('?')
  const path = mark < 0 ? target : target.slice(0, mark)
  const peer = canonical(request.socket.remoteAddress ?? '')
  return {
    request,
    response,
    path,
    folded: path.toLowerCase(),
    query: new URLSearchParams(mark < 0 ? '' : target.slice(mark + 1)),
    source: (trustedPeers.has(peer) ? forwardedFor(request) : null) ?? peer,
    peer,
  }
}

/** Sends a whole answer. */
export function answer(
  { request, response }: Exchange,
  status: number,
  type: string,
  body: string | Buffer,
  headers: Readonly<Record<string, string | readonly string[]>> = {},
): void {
  const bytes = typeof body === 'string' ? Buffer.from(body) : body
  response.writeHead(status, {
    'content-type': type.startsWith('text/') ? `${type}; charset=utf-8` : type,
    'content-length': bytes.length,
    ...headers,
  })
  response.end(request.method === 'HEAD' ? undefined : bytes)
}

/** Sends JSON. */
export function answerJson(exchange: Exchange, status: number, value: unknown): void {
  answer(exchange, status, 'application/json', `${JSON.stringify(value)}\n`)
}

/** Reads a body of limited size; undefined when it is larger. */
export async function readBody(request: IncomingMessage, maxBytes: number): Promise<Buffer | undefined> {
  const chunks: Buffer[] = []
  let bytes = 0
  // Leaving the loop must not destroy the connection: the refusal still has to be sent.
  for await (const chunk of request.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
    bytes += chunk.length
    if (bytes > maxBytes) return undefined
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}

/** A whole number from the query, kept between the limits. */
export function numberIn(query: URLSearchParams, name: string, fallback: number, max: number): number {
  const text = query.get(name)
  return text !== null && /^[0-9]{1,12}$/.test(text) ? Math.min(Number(text), max) : fallback
}

function forwardedFor(request: IncomingMessage): string | null {
  const header = request.headers['x-forwarded-for']
  const text = Array.isArray(header) ? header.join(',') : header
  // The last entry is the one that the trusted peer itself wrote.
  const last = text?.split(',').at(-1)?.trim()
  return last === undefined ? null : (parseAddress(last)?.text ?? null)
}

/** One spelling per address: IPv4-mapped IPv6 becomes IPv4. */
export function canonical(address: string): string {
  return parseAddress(address)?.text ?? address
}
