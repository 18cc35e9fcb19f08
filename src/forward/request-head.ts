// PURE: writes the head of a request for the wire, and refuses to write what could be read as more than one.
import type { UpstreamRequest } from './forwarder.ts'

const METHOD = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/
const TARGET = /^[!-~\x80-\xff]+$/
const LINE_BREAK = /[\0\r\n]/

/**
 * The head of a request in wire form, latin1, with the framing that the request states.
 * Returns null when method, target or a header could break out of its place: nothing may be sent then.
 */
export function formatRequestHead(request: UpstreamRequest, upgrade: boolean): string | null {
  const { method, target, headers, framing } = request
  if (!METHOD.test(method) || !TARGET.test(target)) return null
  let fields = ''
  for (let at = 0; at + 1 < headers.length; at += 2) {
    const name = headers[at] ?? ''
    const value = headers[at + 1] ?? ''
    if (LINE_BREAK.test(value) || !METHOD.test(name)) return null
    fields += `${name}: ${value}\r\n`
  }
  if (framing.kind === 'length') fields += `Content-Length: ${framing.bytes}\r\n`
  else if (framing.kind === 'chunked') fields += 'Transfer-Encoding: chunked\r\n'
  // The lower-case spelling is what browsers and every WebSocket library send.
  if (upgrade) fields += 'Connection: Upgrade\r\nUpgrade: websocket\r\n'
  return `${method} ${target} HTTP/1.1\r\n${fields}\r\n`
}

/** The end of a chunked body. Trailers that could break out of their line are left out. */
export function formatLastChunk(trailers: readonly string[]): string {
  let fields = ''
  for (let at = 0; at + 1 < trailers.length; at += 2) {
    const name = trailers[at] ?? ''
    const value = trailers[at + 1] ?? ''
    if (METHOD.test(name) && !LINE_BREAK.test(value)) fields += `${name}: ${value}\r\n`
  }
  return `0\r\n${fields}\r\n`
}
