// One rule: what it matches, what it has hit and where, and the way from "this is a false positive" to the narrowest exception.
import type { RuleHit, RuleInfo } from '../../../ips/rule-set.ts'
import type { RuleDetail } from '../../../journal/store-rule-hits.ts'
import type { RuleSum } from '../../../journal/traffic-facts.ts'
import type { StoredEvent } from '../../../journal/store-events.ts'
import { hasRole } from '../layout.ts'
import {
  ago,
  counted,
  emptyState,
  exact,
  facts,
  figure,
  numberText,
  panel,
  state,
  table,
} from '../components.ts'
import { html, type Html } from '../html.ts'
import { link, type PageRoute } from '../page.ts'
import { timelineChart } from './charts.ts'
import { modeState } from './rules.ts'
import { scopeOf } from './scope.ts'
import type { PageSources } from './sources.ts'
import { sinceOf, SPANS, type Span } from './span.ts'
import { stepLabel } from './world.ts'

const HOUR_MS = 3_600_000
/** Places and sources that are listed. */
const SHOWN = 15
const WEEK: Span = SPANS[1] ?? { id: '7d', words: 'the last 7 days', hours: 168 }

/** The page of a rule. */
export function ruleRoutes(sources: PageSources): readonly PageRoute[] {
  return [
    {
      method: 'GET',
      path: '/rules/:rule',
      role: 'viewer',
      reach: 'sites',
      run: async ({ view, params, nowMs }) => {
        const rule = sources.snapshot().rules.rules.find(entry => entry.id === params['rule'])
        if (rule === undefined) return noSuchRule()
        const sinceMs = sinceOf(WEEK, nowMs)
        const scope = scopeOf(view)
        const [detail, hours, text] = await Promise.all([
          sources.ask('ruleDetail', rule.id, sinceMs, scope),
          sources.ask('ruleHours', rule.id, sinceMs, scope),
          sources.ruleText(rule),
        ])
        return {
          kind: 'page',
          title: rule.title,
          body: ruleView({
            rule,
            detail,
            hours,
            text,
            mayExcept: hasRole(view.operator, 'support'),
            nowMs,
          }),
        }
      },
    },
  ]
}

/** Answer for a rule that is not in use. */
export function noSuchRule() {
  return {
    kind: 'page',
    title: 'No such rule',
    status: 404,
    body: emptyState('No rule of that name is in use.', html`See <a href="/rules?show=all">all rules</a>.`),
  } as const
}

/** What the page shows. */
export type RuleData = {
  readonly rule: RuleInfo
  readonly detail: RuleDetail
  readonly hours: readonly RuleSum[]
  readonly text: string | null
  readonly mayExcept: boolean
  readonly nowMs: number
}

/** The page. */
export function ruleView({ rule, detail, hours, text, mayExcept, nowMs }: RuleData): Html {
  const refused = total(hours, entry => entry.refused)
  const detected = total(hours, entry => entry.detected)
  const known = detail.sources.filter(source => source.knownAgent).length
  return html`
    <div class="bar">
      <p><a href="/rules">Rules</a> / ${rule.id} ${modeState(rule)}</p>
    </div>
    <div class="figures">
      ${figure('Refused', numberText(refused), WEEK.words)}
      ${figure('Recorded only', numberText(detected), WEEK.words)}
      ${figure(
        'Known agents among its sources',
        numberText(known),
        known === 0 ? 'of those on record' : state('bad', 'probably a false positive'),
      )}
    </div>
    ${panel('When', chart(hours, rule, nowMs))}
    ${panel(
      'Where',
      detail.places.length === 0 ? emptyState('It has hit nothing in this time.') : placeTable(detail, nowMs),
    )}
    ${panel(
      'Who',
      detail.sources.length === 0
        ? emptyState('It has hit nobody in this time.')
        : sourceTable(detail, nowMs),
    )}
    ${panel(
      'Examples',
      detail.examples.length === 0
        ? emptyState('No hit is on record.')
        : exampleTable(detail.examples, rule, mayExcept, nowMs),
    )}
    ${panel(
      'What it matches',
      html`${facts([
        ['Id', html`<code>${rule.id}</code>`],
        ['Severity', rule.severity],
        [
          'Action',
          rule.action === 'block' ? 'refuses by itself' : 'gives points to the score of the request',
        ],
        ['Looks at', rule.phase],
        ['Pack', rule.pack],
        ['Tags', rule.tags.length === 0 ? '–' : rule.tags.join(', ')],
        ['References', rule.refs.length === 0 ? '–' : rule.refs.join(', ')],
        ['Stated at', html`<code>${rule.at.file}:${rule.at.line}</code>`],
      ])}
      ${text === null ? null : html`<pre class="yaml" tabindex="0" aria-label="The rule as its file states it"><code>${text}</code></pre>`}`,
    )}
    ${
      rule.exceptions.length === 0
        ? null
        : panel(
            'Exceptions',
            table(
              'Exceptions from this rule',
              [{ head: 'Reason', long: true }, { head: 'Ends', short: true }, { head: 'Stated at' }],
              rule.exceptions.map(entry => [
                html`${entry.reason} <span class="dim">${entry.owner}</span>`,
                exact(entry.expiresMs),
                html`<code>${entry.at.file}:${entry.at.line}</code>`,
              ]),
            ),
          )
    }
    ${
      detail.complete && detail.places.length <= SHOWN && detail.sources.length <= SHOWN
        ? null
        : html`<p class="dim">
            Where, who and examples show the most frequent ones of the newest ${counted(detail.read, 'hit')}.
          </p>`
    }
  `
}

