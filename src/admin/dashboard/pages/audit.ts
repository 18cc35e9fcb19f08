// The audit log: who logged in, what was changed by whom, and what was refused.
import { sentenceOfRow } from '../../../journal/catalogue.ts'
import type { EventName } from '../../../journal/events.ts'
import type { StoredEvent } from '../../../journal/store-events.ts'
import { ago, choiceField, emptyState, panel, table, textField } from '../components.ts'
import { html } from '../html.ts'
import type { GetRoute } from '../page.ts'
import { severityState } from './event-rows.ts'

/** Events of the audit log: what operators do, wherever they do it. */
const NAMES: readonly EventName[] = [
  'dashboard.changed',
  'dashboard.refused',
  'dashboard.login',
  'dashboard.login-refused',
  'dashboard.session-ended',
  'ban.added',
  'ban.removed',
  'allow.added',
  'allow.removed',
  'policy.loaded',
  'policy.rolled-back',
]
const PER_PAGE = 100

/** The route. */
export function auditRoute(flush: () => Promise<void>): GetRoute {
  return {
    method: 'GET',
    path: '/audit',
    role: 'admin',
    reach: 'gate',
    navigation: { group: 'Gate', label: 'Audit log' },
    run: async ({ view, query, nowMs }) => {
      const name = NAMES.find(entry => entry === query.get('name'))
      const who = (query.get('who') ?? '').trim().slice(0, 64)
      const until = Number(query.get('until') ?? '')
      const hasUntil = Number.isSafeInteger(until) && until > 0
      await flush()
      const answers = await Promise.all(
        (name === undefined ? NAMES : [name]).map(wanted =>
          view.findEvents({
            name: wanted,
            // Whoever looks for one person needs more rows to find theirs among them.
            limit: who === '' ? PER_PAGE : 1_000,
            ...(hasUntil ? { untilMs: until } : {}),
          }),
        ),
      )
      const found = answers
        .flat()
        .filter(event => who === '' || whoOf(event) === who)
        .sort((a, b) => b.timeMs - a.timeMs || b.id - a.id)
      const shown = found.slice(0, PER_PAGE)
      const oldest = shown.at(-1)
      const older = new URLSearchParams({
        ...(name === undefined ? {} : { name }),
        ...(who === '' ? {} : { who }),
        until: String(oldest?.timeMs ?? 0),
      })
      return {
        kind: 'page',
        title: 'Audit log',
        body: html`<form
            method="get"
            action="/audit"
            class="panel"
            role="search"
            aria-label="Filter the audit log"
          >
            <div class="fields">
              ${textField('Operator', 'who', { value: who, maxLength: 64, type: 'search' })}
              ${choiceField('What', 'name', [['', 'everything'], ...NAMES.map(entry => [entry, entry] as const)], name)}
            </div>
            <div class="buttons"><button class="primary">Filter</button></div>
          </form>
          ${panel(
            'Newest first',
            shown.length === 0
              ? emptyState('Nothing matches.')
              : html`${table(
                  'Audit log, newest first',
                  [
                    { head: 'When', short: true },
                    { head: 'Level', short: true },
                    { head: 'Who', short: true },
                    { head: 'What happened', long: true },
                  ],
                  shown.map(event => [
                    ago(event.timeMs, nowMs),
                    severityState(event.severity),
                    whoOf(event),
                    sentenceOfRow(event.name, event.fields) ?? event.name,
                  ]),
                )}
                ${found.length > PER_PAGE ? html`<p><a href="/audit?${older.toString()}" rel="next">Older</a></p>` : null}`,
          )}`,
      }
    },
  }
}

function whoOf({ fields }: StoredEvent): string {
  const who = fields['operator'] ?? fields['owner'] ?? fields['who']
  return typeof who === 'string' ? who : ''
}
