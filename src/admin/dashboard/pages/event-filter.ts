// The filter of the events page: read from the address, checked, and written back into links.
import { EVENT_NAMES, SEVERITIES } from '../../../journal/catalogue.ts'
import type { EventQuery } from '../../../journal/store-events.ts'
import { parseCidr } from '../../../net/cidr.ts'
import { CLASSES } from '../../../policy/classes.ts'
import { REASON_NAMES } from '../../../policy/reasons.ts'

const KEYS = ['address', 'reference', 'severity', 'site', 'name', 'reason', 'class', 'since'] as const

type Key = (typeof KEYS)[number]

/** A filter as it was asked for. */
export type Filter = {
  /** As typed, for the form. */
  readonly values: Readonly<Record<Key, string>>
  readonly query: Omit<EventQuery, 'limit'>
  /** As a query string, for links. */
  readonly search: string
  /** Whether it leaves anything out. */
  readonly isNarrow: boolean
  /** What is wrong with it; null: nothing. */
  readonly problem: string | null
}

const HOUR_MS = 3_600_000

/** Spans to choose from. */
export const SPANS: readonly (readonly [string, string])[] = [
  ['', 'all that is kept'],
  ['1h', 'last hour'],
  ['24h', 'last 24 hours'],
  ['7d', 'last 7 days'],
  ['30d', 'last 30 days'],
]
const SPAN_HOURS: ReadonlyMap<string, number> = new Map([
  ['1h', 1],
  ['24h', 24],
  ['7d', 168],
  ['30d', 720],
])

/** Reads a filter. Unknown keys are left alone. */
export function readFilter(query: URLSearchParams, nowMs: number): Filter {
  const value = (key: Key): string => (query.get(key) ?? '').trim().slice(0, 200)
  const values: Readonly<Record<Key, string>> = {
    address: value('address'),
    reference: value('reference').toUpperCase(),
    severity: value('severity'),
    site: value('site'),
    name: value('name'),
    reason: value('reason'),
    class: value('class'),
    since: value('since'),
  }
  const range = values.address === '' ? null : parseCidr(values.address)
  const severity = SEVERITIES.find(entry => entry === values.severity)
  const hours = SPAN_HOURS.get(values.since)
  const until = Number(query.get('until') ?? '')
  const hasUntil = Number.isSafeInteger(until) && until > 0
  const search = new URLSearchParams()
  for (const key of KEYS) if (values[key] !== '') search.set(key, values[key])
  if (hasUntil) search.set('until', String(until))
  return {
    values,
    search: search.toString(),
    isNarrow: KEYS.some(key => values[key] !== ''),
    problem: problemOf(values, range),
    query: {
      ...(hours === undefined ? {} : { sinceMs: nowMs - hours * HOUR_MS }),
      ...(hasUntil ? { untilMs: until } : {}),
      ...(severity === undefined ? {} : { minimumSeverity: severity }),
      ...(values.site === '' ? {} : { site: values.site }),
      ...(values.name === '' ? {} : { name: values.name }),
      ...(values.reason === '' ? {} : { reason: values.reason }),
      ...(values.class === '' ? {} : { class: values.class }),
      ...(range === null || typeof range === 'string' ? {} : { range }),
    },
  }
}

function problemOf(
  values: Readonly<Record<Key, string>>,
  range: ReturnType<typeof parseCidr> | null,
): string | null {
  if (typeof range === 'string') {
    return range === 'host-bits'
      ? `${values.address} is an address inside a range: write the first address of the range, or leave the /prefix out.`
      : `${values.address} is not an address or range. Write 203.0.113.7 or 203.0.113.0/24.`
  }
  const known = (word: string, words: readonly string[], what: string): string | null =>
    word === '' || words.includes(word) ? null : `There is no ${what} ${word}.`
  return (
    known(values.severity, SEVERITIES, 'level') ??
    known(values.name, EVENT_NAMES, 'event') ??
    known(values.reason, REASON_NAMES, 'reason') ??
    known(values.class, CLASSES, 'class') ??
    known(values.since, [...SPAN_HOURS.keys()], 'span')
  )
}

/** Where a follower stands: the newest event that it has. */
export type Cursor = { readonly timeMs: number; readonly id: number }

/** Reads `<time>-<id>`; null when it is none. */
export function cursorOf(text: string | null): Cursor | null {
  const match = /^(\d{1,15})-(\d{1,15})$/.exec(text ?? '')
  return match === null ? null : { timeMs: Number(match[1]), id: Number(match[2]) }
}
