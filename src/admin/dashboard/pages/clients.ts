// Clients that are attached, sessions of operators with them, and the gateway keys with which connectors attach (N24).
import type { GatewayKey } from '../../../access/access.ts'
import type { Client, OperatorSession } from '../../../policy/running-state.ts'
import type { GateStatus } from '../../status.ts'
import {
  ago,
  bytesText,
  counted,
  emptyState,
  exact,
  numberText,
  panel,
  state,
  table,
  textField,
} from '../components.ts'
import { html, type Html } from '../html.ts'
import { link, type PageRoute } from '../page.ts'

/** What these pages need beside the view. */
export type ClientSources = { readonly keys: () => readonly GatewayKey[] }

const LISTED = 500

/** The routes. */
export function clientRoutes(sources: ClientSources): readonly PageRoute[] {
  return [
    {
      method: 'GET',
      path: '/clients',
      role: 'viewer',
      reach: 'sites',
      navigation: { group: 'Customers', label: 'Clients' },
      run: ({ view, query }) => {
        const status = view.status()
        const text = (query.get('q') ?? '').trim().slice(0, 100)
        return {
          kind: 'page',
          title: 'Clients and sessions',
          refreshSeconds: 10,
          body: html`${panel('Active sessions', sessionTable(status))}
          ${panel('Clients', clientTable(status, text), status.clients.length === 0 ? undefined : searchForm(text))}`,
        }
      },
    },
    {
      method: 'GET',
      path: '/connectors',
      role: 'viewer',
      reach: 'sites',
      navigation: { group: 'Gate', label: 'Connectors' },
      run: ({ view }) => {
        const { clients, nowMs } = view.status()
        const keys = sources.keys().filter(({ name }) => view.reaches(name))
        return {
          kind: 'page',
          title: 'Connectors',
          refreshSeconds: 30,
          body: html`${panel('Gateway keys', keyTable(keys, clients, nowMs, view.isLimited))}
          ${panel('Versions', versionTable(clients))}
          ${panel(
            'How a connector attaches',
            html`<p>
                It dials out to port 443 of this gate with a gateway key, and offers local services by name.
                Nothing has to be opened where it runs.
              </p>
              <ol>
                <li>On the gate’s machine: <code>bin/portcullis keys add NAME --generate</code></li>
                <li>
                  Write it into the file of the connector and start <code>bin/connector run</code> there;
                  <code>bin/connector check</code> says whether the file is right. It appears under
                  <a href="/clients">clients</a> by itself.
                </li>
              </ol>`,
          )}`,
        }
      },
    },
  ]
}

function searchForm(text: string): Html {
  return html`<form method="get" action="/clients" role="search" aria-label="Find clients" class="inline">
    ${textField('Name, address, site or key', 'q', { value: text, type: 'search', maxLength: 100 })}<button>
      Find
    </button>
  </form>`
}

function clientTable({ clients, nowMs }: GateStatus, text: string): Html {
  const wanted = text.toLowerCase()
  const found = clients.filter(
    ({ name, key, publicAddress, realAddress, site }) =>
      wanted === '' ||
      [name, key, publicAddress, realAddress, site ?? ''].some(part => part.toLowerCase().includes(wanted)),
  )
  if (clients.length === 0) {
    return emptyState(
      'No client is attached.',
      html`A connector attaches by itself as soon as it runs: see <a href="/connectors">connectors</a>.`,
    )
  }
  if (found.length === 0)
    return emptyState(`No client matches ${text}.`, html`<a href="/clients">Show all</a>`)
  const shown = found.toSorted((a, b) => a.name.localeCompare(b.name)).slice(0, LISTED)
  return html`<p class="dim">
      ${counted(found.length, 'client')}${found.length > shown.length ? `, the first ${LISTED} are listed` : ''}
    </p>
    ${table(
      'Attached clients, by name',
      [
        { head: 'Client' },
        { head: 'Key', short: true },
        { head: 'Services' },
        { head: 'Public address', short: true },
        { head: 'Own address', short: true },
        { head: 'Site', short: true },
        { head: 'Country', short: true },
        { head: 'Version', short: true },
        { head: 'Attached', short: true },
      ],
      shown.map(client => [
        html`<strong>${client.name}</strong>`,
        client.key,
        client.services.map(({ name }) => name).join(', '),
        html`<a class="code" href="${link`/events?address=${client.publicAddress}`}"
          >${client.publicAddress}</a
        >`,
        html`<span class="code">${client.realAddress}</span>`,
        client.site === null ? null : html`<a href="${link`/sites/${client.site}`}">${client.site}</a>`,
        client.country,
        client.version,
        ago(client.sinceMs, nowMs),
      ]),
    )}`
}

