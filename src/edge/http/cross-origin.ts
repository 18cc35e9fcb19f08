// Notices what browsers keep from showing: a page of another name asked, and the RMM server did not agree to it (CORS).
import type { HeaderView } from '../../policy/facts.ts'
import type { HttpConnection } from './http-connection.ts'
import { clientFields, type RequestRecord } from './request-record.ts'

// Scheme, host, and perhaps a port: RFC 6454, section 6.2. `null` is what sandboxed pages send.
const ORIGIN = /^https?:\/\/((?:[a-z0-9-]+\.)*[a-z0-9-]+|\[[0-9a-f:.]{2,45}\])(?::\d{1,5})?$/i
const MAX_ORIGIN = 200

/**
 * Reports a request that a browser made for a page of another host and whose answer it will refuse to show.
 * @param responseHeaders flat list, as the upstream sent them
 */
export function reportCrossOrigin(
  conn: HttpConnection,
  record: RequestRecord,
  headers: HeaderView,
  status: number,
  responseHeaders: readonly string[],
): void {
  // Agents have no pages; their requests must not pay for this.
  if (!HAS_PAGES.has(record.class ?? 'other')) return
  const origin = headers.get('origin')
  if (origin === undefined || origin.length > MAX_ORIGIN) return
  const host = ORIGIN.exec(origin)?.[1]?.toLowerCase()
  if (host === undefined || host === record.host || !isAskedByScript(record, headers, status)) return
  if (isAgreed(origin, responseHeaders)) return
  conn.services.reporter.report('request.cross-origin', {
    ...clientFields(conn.connection, conn.facts),
    host: record.host,
    method: record.method,
    path: record.path,
    class: record.class ?? 'other',
    origin: origin.toLowerCase(),
    status,
  })
}

const HAS_PAGES: ReadonlySet<string> = new Set(['console', 'api', 'enroll', 'other'])

/**
 * Whether a script asked. Browsers show the answers to links and forms whatever their origin: single sign-on posts a form
 * from the page of the identity provider, which is as it should be.
 */
function isAskedByScript(record: RequestRecord, headers: HeaderView, status: number): boolean {
  if (record.webSocket) return status === 401 || status === 403
  const mode = headers.get('sec-fetch-mode')
  if (mode !== undefined) return mode === 'cors'
  if (record.method === 'OPTIONS') return headers.get('access-control-request-method') !== undefined
  return headers.get('content-type')?.startsWith('application/x-www-form-urlencoded') !== true
}

function isAgreed(origin: string, headers: readonly string[]): boolean {
  for (let at = 0; at < headers.length; at += 2) {
    if (headers[at]?.toLowerCase() !== 'access-control-allow-origin') continue
    const value = headers[at + 1]?.trim()
    return value === '*' || value?.toLowerCase() === origin.toLowerCase()
  }
  return false
}
