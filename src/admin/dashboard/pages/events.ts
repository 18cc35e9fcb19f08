// Events: newest first, filtered, followed as they come; and everything that is known under one reference.
import { EVENT_NAMES, sentenceOfRow } from '../../../journal/catalogue.ts'
import type { EventSearch, StoredEvent } from '../../../journal/store-events.ts'
import { CLASSES } from '../../../policy/classes.ts'
import { REASON_NAMES } from '../../../policy/reasons.ts'
import { choiceField, emptyState, exact, facts, panel, table, tableRow, textField } from '../components.ts'
import { html, type Html } from '../html.ts'
import { hasRole } from '../layout.ts'
import { link, type PageRoute } from '../page.ts'
import { cursorOf, readFilter, SPANS, type Filter } from './event-filter.ts'
import { EVENT_COLUMNS, eventRow, severityState } from './event-rows.ts'

/** What these pages need beside the view. */
export type EventSources = {
  /** Sites of the policy, for the choice. */
  readonly sites: () => readonly { readonly id: string; readonly name: string }[]
  /** Resolves when everything reported so far can be read from the store. */
  readonly flush: () => Promise<void>
  readonly clock: () => number
}

const PER_PAGE = 100
const LOOK_MS = 1_500
/** Events may be written a little later than they happened. */
const LATE_MS = 30_000
const MOST_AT_ONCE = 200

/** The routes. */
export function eventRoutes(sources: EventSources): readonly PageRoute[] {
  return [
    {
      method: 'GET',
      path: '/events',
      role: 'viewer',
      reach: 'sites',
      navigation: { group: 'Now', label: 'Events' },
      run: async ({ view, query, nowMs }) => {
        const filter = readFilter(query, nowMs)
        const { problem, values } = filter
        if (values.reference !== '') return { kind: 'redirect', to: link`/references/${values.reference}` }
        await sources.flush()
        const found =
          problem === null
            ? await view.searchEvents({ ...filter.query, limit: PER_PAGE })
            : { events: [], olderMs: null }
        const sites = sources.sites().filter(({ id }) => view.sees(id))
        return {
          kind: 'page',
          title: 'Events',
          ...(problem === null ? {} : { status: 400 }),
          modules: ['live-events.js'],
          body: html`${problem === null ? null : html`<p class="problem" role="alert">${problem}</p>`}
          ${filterForm(filter, sites)} ${resultList(filter, found, nowMs)}`,
        }
      },
    },
    {
      method: 'GET',
      path: '/events/stream',
      role: 'viewer',
      reach: 'sites',
      run: ({ view, query, nowMs }) => {
        const filter = readFilter(query, nowMs)
        const given = cursorOf(query.get('after'))
        if (filter.problem !== null || given === null)
          return {
            kind: 'page',
            title: 'Events',
            status: 400,
            body: html`<p>This filter cannot be followed.</p>`,
          }
        return {
          kind: 'stream',
          follow: (send, signal) => {
            let cursor = given
            const look = async (): Promise<void> => {
              const { sinceMs, untilMs: _untilMs, ...rest } = filter.query
              const found = await view.findEvents({
                ...rest,
                sinceMs: Math.max(sinceMs ?? 0, cursor.timeMs - LATE_MS),
                limit: MOST_AT_ONCE,
              })
              const fresh = found.filter(({ id }) => id > cursor.id)
              const newest = fresh[0]
              if (newest === undefined) return
              cursor = {
                id: Math.max(...fresh.map(({ id }) => id)),
                timeMs: Math.max(cursor.timeMs, newest.timeMs),
              }
              const clockMs = sources.clock()
              send(
                'rows',
                fresh.map(event => tableRow(EVENT_COLUMNS, eventRow(event, clockMs)).toString()).join(''),
              )
            }
            let isLooking = false
            const timer = setInterval(() => {
              // A store that is slow or gone for a moment is asked again; nobody asks twice at once.
              if (isLooking) return
              isLooking = true
              look()
                .catch(() => undefined)
                .finally(() => {
                  isLooking = false
                })
            }, LOOK_MS)
            timer.unref()
            signal.addEventListener('abort', () => clearInterval(timer), { once: true })
          },
        }
      },
    },
    {
      method: 'GET',
      path: '/references/:reference',
      role: 'viewer',
      reach: 'sites',
      run: async ({ view, params }) => {
        const reference = (params['reference'] ?? '').toUpperCase().slice(0, 40)
        await sources.flush()
        const found = await view.eventsByReference(reference)
        if (found.length === 0) {
          return {
            kind: 'page',
            status: 404,
            title: `Reference ${reference}`,
            body: emptyState(
              'Nothing is known under this reference.',
              'It may be mistyped, older than what the journal keeps, or of a site that you do not see.',
            ),
          }
        }
        return {
          kind: 'page',
          title: `Reference ${reference}`,
          body: html`${found.map(eventPanel)}
            <p class="dim">
              On the gate’s machine, <code>bin/diagnose ${reference}</code> says the cause and the exact fix.
            </p>
            ${
              hasRole(view.operator, 'support') && found.some(({ address }) => address !== null)
                ? html`<p>
                    <a href="${link`/exceptions/${reference}`}">The narrowest exception for this</a>
                  </p>`
                : null
            }`,
        }
      },
    },
  ]
}