function sessionTable({ sessions, nowMs }: GateStatus): Html {
  if (sessions.length === 0) {
    return emptyState(
      'No operator is connected to a client.',
      html`Operators connect with <code>bin/portcullis connect</code>.`,
    )
  }
  return table(
    'Operators who are connected to clients',
    [
      { head: 'Operator' },
      { head: 'Client' },
      { head: 'Service' },
      { head: 'From', short: true },
      { head: 'Key', short: true },
      { head: 'Started', short: true },
      { head: 'For', short: true },
      { head: 'In', numeric: true },
      { head: 'Out', numeric: true },
    ],
    sessions
      .toSorted((a, b) => b.startedMs - a.startedMs)
      .slice(0, LISTED)
      .map((session: OperatorSession) => [
        html`<strong>${session.operator}</strong>`,
        session.client,
        session.service,
        html`<span class="code">${session.address}</span>`,
        session.key,
        exact(session.startedMs),
        ago(session.startedMs, nowMs),
        bytesText(session.bytesIn),
        bytesText(session.bytesOut),
      ]),
  )
}

function keyTable(
  keys: readonly GatewayKey[],
  clients: readonly Client[],
  nowMs: number,
  isLimited: boolean,
): Html {
  if (keys.length === 0) {
    return emptyState(
      isLimited
        ? 'There is no gateway key among those that you reach.'
        : 'There is no gateway key: no connector can attach.',
      html`Make one on the gate’s machine: <code>bin/portcullis keys add NAME --generate</code>`,
    )
  }
  return table(
    'Gateway keys and the clients attached with them',
    [
      { head: 'Key' },
      { head: 'Clients', numeric: true },
      { head: 'At most', numeric: true },
      { head: 'State', short: true },
      { head: 'Services', long: true },
      { head: 'Made', short: true },
    ],
    keys.map(({ name, maxClients, createdMs }) => {
      const attached = clients.filter(({ key }) => key === name)
      const services = [...new Set(attached.flatMap(client => client.services.map(service => service.name)))]
      const isFull = maxClients !== null && attached.length >= maxClients
      return [
        html`<a href="${link`/clients?q=${name}`}"><strong>${name}</strong></a>`,
        numberText(attached.length),
        maxClients === null ? 'any number' : numberText(maxClients),
        isFull
          ? state('bad', 'full')
          : attached.length === 0
            ? state('idle', 'nobody attached')
            : state('good', 'in use'),
        services.toSorted().slice(0, 20).join(', '),
        ago(createdMs, nowMs),
      ]
    }),
  )
}

function versionTable(clients: readonly Client[]): Html {
  if (clients.length === 0)
    return emptyState('No client is attached.', 'The version of each connector is shown here once it is.')
  const counts = new Map<string, number>()
  for (const { version } of clients) counts.set(version, (counts.get(version) ?? 0) + 1)
  return table(
    'Versions of attached connectors',
    [{ head: 'Version' }, { head: 'Clients', numeric: true }],
    [...counts]
      .toSorted(([, a], [, b]) => b - a)
      .slice(0, 50)
      .map(([version, count]) => [version, numberText(count)]),
  )
}
