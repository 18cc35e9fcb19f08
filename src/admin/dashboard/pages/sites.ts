// The list of sites: how each is, what came from it in the last day, and when it was last let through.
import type { SiteSeen, SiteTraffic } from '../../../journal/store-traffic.ts'
import { slowestCheckIn } from '../../../policy/check-in.ts'
import type { Site } from '../../../policy/snapshot.ts'
import {
  ago,
  choiceField,
  counted,
  emptyState,
  figure,
  numberText,
  state,
  table,
  textField,
} from '../components.ts'
import { html, type Html } from '../html.ts'
import { link, type PageRoute } from '../page.ts'
import { sparkline } from './charts.ts'
import { scopeOf } from './scope.ts'
import { byHealth, siteHealth, type SiteHealth } from './site-health.ts'
import type { PageSources } from './sources.ts'

const HOURS = 24
const PER_PAGE = 100

/** Orders of the list. */
const ORDERS = [
  ['state', 'state, worst first'],
  ['name', 'name'],
  ['refused', 'most refused'],
  ['admitted', 'most admitted'],
  ['last', 'longest not seen'],
] as const

type Order = (typeof ORDERS)[number][0]

/** The list of sites. */
export function sitesRoutes(sources: PageSources): readonly PageRoute[] {
  return [
    {
      method: 'GET',
      path: '/sites',
      role: 'viewer',
      reach: 'sites',
      navigation: { group: 'Customers', label: 'Sites' },
      run: async ({ view, query, nowMs }) => {
        const scope = scopeOf(view)
        const [traffic, seen] = await Promise.all([
          sources.ask('trafficBySite', nowMs, HOURS, scope),
          sources.ask('sitesSeen', scope),
        ])
        return {
          kind: 'page',
          title: 'Sites',
          body: sitesView({
            rows: siteRows(
              sources.snapshot().sites.filter(site => view.sees(site.id)),
              traffic,
              seen,
              nowMs,
              slowestCheckIn(sources.snapshot()),
            ),
            outside: view.sees(null) ? (traffic.find(entry => entry.site === null) ?? null) : null,
            search: (query.get('q') ?? '').slice(0, 100),
            order: ORDERS.find(([id]) => id === query.get('sort'))?.[0] ?? 'state',
            onlyUnwell: query.get('only') === 'unwell',
            page: Number(query.get('page') ?? 1),
            nowMs,
          }),
        }
      },
    },
  ]
}

/** One site of the list. */
export type SiteRow = {
  readonly id: string
  readonly name: string
  readonly addresses: readonly string[]
  readonly health: SiteHealth
  readonly traffic: SiteTraffic | null
  readonly lastAdmittedMs: number | null
}

/** Joins sites of the policy with what came from them. */
export function siteRows(
  sites: readonly Site[],
  traffic: readonly SiteTraffic[],
  seen: readonly SiteSeen[],
  nowMs: number,
  everyMs: number | null = null,
): readonly SiteRow[] {
  const bySite = new Map(traffic.map(entry => [entry.site, entry]))
  const seenBySite = new Map(seen.map(entry => [entry.site, entry]))
  return sites.map(site => {
    const own = bySite.get(site.id) ?? null
    const last = seenBySite.get(site.id) ?? null
    return {
      id: site.id,
      name: site.name,
      addresses: site.ranges.map(range => range.text.replace(/\/(?:32|128)$/, '')),
      health: siteHealth({ traffic: own, seen: last, everyMs }, nowMs),
      traffic: own,
      lastAdmittedMs: last?.lastAdmittedMs ?? null,
    }
  })
}

/** What the list shows. */
export type SitesData = {
  readonly rows: readonly SiteRow[]
  /** Traffic of addresses without a site; null: none, or nothing for this operator. */
  readonly outside: SiteTraffic | null
  readonly search: string
  readonly order: Order
  readonly onlyUnwell: boolean
  readonly page: number
  readonly nowMs: number
}

