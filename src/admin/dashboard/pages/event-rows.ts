// Events as rows of a table, the same on every page.
import { sentenceOfRow } from '../../../journal/catalogue.ts'
import type { Severity } from '../../../journal/events.ts'
import type { StoredEvent } from '../../../journal/store-events.ts'
import { ago, state, type Column, type Tone } from '../components.ts'
import { html, type Content, type Html } from '../html.ts'
import { link } from '../page.ts'

/** Columns of such a table. */
export const EVENT_COLUMNS: readonly Column[] = [
  { head: 'When', short: true },
  { head: 'Level', short: true },
  { head: 'What happened', long: true },
  { head: 'Site', short: true },
  { head: 'Address', short: true },
  { head: 'Reference', short: true },
]

const TONES: Readonly<Record<Severity, Tone>> = { debug: 'idle', info: 'idle', warning: 'warn', error: 'bad' }

/** How loud an event is, as mark and word. */
export function severityState(severity: Severity): Html {
  return state(TONES[severity], severity)
}

/** The cells of one event. */
export function eventRow(event: StoredEvent, nowMs: number): readonly Content[] {
  const { timeMs, severity, name, site, address, reference, fields } = event
  return [
    ago(timeMs, nowMs),
    severityState(severity),
    html`${sentenceOfRow(name, fields) ?? name} <span class="dim name">${name}</span>`,
    site === null ? null : html`<a href="${link`/events?site=${site}`}">${site}</a>`,
    address === null ? null : html`<a class="code" href="${link`/events?address=${address}`}">${address}</a>`,
    reference === null
      ? null
      : html`<a class="code" href="${link`/references/${reference}`}">${reference}</a>`,
  ]
}
