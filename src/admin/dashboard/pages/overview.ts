// The overview: healthy, or the one thing that is not; then what happens now.
import type { TriedCount } from '../../../journal/store-detections.ts'
import type { ReasonCount } from '../../../journal/store-events.ts'
import type { GateStatus } from '../../status.ts'
import {
  ago,
  bytesText,
  counted,
  durationText,
  emptyState,
  exact,
  figure,
  numberText,
  panel,
  state,
} from '../components.ts'
import { EVENT_COLUMNS, eventRow } from './event-rows.ts'
import { healthOf, type Finding, type GateFacts, type Health } from '../../health.ts'
import { html, type Html } from '../html.ts'
import type { GetRoute } from '../page.ts'
import { table } from '../components.ts'
import type { View } from '../view.ts'

/** What the overview is made from, beside the view. */
export type OverviewSources = {
  readonly facts: () => GateFacts
  readonly countsByReason: (sinceMs: number) => Promise<readonly ReasonCount[]>
  /** Who passes only because of a trial. */
  readonly tried: (sinceMs: number) => Promise<TriedCount>
}

const DAY_MS = 86_400_000
const REFUSED = new Set(['connection.refused', 'request.refused', 'heartbeat.refused'])

/** The route. */
export function overviewRoute(sources: OverviewSources): GetRoute {
  return {
    method: 'GET',
    path: '/',
    role: 'viewer',
    reach: 'sites',
    navigation: { group: 'Now', label: 'Overview' },
    run: async ({ view, nowMs }) => {
      const status = view.status()
      const health = healthOf(view.isLimited ? limitedFacts(sources.facts(), status) : sources.facts())
      const trials = status.policy.trials ?? []
      const [counts, tried, loud] = await Promise.all([
        view.isLimited ? null : sources.countsByReason(nowMs - DAY_MS),
        view.isLimited || trials.length === 0 ? null : sources.tried(nowMs - DAY_MS),
        view.findEvents({ minimumSeverity: 'warning', sinceMs: nowMs - 7 * DAY_MS, limit: 8 }),
      ])
      return {
        kind: 'page',
        title: 'Overview',
        refreshSeconds: 10,
        body: html`${verdict(health)} ${trialBanner(trials, tried)} ${figures(status, counts, view)}
        ${
          view.isLimited
            ? null
            : panel(
                'Upstreams',
                upstreamLine(status),
                html`<a href="/upstreams">Upstreams and heartbeats</a>`,
              )
        }
        ${panel(
          'Newest warnings',
          loud.length === 0
            ? emptyState('No warnings in the last 7 days.', html`<a href="/events">All events</a>`)
            : table(
                'Newest warnings',
                EVENT_COLUMNS,
                loud.map(event => eventRow(event, nowMs)),
              ),
          html`<a href="/events?severity=warning">All warnings</a>`,
        )}`,
      }
    },
  }
}

/** Health as far as it concerns somebody who sees only some sites: what is wrong with the gate, not with its files. */
function limitedFacts(facts: GateFacts, status: GateStatus): GateFacts {
  return {
    ...facts,
    status: { ...status, listeners: facts.status.listeners, certificates: facts.status.certificates },
    journal: { usable: true, droppedRows: 0, usedBytes: 0 },
    guard: null,
  }
}

function verdict({ headline, sentence, findings }: Health): Html {
  const [first, ...rest] = findings
  const tone = first?.tone ?? 'good'
  return html`<div class="verdict ${tone}">
      <p class="headline">${state(tone, headline)}</p>
      <p>${sentence}</p>
      ${first === undefined ? null : nextStep(first)}
    </div>
    ${
      rest.length === 0
        ? null
        : html`<details class="more">
            <summary>${counted(rest.length, 'more thing')} to look at</summary>
            <ul>
              ${rest.map(finding => html`<li>${state(finding.tone, finding.sentence)} ${nextStep(finding)}</li>`)}
            </ul>
          </details>`
    }`
}

function nextStep({ next, page }: Finding): Html | null {
  if (next === '' && page === null) return null
  return html`<p class="next">${next} ${page === null ? null : html`<a href="${page}">Show it</a>`}</p>`
}

/** What is on trial, until when, and how many would be refused if it ended now. */
function trialBanner(
  trials: NonNullable<GateStatus['policy']['trials']>,
  tried: TriedCount | null,
): Html | null {
  if (trials.length === 0) return null
  const lost =
    tried === null
      ? null
      : tried.addresses === 0
        ? html`Nobody has needed it in the last 24 hours.`
        : html`${counted(tried.agents, 'address', 'addresses')} with agents at
            ${counted(tried.sites, 'recorded site')} would be refused, of
            ${counted(tried.addresses, 'address', 'addresses')} that needed it in the last 24 hours:
            <a href="/events?name=trial.admitted">show them</a>.`
  return panel(
    'On trial',
    html`<ul class="plain">
        ${trials.map(
          ({ stages, sites, listeners, expiresMs }) =>
            html`<li>
              ${state('warn', stages.join(', '))} until
              ${exact(expiresMs)}${sites === null ? '' : `, for ${sites.join(', ')}`}${listeners === null ? '' : `, on ${listeners.join(', ')}`}
            </li>`,
        )}
      </ul>
      <p>${lost} <code>bin/portcullis trial report</code> says whom the end loses, and what helps.</p>`,
  )
}

function figures(status: GateStatus, counts: readonly ReasonCount[] | null, view: View): Html {
  const { open, nowMs } = status
  const refused = (counts ?? [])
    .filter(({ name }) => REFUSED.has(name))
    .reduce((all, { count }) => all + count, 0)
  return html`<div class="figures">
    ${figure('Connections', numberText(open.connections), view.isLimited ? 'open now' : `of at most ${numberText(open.max)}`)}
    ${figure('WebSockets', numberText(open.webSockets), 'open now')}
    ${counts === null ? null : figure('Refused', numberText(refused), html`in 24 h · <a href="/events?name=connection.refused">show</a>`)}
    ${figure('Up', durationText(nowMs - status.startedMs), html`policy loaded ${ago(status.policy.loadedMs, nowMs)}`)}
    ${view.isLimited ? null : figure('Memory', bytesText(status.memory.rssBytes), `version ${status.version}`)}
  </div>`
}

function upstreamLine({ upstreams, nowMs }: GateStatus): Html {
  if (upstreams.length === 0) return emptyState('The policy names no upstream.')
  return html`<ul class="plain">
    ${upstreams.map(
      member =>
        html`<li>
          ${memberState(member.state, member.serving)} <strong>${member.member}</strong>
          <span class="dim">${member.origin}, since ${ago(member.sinceMs, nowMs)}</span>
        </li>`,
    )}
  </ul>`
}

/** The state of a server in words. */
export function memberState(word: GateStatus['upstreams'][number]['state'], serving: boolean): Html {
  switch (word) {
    case 'up':
      return state('good', serving ? 'serving' : 'standby')
    case 'down':
      return state('bad', 'down')
    case 'returning':
      return state('warn', 'returning')
    case 'unknown':
      return state('idle', 'not probed yet')
  }
}
