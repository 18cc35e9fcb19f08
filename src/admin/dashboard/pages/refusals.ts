// Events of clients as a table: when, who, what was asked, why it was refused and what to do about it.
import { sentenceOfRow } from '../../../journal/catalogue.ts'
import type { StoredEvent } from '../../../journal/store-events.ts'
import { REASONS, type Reason } from '../../../policy/reasons.ts'
import { ago, table } from '../components.ts'
import { html, type Html } from '../html.ts'
import { link } from '../page.ts'

/** Whether a text is one of the closed set of reasons. */
export function isReason(text: string): text is Reason {
  return Object.hasOwn(REASONS, text)
}

/** The table. Reasons come with their remedy; references lead to the event itself. */
export function refusalTable(events: readonly StoredEvent[], nowMs: number): Html {
  return table(
    'Events, the newest first',
    [
      { head: 'When', short: true },
      { head: 'Client', short: true },
      { head: 'What', long: true },
      { head: 'Why, and what to do', long: true },
      { head: 'Reference', short: true },
    ],
    events.map(event => [
      ago(event.timeMs, nowMs),
      html`${event.address === null ? '–' : html`<a href="${link`/addresses/${event.address}`}">${event.address}</a>`}
      ${event.site === null ? null : html`<span class="dim">${event.site}</span>`}`,
      whatOf(event),
      whyOf(event),
      event.reference === null
        ? '–'
        : html`<a class="code" href="${link`/references/${event.reference}`}">${event.reference}</a>`,
    ]),
  )
}

function whatOf({ name, fields }: StoredEvent): Html | string {
  const { method, host, path } = fields
  if (typeof method !== 'string' || method === '') return name
  return html`<code>${method} ${wordOf(host)}${wordOf(path)}</code>`
}

function whyOf({ name, reason, fields }: StoredEvent): Html | string {
  if (reason !== null && isReason(reason)) {
    const { because, remedy } = REASONS[reason]
    const saw = wordOf(fields['saw'])
    return html`${because}${saw === '' ? '' : ` (${saw})`}. <span class="dim">${remedy}</span>`
  }
  return sentenceOfRow(name, fields) ?? name
}

function wordOf(value: unknown): string {
  return typeof value === 'string' ? value : ''
}
