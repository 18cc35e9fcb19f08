// Connections that are open now, with their traffic.
import { ago, bytesText, counted, emptyState, numberText, panel, table } from '../components.ts'
import { html } from '../html.ts'
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
      const { connections, open, nowMs } = view.status()
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
        body: panel(
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
        ),
      }
    },
  }
}
