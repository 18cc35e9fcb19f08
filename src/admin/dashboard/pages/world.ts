// The world: which countries traffic came from, what was admitted and what refused; and one page per country.
import type { StoredEvent } from '../../../journal/store-events.ts'
import type { CountryTraffic, TrafficStep } from '../../../journal/store-traffic.ts'
import { counted, emptyState, exact, figure, numberText, panel, table } from '../components.ts'
import { html, type Html } from '../html.ts'
import { link, type PageRoute } from '../page.ts'
import { timelineChart } from './charts.ts'
import { refusalTable } from './refusals.ts'
import { scopeOf } from './scope.ts'
import type { PageSources } from './sources.ts'
import { sinceOf, spanLinks, spanOf, type Span } from './span.ts'
import { worldMap } from './world-map.ts'
import { countryName, TILES } from './world-tiles.ts'

/** Pages of the world. */
export function worldRoutes(sources: PageSources): readonly PageRoute[] {
  return [
    {
      method: 'GET',
      path: '/world',
      role: 'viewer',
      reach: 'sites',
      navigation: { group: 'Now', label: 'World' },
      run: async ({ view, query, nowMs }) => {
        const span = spanOf(query)
        const sinceMs = sinceOf(span, nowMs)
        const [traffic, countedSinceMs] = await Promise.all([
          sources.ask('trafficByCountry', sinceMs, scopeOf(view)),
          sources.ask('countedSinceMs'),
        ])
        return { kind: 'page', title: 'World', body: worldView({ traffic, span, sinceMs, countedSinceMs }) }
      },
    },
    {
      method: 'GET',
      path: '/world/:country',
      role: 'viewer',
      reach: 'sites',
      run: async ({ view, query, params, nowMs }) => {
        const country = params['country'] ?? ''
        const span = spanOf(query)
        const sinceMs = sinceOf(span, nowMs)
        const [steps, events] = await Promise.all([
          sources.ask('timeline', {
            sinceMs,
            untilMs: nowMs,
            step: span.hours > 168 ? 'day' : 'hour',
            sites: scopeOf(view),
            country,
          }),
          view.findEvents({ country, sinceMs, limit: 50 }),
        ])
        return {
          kind: 'page',
          title: countryName(country),
          body: countryView({ country, span, steps, events, nowMs }),
        }
      },
    },
  ]
}

/** What the map shows. */
export type WorldData = {
  readonly traffic: readonly CountryTraffic[]
  readonly span: Span
  readonly sinceMs: number
  /** Null: nothing was ever counted. */
  readonly countedSinceMs: number | null
}

/** The map, its legend, and the table that says the same. */
export function worldView({ traffic, span, sinceMs, countedSinceMs }: WorldData): Html {
  const admitted = total(traffic, entry => entry.admitted + entry.failed)
  const refused = total(traffic, entry => entry.refused)
  const onMap = new Set(TILES.map(tile => tile.code))
  const offMap = traffic.filter(entry => !onMap.has(entry.country))
  return html`
    <div class="bar">
      <p>Where connections and requests came from in ${span.words}.</p>
      ${spanLinks('/world?', span)}
    </div>
    ${countedSinceMs !== null && countedSinceMs > sinceMs ? html`<p class="dim">Counted since ${exact(countedSinceMs)}.</p>` : null}
    <div class="figures">
      ${figure('Admitted', numberText(admitted), counted(traffic.filter(entry => entry.admitted + entry.failed > 0).length, 'country', 'countries'))}
      ${figure('Refused', numberText(refused), counted(traffic.filter(entry => entry.refused > 0).length, 'country', 'countries'))}
    </div>
    ${
      traffic.length === 0
        ? emptyState(
            'Nothing has arrived in this time.',
            'As soon as clients connect, their countries appear here.',
          )
        : html`
            <p class="legend">
              <span class="key"
                ><span class="dotmark" aria-hidden="true"></span> a dot: something was admitted</span
              >
              <span class="key"
                ><span class="crossmark" aria-hidden="true">×</span> a cross: something was refused</span
              >
              <span class="key">Larger marks: more.</span>
              <a href="#countries">The same as a table</a>
            </p>
            ${worldMap(traffic, span.id)}
            ${offMap.length === 0 ? null : html`<p class="dim">Not on the map: ${offMap.map((entry, index) => html`${index === 0 ? '' : ', '}<a href="${link`/world/${entry.country}`}?span=${span.id}">${countryName(entry.country)}</a>`)}.</p>`}
            <h2 id="countries">Countries</h2>
            ${table(
              'Countries with the numbers of admitted and refused requests and connections',
              [
                { head: 'Country' },
                { head: 'Admitted', numeric: true },
                { head: 'Ended badly', numeric: true },
                { head: 'Refused', numeric: true },
                { head: 'Share refused', numeric: true },
              ],
              traffic.map(entry => [
                html`<a href="${link`/world/${entry.country}`}?span=${span.id}"
                    >${countryName(entry.country)}</a
                  >
                  <span class="dim">${entry.country}</span>`,
                numberText(entry.admitted),
                numberText(entry.failed),
                numberText(entry.refused),
                share(entry),
              ]),
            )}
          `
    }
  `
}

/** What one country's page shows. */
export type CountryData = {
  readonly country: string
  readonly span: Span
  readonly steps: readonly TrafficStep[]
  readonly events: readonly StoredEvent[]
  readonly nowMs: number
}

/** The page of one country. */
function countryView({ country, span, steps, events, nowMs }: CountryData): Html {
  const admitted = total(steps, step => step.admitted + step.failed)
  const refused = total(steps, step => step.refused)
  return html`
    <div class="bar">
      <p><a href="/world?span=${span.id}">World</a> / ${countryName(country)} in ${span.words}</p>
      ${spanLinks(`${link`/world/${country}`}?`, span)}
    </div>
    <div class="figures">
      ${figure('Admitted', numberText(admitted))} ${figure('Refused', numberText(refused))}
    </div>
    ${panel(
      'When',
      timelineChart(
        steps.map(step => ({
          label: stepLabel(step.fromMs, span),
          admitted: step.admitted + step.failed,
          refused: step.refused,
        })),
        `${countryName(country)} in ${span.words}: ${counted(admitted, 'admitted', 'admitted')}, ${counted(refused, 'refused', 'refused')}`,
      ),
    )}
    ${panel(
      'Newest events',
      events.length === 0
        ? emptyState('No event of this country is on record in this time.')
        : refusalTable(events, nowMs),
    )}
  `
}

/** `14:00` within a day, `21 Nov` beyond. */
export function stepLabel(timeMs: number, span: Span): string {
  const iso = new Date(timeMs).toISOString()
  if (span.hours <= 24) return iso.slice(11, 16)
  return `${iso.slice(5, 10)}${span.hours <= 168 ? ` ${iso.slice(11, 16)}` : ''}`
}

function share({ admitted, failed, refused }: CountryTraffic): string {
  const all = admitted + failed + refused
  if (refused === 0 || all === 0) return '–'
  const percent = Math.round((100 * refused) / all)
  return percent === 0 ? '< 1 %' : `${percent} %`
}

function total<T>(entries: readonly T[], value: (entry: T) => number): number {
  let sum = 0
  for (const entry of entries) sum += value(entry)
  return sum
}