function chart(hours: readonly RuleSum[], rule: RuleInfo, nowMs: number): Html {
  const first = Math.floor(sinceOf(WEEK, nowMs) / HOUR_MS)
  const steps = Array.from({ length: WEEK.hours }, (_, index) => ({
    label: stepLabel((first + index) * HOUR_MS, WEEK),
    admitted: 0,
    refused: 0,
  }))
  for (const entry of hours) {
    const step = steps[entry.hour - first]
    if (step === undefined) continue
    step.admitted += entry.detected
    step.refused += entry.refused
  }
  return timelineChart(
    steps,
    `Hits of ${rule.id} in ${WEEK.words}: ${counted(
      total(hours, entry => entry.detected),
      'recorded only',
      'recorded only',
    )}, ${counted(
      total(hours, entry => entry.refused),
      'refused',
      'refused',
    )}`,
    { above: 'recorded only', below: 'refused' },
  )
}

function placeTable({ places }: RuleDetail, nowMs: number): Html {
  return table(
    'Where the rule has hit: site, path and field',
    [
      { head: 'Site' },
      { head: 'Class' },
      { head: 'Path', long: true },
      { head: 'Field' },
      { head: 'Hits', numeric: true },
      { head: 'Last', short: true },
    ],
    places
      .slice(0, SHOWN)
      .map(place => [
        place.site === null
          ? html`<span class="dim">no site</span>`
          : html`<a href="${link`/sites/${place.site}`}">${place.site}</a>`,
        place.class ?? '–',
        html`<code>${place.host}${place.path}</code>`,
        html`<code>${place.field}</code>`,
        numberText(place.hits),
        ago(place.lastMs, nowMs),
      ]),
  )
}

function sourceTable({ sources }: RuleDetail, nowMs: number): Html {
  return table(
    'Sources that the rule has hit',
    [
      { head: 'Address', short: true },
      { head: 'Site' },
      { head: 'Known agent', short: true },
      { head: 'Hits', numeric: true },
      { head: 'Last', short: true },
    ],
    sources
      .slice(0, SHOWN)
      .map(source => [
        html`<a href="${link`/addresses/${source.address}`}">${source.address}</a>`,
        source.site ?? html`<span class="dim">no site</span>`,
        source.knownAgent ? state('bad', 'checks in as an agent') : state('idle', 'stranger'),
        numberText(source.hits),
        ago(source.lastMs, nowMs),
      ]),
  )
}

function exampleTable(
  examples: readonly StoredEvent[],
  rule: RuleInfo,
  mayExcept: boolean,
  nowMs: number,
): Html {
  return table(
    'Newest hits, secrets redacted',
    [
      { head: 'When', short: true },
      { head: 'Client', short: true },
      { head: 'Request', long: true },
      { head: 'Matched', long: true },
      { head: 'What came of it', short: true },
      ...(mayExcept ? [{ head: 'False positive?' }] : []),
    ],
    examples.map(event => {
      const hit = hitOf(event, rule.id)
      return [
        ago(event.timeMs, nowMs),
        html`${event.address ?? '–'} <span class="dim">${event.site}</span>`,
        html`<code
          >${text(event.fields['method'])} ${text(event.fields['host'])}${text(event.fields['path'])}</code
        >`,
        html`<code>${text(hit?.field)}</code>: <code>${text(hit?.value)}</code>`,
        event.reason === null ? state('idle', 'recorded only') : state('bad', 'refused'),
        event.reference === null
          ? '–'
          : html`<a href="${link`/rules/${rule.id}/false-positive/${event.reference}`}"
              >Except<span class="unseen"> what ${event.reference} was about</span></a
            >`,
      ]
    }),
  )
}

/** The hit of a rule in an event; fields of events that were stored long ago may be missing. */
export function hitOf({ fields }: StoredEvent, ruleId: string): Partial<RuleHit> | undefined {
  const { hit, hits } = fields
  const list: readonly unknown[] = Array.isArray(hits) ? hits : [hit]
  return list.find(
    (entry): entry is Partial<RuleHit> =>
      typeof entry === 'object' && entry !== null && 'ruleId' in entry && entry.ruleId === ruleId,
  )
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : ''
}

function total<T>(entries: readonly T[], value: (entry: T) => number): number {
  let sum = 0
  for (const entry of entries) sum += value(entry)
  return sum
}
