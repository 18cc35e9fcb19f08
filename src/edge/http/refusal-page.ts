// What a client sees when the gate itself answers: a small page or JSON with the reason in one sentence and the reference.
import type { TrafficClass } from '../../policy/classes.ts'
import { AGENT_CLASSES } from '../../policy/classes.ts'
import { serialiseHead } from './response-head.ts'

/** An answer of the gate itself. */
export type OwnAnswer = {
  readonly status: number
  /** Stable word: a refusal reason or an error code. */
  readonly code: string
  /** Completes "because ...". */
  readonly because: string
  readonly reference: string
  /** Seconds after which trying again makes sense; null: not said. */
  readonly retryAfterSeconds: number | null
  /** Methods for a 405. */
  readonly allowedMethods: Iterable<string> | null
}

/** How the answer goes out. */
export type AnswerForm = {
  readonly json: boolean
  readonly headOnly: boolean
  readonly close: boolean
  readonly nowMs: number
}

/** Agents and interfaces get JSON, and so does whoever asks for it before HTML. */
export function prefersJson(trafficClass: TrafficClass | null, accept: string | undefined): boolean {
  if (trafficClass === 'api' || (trafficClass !== null && AGENT_CLASSES.includes(trafficClass))) return true
  if (accept === undefined) return false
  const json = accept.search(/application\/(?:[a-z.+-]*\+)?json/i)
  const html = accept.search(/text\/html/i)
  return json >= 0 && (html < 0 || json < html)
}

/** The complete answer, head and body, as latin1 text (the pages are ASCII). */
export function ownAnswer(answer: OwnAnswer, form: AnswerForm): string {
  const body = form.json ? jsonBody(answer) : htmlBody(answer)
  const headers = [
    'Date',
    new Date(form.nowMs).toUTCString(),
    'Content-Type',
    form.json ? 'application/json' : 'text/html; charset=utf-8',
    'Cache-Control',
    'no-store',
    'X-Content-Type-Options',
    'nosniff',
    'Content-Security-Policy',
    "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
    'Portcullis-Reference',
    answer.reference,
  ]
  if (answer.retryAfterSeconds !== null) headers.push('Retry-After', String(answer.retryAfterSeconds))
  if (answer.allowedMethods !== null) headers.push('Allow', [...answer.allowedMethods].join(', '))
  const text = STATUS_TEXT[answer.status] ?? 'Refused'
  const head = serialiseHead(answer.status, text, headers, { kind: 'length', bytes: body.length }, form.close)
  if (head === undefined) throw new Error('the gate made an answer that is not valid HTTP')
  return form.headOnly ? head : head + body
}

const STATUS_TEXT: Readonly<Record<number, string>> = {
  400: 'Bad Request',
  403: 'Forbidden',
  405: 'Method Not Allowed',
  408: 'Request Timeout',
  413: 'Content Too Large',
  415: 'Unsupported Media Type',
  421: 'Misdirected Request',
  429: 'Too Many Requests',
  431: 'Request Header Fields Too Large',
  500: 'Internal Server Error',
  502: 'Bad Gateway',
  503: 'Service Unavailable',
  504: 'Gateway Timeout',
}

function jsonBody(answer: OwnAnswer): string {
  return `${JSON.stringify({
    status: answer.status,
    code: answer.code,
    message: `${title(answer)} because ${answer.because}.`,
    reference: answer.reference,
  })}\n`
}

function htmlBody(answer: OwnAnswer): string {
  const heading = escape(title(answer))
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>${answer.status} ${heading}</title>
<style>body{font:16px/1.5 system-ui,sans-serif;max-width:36em;margin:12vh auto;padding:0 1em;color:#1c2430}
h1{font-size:1.4em}code{background:#eef1f5;padding:.2em .4em;border-radius:.3em}</style></head>
<body><h1>${heading}</h1>
<p>${heading} because ${escape(answer.because)}.</p>
<p>Reference: <code>${escape(answer.reference)}</code></p>
<p>Give this reference to your support: it leads to the exact cause.</p></body></html>
`
}

function title(answer: OwnAnswer): string {
  return answer.status >= 500 ? 'The server could not answer' : 'The request was refused'
}

function escape(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;')
}
