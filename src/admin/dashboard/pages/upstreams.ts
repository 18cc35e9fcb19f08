// The RMM servers behind the gate, and the heartbeats that pass it.
import type { HeartbeatState } from '../../../policy/running-state.ts'
import type { MemberState } from '../../status.ts'
import { ago, counted, emptyState, numberText, panel, senderWords, state, table } from '../components.ts'
import { html, type Html } from '../html.ts'
import { link, type GetRoute } from '../page.ts'
import { memberState } from './overview.ts'

/** The route. */
export function upstreamRoute(): GetRoute {
  return {
    method: 'GET',
    path: '/upstreams',
    role: 'viewer',
    reach: 'sites',
    navigation: { group: 'Gate', label: 'Upstreams' },
    run: ({ view }) => {
      const { upstreams, heartbeats, nowMs } = view.status()
      return {
        kind: 'page',
        title: 'Upstreams and heartbeats',
        refreshSeconds: 10,
        body: html`${panel('Servers', memberTable(upstreams, nowMs, view.isLimited))}
        ${panel('Heartbeats over UDP', heartbeatTables(heartbeats, nowMs, view.isLimited))}`,
      }
    },
  }
}

function memberTable(members: readonly MemberState[], nowMs: number, isLimited: boolean): Html {
  if (members.length === 0)
    return emptyState('The policy names no upstream.', 'Add one under upstreams and give it to a name.')
  return table(
    'Servers behind the gate',
    [
      { head: 'Server', short: true },
      ...(isLimited ? [] : [{ head: 'Address', short: true }]),
      { head: 'State', short: true },
      { head: 'Since', short: true },
      ...(isLimited
        ? []
        : [
            { head: 'Open requests', numeric: true },
            { head: 'Last problem', long: true },
          ]),
    ],
    members.map(member => [
      member.member,
      ...(isLimited ? [] : [html`<span class="code">${member.origin}</span>`]),
      memberState(member.state, member.serving),
      ago(member.sinceMs, nowMs),
      ...(isLimited ? [] : [numberText(member.openRequests), member.lastProblem]),
    ]),
  )
}

function heartbeatTables(listeners: readonly HeartbeatState[], nowMs: number, isLimited: boolean): Html {
  if (listeners.length === 0) {
    return emptyState(
      'No heartbeats pass this gate.',
      'Products that send them over UDP need a listener under heartbeats in the policy.',
    )
  }
  return html`${listeners.map(
    entry =>
      html`<h3>${entry.listener}</h3>
        <p>
          ${entry.silent ? state('bad', 'the server does not answer') : entry.allGone ? state('bad', 'hardly any agent is heard') : state('good', 'in order')}
          <span class="dim"
            >${isLimited ? null : html`to ${entry.upstream}, ${counted(entry.flows, 'client')} now, `}last
            heartbeat ${ago(entry.lastHeartbeatMs, nowMs)}, last reply ${ago(entry.lastReplyMs, nowMs)}</span
          >
        </p>
        ${
          entry.sites.length === 0
            ? emptyState('None has come yet.')
            : table(
                `Heartbeats of ${entry.listener} by site`,
                [
                  { head: 'Site' },
                  { head: 'Heartbeats', numeric: true },
                  { head: 'Replies', numeric: true },
                  { head: 'Lost', numeric: true },
                  { head: 'Agents' },
                  { head: 'Last heartbeat', short: true },
                  { head: 'Last reply', short: true },
                ],
                entry.sites.map(
                  ({ site, heartbeats, replies, lossPercent, senders, lastHeartbeatMs, lastReplyMs }) => [
                    site === null
                      ? html`<span class="dim">no site</span>`
                      : html`<a href="${link`/sites/${site}`}">${site}</a>`,
                    numberText(heartbeats),
                    numberText(replies),
                    lossPercent === null ? null : `${lossPercent} %`,
                    senders === null ? null : senderWords(senders),
                    ago(lastHeartbeatMs, nowMs),
                    ago(lastReplyMs, nowMs),
                  ],
                ),
              )
        }`,
  )}`
}
