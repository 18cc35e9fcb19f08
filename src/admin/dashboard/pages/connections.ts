// Connections that are open now, with their traffic.
import { sourcesText, targetText } from '../../../policy/invitations.ts'
import type { InvitationStatus } from '../../../policy/running-state.ts'
import { ago, bytesText, counted, emptyState, numberText, panel, state, table } from '../components.ts'
import { html, type Html } from '../html.ts'
import { link, type GetRoute } from '../page.ts'

const LISTED = 500

/** The route. */
export function connectionRoute(): GetRoute {
  return {
    method: 'GET',
    path: '/connections',
    role: 'viewer',
    reach: 'sites',
    navigation: { group: 'Now', label: 'Connections' },
    run: ({ view, query }) => {
      const { connections, invitations, open, nowMs } = view.status()
      const asked = query.get('site')
      const wanted =
        asked === null || asked === '' ? connections : connections.filter(entry => entry.site === asked)
      // Those that carry most come first: they are what somebody looks for.
      const listed = wanted
        .toSorted((a, b) => b.bytesIn + b.bytesOut - a.bytesIn - a.bytesOut)
        .slice(0, LISTED)
      const more = open.connections - listed.length
      return {
        kind: 'page',
        title: 'Connections',
        refreshSeconds: 5,
        body: html`${invitations.length === 0 ? null : panel('Public ports that lead to PCs', invitationTable(invitations, nowMs))}
        ${panel(
          `${counted(open.connections, 'connection')} open`,
          listed.length === 0
            ? emptyState('No connection is open at this moment.', 'Agents open one for each check-in.')
            : html`${table(
                'Open connections, most traffic first',
                [
                  { head: 'Address', short: true },
                  { head: 'Site', short: true },
                  { head: 'Country', short: true },
                  { head: 'Name' },
                  { head: 'TLS', short: true },
                  { head: 'State', short: true },
                  { head: 'Since', short: true },
                  { head: 'Requests', numeric: true },
                  { head: 'In', numeric: true },
                  { head: 'Out', numeric: true },
                ],
                listed.map(entry => [
                  html`<a class="code" href="${link`/events?address=${entry.address}`}">${entry.address}</a>`,
                  entry.site === null
                    ? null
                    : html`<a href="${link`/sites/${entry.site}`}">${entry.site}</a>`,
                  entry.country,
                  entry.name,
                  entry.tls,
                  entry.state,
                  ago(entry.openedMs, nowMs),
                  numberText(entry.requests),
                  bytesText(entry.bytesIn),
                  bytesText(entry.bytesOut),
                ]),
              )}
              ${asked === null && more > 0 ? html`<p class="dim">${numberText(more)} more are not listed.</p>` : null}`,
        )}`,
      }
    },
  }
}

function invitationTable(invitations: readonly InvitationStatus[], nowMs: number): Html {
  return html`${table(
      'Forwards for invitations of Remote Assistance',
      [
        { head: 'Port', numeric: true },
        { head: 'PC', short: true },
        { head: 'Ends', short: true },
        { head: 'For' },
        { head: 'TCP', numeric: true },
        { head: 'UDP', numeric: true },
        { head: 'Opened by' },
      ],
      invitations.map(entry => [
        String(entry.port),
        html`<span class="code">${targetText(entry.target)}</span>`,
        ago(entry.expiresMs, nowMs),
        entry.from === null ? 'everybody' : sourcesText(entry.from),
        entry.tcp ? numberText(entry.connections) : state('bad', 'not open'),
        entry.udp ? numberText(entry.flows) : state('bad', 'not open'),
        entry.owner,
      ]),
    )}
    <p class="dim">
      One ends before its time with <span class="code">portcullis invitations end &lt;port&gt;</span>.
    </p>`
}
