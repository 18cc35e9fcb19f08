// One site: how it is and why, what came from it hour by hour, its devices, TLS versions, heartbeats and newest refusals.
import type { HeartbeatState } from '../../../policy/running-state.ts'
import { hasRole } from '../layout.ts'
import type { OverlayEntry } from '../../../journal/store-overlay.ts'
import type { SiteDevices } from '../../../journal/store-devices.ts'
import type { StoredEvent } from '../../../journal/store-events.ts'
import type { TrafficStep } from '../../../journal/store-traffic.ts'
import type { Site } from '../../../policy/snapshot.ts'
import { slowestCheckIn } from '../../../policy/check-in.ts'
import { liveTrials, type Trial } from '../../../policy/trial.ts'
import { counted, emptyState, exact, facts, figure, numberText, panel, state } from '../components.ts'
import { html, type Html } from '../html.ts'
import { link, type PageRoute } from '../page.ts'
import { timelineChart } from './charts.ts'
import { deviceTable, heartbeatTable, tlsTable } from './devices.ts'
import { diagnosisPanel } from './diagnosis.ts'
import { refusalTable } from './refusals.ts'
import { scopeOf } from './scope.ts'
import { entryList, standingForms } from './site-forms.ts'
import { isEnrollOpen, openingPanel, openingsOf } from './site-openings.ts'
import { siteHealth, type SiteHealth } from './site-health.ts'
import type { AddressDiagnosis, PageSources } from './sources.ts'
import { siteTrialPanel } from './site-trial.ts'
import { sinceOf, spanLinks, spanOf, type Span } from './span.ts'
import { rangesOverlap } from './within.ts'
import { stepLabel } from './world.ts'

const DAY_MS = 86_400_000
/** Addresses of a site that are diagnosed on its page; each has a page of its own. */
const DIAGNOSED = 5

/** The page of a site. */
export function siteRoutes(sources: PageSources): readonly PageRoute[] {
  return [
    {
      method: 'GET',
      path: '/sites/:site',
      role: 'viewer',
      reach: 'sites',
      run: async ({ view, params, query, nowMs, csrf }) => {
        const site = sources.snapshot().sites.find(entry => entry.id === params['site'])
        if (site === undefined || !view.sees(site.id)) return noSuchSite()
        const span = spanOf(query)
        const ranges = site.ranges.map(range => range.text)
        const scope = [site.id]
        const [steps, traffic, seen, devices, events, entries] = await Promise.all([
          sources.ask('timeline', {
            sinceMs: sinceOf(span, nowMs),
            untilMs: nowMs,
            step: span.hours > 168 ? 'day' : 'hour',
            sites: scope,
          }),
          sources.ask('trafficBySite', nowMs, 24, scope),
          sources.ask('sitesSeen', scope),
          sources.ask('siteDevices', ranges, nowMs - DAY_MS),
          view.findEvents({ site: site.id, sinceMs: nowMs - 7 * DAY_MS, limit: 100 }),
          sources.overlay(),
        ])
        const asked = suspects(devices, site)
        const diagnoses = await sources.diagnose(asked, view.isLimited)
        return {
          kind: 'page',
          title: site.name,
          ...(diagnoses === null ? { refreshSeconds: 2 } : {}),
          body: siteView({
            site,
            trials: liveTrials(sources.snapshot(), nowMs).filter(({ sites }) => sites?.has(site.id) ?? true),
            span,
            steps,
            health: siteHealth(
              {
                traffic: traffic[0] ?? null,
                seen: seen[0] ?? null,
                everyMs: slowestCheckIn(sources.snapshot()),
              },
              nowMs,
            ),
            devices,
            refusals: events.filter(event => event.reason !== null),
            tried: events,
            entries: entries.filter(entry => rangesOverlap(entry.range, site.ranges)),
            openings: isEnrollOpen(site, sources.snapshot()) ? null : openingsOf(entries, site, nowMs),
            heartbeats: heartbeatsOf(view.status().heartbeats, site.id),
            diagnoses,
            forms: hasRole(view.operator, 'support') && scopeIncludes(scopeOf(view), site.id) ? csrf : null,
            nowMs,
          }),
        }
      },
    },
  ]
}

/** What the page shows. */
export type SiteData = {
  readonly site: Site
  /** Those that hold for it. */
  readonly trials: readonly Trial[]
  readonly span: Span
  readonly steps: readonly TrafficStep[]
  readonly health: SiteHealth
  readonly devices: SiteDevices
  readonly refusals: readonly StoredEvent[]
  /** Events of the site in which a trial may show. */
  readonly tried: readonly StoredEvent[]
  readonly entries: readonly OverlayEntry[]
  /** Null: the policy itself lets new agents be installed. */
  readonly openings: readonly OverlayEntry[] | null
  readonly heartbeats: readonly SiteHeartbeats[]
  /** Null: being worked out. */
  readonly diagnoses: readonly AddressDiagnosis[] | null
  /** Hidden field for forms; null: this operator may not change anything. */
  readonly forms: Html | null
  readonly nowMs: number
}