/** The list with its filters. */
export function sitesView(data: SitesData): Html {
  const { rows, outside, search, order, onlyUnwell, nowMs } = data
  const wanted = rows.filter(row => matches(row, search) && !(onlyUnwell && row.health.tone === 'good'))
  const sorted = wanted.toSorted(COMPARE[order])
  const pages = Math.max(1, Math.ceil(sorted.length / PER_PAGE))
  const page = Math.min(pages, Math.max(1, Number.isInteger(data.page) ? data.page : 1))
  const shown = sorted.slice((page - 1) * PER_PAGE, page * PER_PAGE)
  const unwell = rows.filter(row => row.health.tone === 'bad' || row.health.tone === 'warn').length
  return html`
    <div class="figures">
      ${figure('Sites', numberText(rows.length))}
      ${figure('Not healthy', numberText(unwell), unwell === 0 ? 'all agents get through' : html`<a href="/sites?only=unwell">show them</a>`)}
      ${
        outside === null
          ? null
          : figure(
              'From addresses without a site',
              numberText(outside.admitted + outside.refused),
              html`<a href="/sources">who they are</a>`,
            )
      }
    </div>
    <form method="get" action="/sites" class="filters" role="search">
      ${textField('Search', 'q', { type: 'search', value: search, maxLength: 100, hint: 'name, site or address' })}
      ${choiceField('Order', 'sort', ORDERS, order)}
      ${choiceField(
        'Show',
        'only',
        [
          ['', 'all sites'],
          ['unwell', 'not healthy'],
        ],
        onlyUnwell ? 'unwell' : '',
      )}
      <button>Show</button>
    </form>
    ${
      shown.length === 0
        ? emptyState(
            rows.length === 0
              ? 'No site is recorded.'
              : onlyUnwell && search === ''
                ? 'Every site is healthy, or has not been seen yet.'
                : 'No site fits.',
            rows.length === 0
              ? 'Sites are customer locations: add them under sites in the policy.'
              : 'Shorten the search, or show all sites.',
          )
        : siteTable(shown, nowMs)
    }
    ${pages === 1 ? null : pageLinks(page, pages, { q: search, sort: order, only: onlyUnwell ? 'unwell' : '' })}
  `
}

function siteTable(rows: readonly SiteRow[], nowMs: number): Html {
  return table(
    'Sites with their state, traffic of the last 24 hours and last sign of life',
    [
      { head: 'Site' },
      { head: 'State' },
      { head: 'Last 24 hours' },
      { head: 'Admitted', numeric: true },
      { head: 'Refused', numeric: true },
      { head: 'Last let through', short: true },
    ],
    rows.map(({ id, name, health, traffic, lastAdmittedMs }) => [
      html`<a href="${link`/sites/${id}`}">${name}</a> <span class="dim">${id}</span>`,
      html`${state(health.tone, health.word)} <span class="dim small">${health.sentence}</span>`,
      traffic === null
        ? html`<span class="dim">nothing came</span>`
        : sparkline(traffic.admittedByHour, traffic.refusedByHour, 'last 24 hours'),
      numberText(traffic?.admitted ?? 0),
      numberText(traffic?.refused ?? 0),
      ago(lastAdmittedMs, nowMs),
    ]),
  )
}

function matches(row: SiteRow, search: string): boolean {
  const wanted = search.trim().toLowerCase()
  if (wanted === '') return true
  return [row.id, row.name, ...row.addresses].some(text => text.toLowerCase().includes(wanted))
}

const COMPARE: Readonly<Record<Order, (a: SiteRow, b: SiteRow) => number>> = {
  state: (a, b) =>
    byHealth(a.health, b.health) ||
    (b.traffic?.refused ?? 0) - (a.traffic?.refused ?? 0) ||
    a.name.localeCompare(b.name),
  name: (a, b) => a.name.localeCompare(b.name),
  refused: (a, b) => (b.traffic?.refused ?? 0) - (a.traffic?.refused ?? 0),
  admitted: (a, b) => (b.traffic?.admitted ?? 0) - (a.traffic?.admitted ?? 0),
  last: (a, b) => (a.lastAdmittedMs ?? 0) - (b.lastAdmittedMs ?? 0),
}

/** `Page 2 of 7`, with the way to its neighbours. */
export function pageLinks(page: number, pages: number, query: Readonly<Record<string, string>>): Html {
  const to = (target: number): string =>
    `?${new URLSearchParams({ ...query, page: String(target) }).toString()}`
  return html`<nav class="pages" aria-label="Pages of the list">
    ${page > 1 ? html`<a href="${to(page - 1)}">Previous</a>` : null}
    <span>Page ${page} of ${counted(pages, 'page')}</span>
    ${page < pages ? html`<a href="${to(page + 1)}">Next</a>` : null}
  </nav>`
}