function filterForm(
  { values, isNarrow }: Filter,
  sites: readonly { readonly id: string; readonly name: string }[],
): Html {
  const any = ['', 'any'] as const
  return html`<form method="get" action="/events" class="panel" role="search" aria-label="Filter events">
    <div class="fields">
      ${textField('Address or range', 'address', { value: values.address, maxLength: 60, type: 'search' })}
      ${textField('Reference', 'reference', { value: values.reference, maxLength: 40, type: 'search' })}
      ${choiceField(
        'At least as loud as',
        'severity',
        [any, ['info', 'info'], ['warning', 'warning'], ['error', 'error']],
        values.severity,
      )}
      ${choiceField('Site', 'site', [any, ...sites.map(({ id, name }) => [id, name === id ? id : `${id} (${name})`] as const)], values.site)}
      ${choiceField('Event', 'name', [any, ...EVENT_NAMES.map(name => [name, name] as const)], values.name)}
      ${choiceField('Reason', 'reason', [any, ...REASON_NAMES.map(name => [name, name] as const)], values.reason)}
      ${choiceField('Class', 'class', [any, ...CLASSES.map(name => [name, name] as const)], values.class)}
      ${choiceField('Span', 'since', SPANS, values.since)}
    </div>
    <div class="buttons">
      <button class="primary">Filter</button>
      ${isNarrow ? html`<a href="/events">Show everything</a>` : null}
    </div>
  </form>`
}

function resultList(filter: Filter, { events: found, olderMs }: EventSearch, nowMs: number): Html {
  const newest = found[0]
  const oldest = found.at(-1)
  const params = new URLSearchParams(filter.search)
  params.set(
    'after',
    newest === undefined ? `${nowMs}-0` : `${nowMs}-${Math.max(...found.map(({ id }) => id))}`,
  )
  const isLive = filter.problem === null && filter.query.untilMs === undefined
  const older = new URLSearchParams(filter.search)
  // The last moment once more: more events may have happened in it than were shown.
  if (oldest !== undefined)
    older.set('until', String(oldest.timeMs === newest?.timeMs ? oldest.timeMs : oldest.timeMs + 1))
  const rows = found.map(event => eventRow(event, nowMs))
  return panel(
    isLive ? 'Newest first' : 'Older events',
    html`${
      found.length > 0
        ? null
        : html`<div id="no-events">
            ${emptyState(
              olderMs === null ? 'Nothing matches.' : 'Nothing matches among the newest events.',
              olderMs !== null
                ? 'Older ones were not looked at yet.'
                : filter.isNarrow
                  ? html`<a href="/events">Show everything</a>, or choose a longer span.`
                  : 'Events appear here as soon as something connects, is refused or changes.',
            )}
          </div>`
    }
    ${table('Events, newest first', EVENT_COLUMNS, rows, { id: 'events' })}
    ${
      found.length < PER_PAGE
        ? null
        : html`<p><a href="/events?${older.toString()}" rel="next">Older events</a></p>`
    }
    ${
      olderMs === null
        ? null
        : html`<p>
            Searched back to ${exact(olderMs)}.
            <a href="/events?${olderSearch(filter, olderMs)}" rel="next">Search older events</a>
          </p>`
    }`,
    isLive
      ? html`<span id="live" data-stream="/events/stream?${params.toString()}" hidden
          ><span id="live-state" role="status"></span>
          <button type="button" class="quiet" id="live-pause">Pause</button></span
        >`
      : html`<a href="/events?${newestSearch(filter)}">Newest</a>`,
  )
}

function olderSearch({ search }: Filter, untilMs: number): string {
  const params = new URLSearchParams(search)
  params.set('until', String(untilMs))
  return params.toString()
}

function newestSearch({ search }: Filter): string {
  const params = new URLSearchParams(search)
  params.delete('until')
  return params.toString()
}

/** One event with all of its fields. */
function eventPanel(event: StoredEvent): Html {
  const { name, severity, timeMs, address, site } = event
  const links = [
    site === null ? null : html`<a href="${link`/sites/${site}`}">Site ${site}</a>`,
    address === null
      ? null
      : html`<a href="${link`/events?address=${address}`}">Everything from ${address}</a>`,
  ]
  return panel(
    name,
    html`<p>${sentenceOfRow(name, event.fields) ?? name}</p>
      ${facts([
        ['When', exact(timeMs)],
        ['Level', severityState(severity)],
        ...Object.entries(event.fields).map(([field, value]) => [field, fieldText(value)] as const),
      ])}
      <p class="buttons">${links}</p>`,
  )
}

function fieldText(value: unknown): Html | string {
  if (value === null || value === '') return html`<span class="dim">none</span>`
  if (typeof value === 'string' || typeof value === 'number') return String(value)
  if (typeof value === 'boolean') return value ? 'yes' : 'no'
  if (Array.isArray(value) && value.every(entry => typeof entry === 'string')) return value.join(', ')
  const text = JSON.stringify(value, null, 1)
  return text.length < 80
    ? html`<code>${JSON.stringify(value)}</code>`
    : html`<pre tabindex="0">${text}</pre>`
}