/** Heartbeats of a site at one listener, counted since it opened. */
export type SiteHeartbeats = {
  readonly listener: string
  readonly heartbeats: number
  readonly replies: number
  readonly lastHeartbeatMs: number
  readonly lastReplyMs: number | null
  readonly senders: HeartbeatState['sites'][number]['senders']
  /** Agents of other sites are gone as well. */
  readonly allGone: boolean
}

/** The page. */
function siteView(data: SiteData): Html {
  const { site, span, steps, health, devices, refusals, entries, openings, forms, nowMs } = data
  const admitted = total(steps, step => step.admitted + step.failed)
  const refused = total(steps, step => step.refused)
  const base = link`/sites/${site.id}`
  return html`
    <div class="bar">
      <p><a href="/sites">Sites</a> / ${site.id} ${state(health.tone, health.word)} ${health.sentence}</p>
    </div>
    ${diagnosisPanel(data.diagnoses, devices.sources.length)}
    ${siteTrialPanel(data.trials, data.tried, nowMs)}
    ${panel(
      'Timeline',
      html`<div class="figures">
          ${figure('Admitted', numberText(admitted), span.words)}
          ${figure('Refused', numberText(refused), span.words)}
          ${figure('Devices', numberText(devices.deviceCount), 'of the last 24 hours')}
        </div>
        ${timelineChart(
          steps.map(step => ({
            label: stepLabel(step.fromMs, span),
            admitted: step.admitted + step.failed,
            refused: step.refused,
          })),
          `${site.name} in ${span.words}: ${counted(admitted, 'admitted', 'admitted')}, ${counted(refused, 'refused', 'refused')}`,
        )}`,
      spanLinks(`${base}?`, span),
    )}
    ${panel('Newest refusals', refusals.length === 0 ? emptyState('Nothing of this site was refused in the last 7 days.') : refusalTable(refusals.slice(0, 20), nowMs))}
    ${panel('Devices', deviceTable(devices, nowMs))}
    <div class="pair">
      ${panel('TLS versions', tlsTable(devices.tls))}
      ${panel('Heartbeats', heartbeatTable(data.heartbeats, devices.heartbeats, nowMs))}
    </div>
    ${panel('What the policy says of it', policyFacts(site, data.trials))}
    ${panel(
      'Bans and allows',
      html`${entryList(entries, site, forms, nowMs)} ${forms === null ? null : standingForms(site, forms)}`,
    )}
    ${openings === null ? null : openingPanel(site, openings, forms, nowMs)}
  `
}

function policyFacts(site: Site, trials: readonly Trial[]): Html {
  const { tlsException, countries, trusted, connectionsPerSource, at } = site
  return facts([
    ['Addresses', site.ranges.map(range => range.text.replace(/\/(?:32|128)$/, '')).join(', ')],
    ['Countries besides', countries === null ? 'none' : countryWords(countries.value)],
    ['Trusted', trusted ? 'yes: technicians sit here' : 'no'],
    [
      'Old TLS',
      tlsException === null
        ? 'no exception'
        : html`${tlsException.minimum} until ${exact(tlsException.expiresMs)}: ${tlsException.reason}
          (${tlsException.owner})`,
    ],
    [
      'Connections per address',
      connectionsPerSource === null ? 'as for everybody' : numberText(connectionsPerSource),
    ],
    [
      'On trial',
      trials.length === 0
        ? 'nothing'
        : html`${trials.map(
            ({ stages, expiresMs }, index) =>
              html`${index === 0 ? '' : '; '}${[...stages].join(', ')} until ${exact(expiresMs)}`,
          )}`,
    ],
    ['Stated at', html`<code>${at.file}:${at.line}</code>`],
  ])
}

function countryWords(countries: 'any' | ReadonlySet<string>): string {
  return countries === 'any' ? 'any' : [...countries].join(', ')
}

/** Addresses with trouble first: those are why somebody looks at this page. */
function suspects(devices: SiteDevices, site: Site): readonly string[] {
  const troubled = devices.devices.filter(device => device.refused + device.failed > 0)
  const found = new Set([...troubled, ...devices.devices].map(device => device.address))
  for (const address of devices.sources) found.add(address)
  const single = site.ranges.filter(range => range.prefix === (range.address.family === 4 ? 32 : 128))
  if (found.size === 0) for (const range of single) found.add(range.address.text)
  return [...found].slice(0, DIAGNOSED)
}

function heartbeatsOf(status: readonly HeartbeatState[], id: string): readonly SiteHeartbeats[] {
  return status.flatMap(({ listener, sites, allGone }) =>
    sites
      .filter(({ site }) => site === id)
      .map(({ heartbeats, replies, lastHeartbeatMs, lastReplyMs, senders }) => ({
        listener,
        heartbeats,
        replies,
        lastHeartbeatMs,
        lastReplyMs,
        senders,
        allGone,
      })),
  )
}

function scopeIncludes(scope: readonly string[] | null, site: string): boolean {
  return scope === null || scope.includes(site)
}

/** Sites that are not there and sites that may not be seen look the same. */
export function noSuchSite() {
  return {
    kind: 'page',
    title: 'No such site',
    status: 404,
    body: emptyState('There is no such site in the policy.', html`See <a href="/sites">all sites</a>.`),
  } as const
}

function total<T>(entries: readonly T[], value: (entry: T) => number): number {
  let sum = 0
  for (const entry of entries) sum += value(entry)
  return sum
}
