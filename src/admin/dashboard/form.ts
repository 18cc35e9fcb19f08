// Reads a form from a request, within limits, and the field that most forms share: the reason.
import type { IncomingMessage } from 'node:http'

/** Largest form, unless its route says otherwise. */
export const MAX_FORM_BYTES = 64 * 1024
const MAX_FIELDS = 500

/** A form, or the status that answers what was sent instead. */
export type FormResult =
  | { readonly ok: true; readonly form: URLSearchParams }
  | { readonly ok: false; readonly status: 400 | 413 | 415 }

/** Reads `application/x-www-form-urlencoded`. Nothing else: what a foreign page can send without asking stays out. */
export async function readForm(request: IncomingMessage, maxBytes: number): Promise<FormResult> {
  const type = (request.headers['content-type'] ?? '').split(';')[0]?.trim().toLowerCase()
  if (type !== 'application/x-www-form-urlencoded') return { ok: false, status: 415 }
  if (Number(request.headers['content-length'] ?? 0) > maxBytes) return { ok: false, status: 413 }
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of request) {
    const bytes = chunk as Buffer
    size += bytes.length
    if (size > maxBytes) return { ok: false, status: 413 }
    chunks.push(bytes)
  }
  const text = Buffer.concat(chunks).toString('utf8')
  if (text.split('&').length > MAX_FIELDS) return { ok: false, status: 400 }
  return { ok: true, form: new URLSearchParams(text) }
}

/** Longest reason that a form takes, in characters, unless it says otherwise. */
export const MAX_REASON = 300

// What could garble the terminal of whoever lists what was done: controls, bidi and invisible characters.
const UNSAFE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u

/** The reason in a form, without spaces around it; null: there is none, or it is too long or not plain. */
export function readReason(form: URLSearchParams, maxLength = MAX_REASON): string | null {
  const reason = (form.get('reason') ?? '').trim()
  return reason === '' || reason.length > maxLength || UNSAFE.test(reason) ? null : reason
}
