// The spans that pages offer, and how a page names the one that was chosen.
import { html, type Html } from '../html.ts'

const HOUR_MS = 3_600_000

/** A span that a page can show. */
export type Span = { readonly id: string; readonly words: string; readonly hours: number }

const DAY: Span = { id: '24h', words: 'the last 24 hours', hours: 24 }

/** Spans in the order of their buttons. */
export const SPANS: readonly Span[] = [
  DAY,
  { id: '7d', words: 'the last 7 days', hours: 168 },
  { id: '30d', words: 'the last 30 days', hours: 720 },
]

/** The span that a query names; the last day when it names none. */
export function spanOf(query: URLSearchParams): Span {
  return SPANS.find(span => span.id === query.get('span')) ?? DAY
}

/** Start of a span: whole hours, the running one included. */
export function sinceOf(span: Span, nowMs: number): number {
  return (Math.floor(nowMs / HOUR_MS) - span.hours + 1) * HOUR_MS
}

/** Links to the same page with each span. @param path path and further query, ending in `?` or `&` */
export function spanLinks(path: string, chosen: Span): Html {
  return html`<nav class="spans" aria-label="Span">
    ${SPANS.map(
      span =>
        html`<a href="${path}span=${span.id}" aria-current="${span === chosen ? 'true' : 'false'}"
          >${span.id}</a
        >`,
    )}
  </nav>`
}
