// Writes answers of the dashboard. Every one of them carries the security headers.
import type { ServerResponse } from 'node:http'
import type { Html } from './html.ts'
import { SECURITY_HEADERS } from './headers.ts'

/** Headers beside the usual ones. */
export type MoreHeaders = Readonly<Record<string, string | readonly string[]>>

/** Sends a text with its type. */
export function sendText(
  response: ServerResponse,
  status: number,
  contentType: string,
  text: string | Buffer,
  more: MoreHeaders = {},
): void {
  response.writeHead(status, {
    ...SECURITY_HEADERS,
    'content-type': contentType,
    'content-length': Buffer.byteLength(text),
    ...more,
  })
  response.end(text)
}

/** Sends a document. */
export function sendHtml(response: ServerResponse, status: number, body: Html, more: MoreHeaders = {}): void {
  sendText(response, status, 'text/html; charset=utf-8', body.toString(), more)
}

/** Sends the browser to another page of the dashboard, as GET. */
export function sendRedirect(response: ServerResponse, to: string, more: MoreHeaders = {}): void {
  sendText(response, 303, 'text/plain; charset=utf-8', '', { location: ownPath(to), ...more })
}

/**
 * A path and query of this dashboard, or `/` for anything that a browser could take for another site (`//host`, `/\host`,
 * a scheme) or that does not fit into a header.
 */
export function ownPath(to: string | null | undefined): string {
  const base = 'https://dashboard.invalid'
  if (to === null || to === undefined || to.length > 2_000 || !/^\/(?![/\\])[\x21-\x7e]*$/.test(to))
    return '/'
  if (!URL.canParse(to, base)) return '/'
  const url = new URL(to, base)
  // Dots that are taken out can leave two slashes at the start, which would be another site: `/.//host`.
  return url.origin === base && !url.pathname.startsWith('//') ? `${url.pathname}${url.search}` : '/'
}
