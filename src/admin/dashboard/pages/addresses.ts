// Addresses that belong to no site, and the page of one address: its diagnosis, what it did, its devices and newest events.
import { parseAddress } from '../../../net/address.ts'
import type { SiteDevices, UnknownSources } from '../../../journal/store-devices.ts'
import type { StoredEvent } from '../../../journal/store-events.ts'
import type { Site } from '../../../policy/snapshot.ts'
import { parseCidr } from '../../../net/cidr.ts'
import { ago, counted, emptyState, numberText, panel, state, table, textField } from '../components.ts'
import { html, type Html } from '../html.ts'
import { link, type PageRoute } from '../page.ts'
import { deviceTable, heartbeatTable, tlsTable, troubleWords } from './devices.ts'
import { diagnosisPanel } from './diagnosis.ts'
import { refusalTable } from './refusals.ts'
import type { AddressDiagnosis, PageSources } from './sources.ts'

const DAY_MS = 86_400_000
const SHOWN = 200

/** Pages of addresses. */
export function addressRoutes(sources: PageSources): readonly PageRoute[] {
  return [
    {
      method: 'GET',
      path: '/sources',
      role: 'viewer',
      reach: 'gate',
      navigation: { group: 'Customers', label: 'Unknown addresses' },
      run: async ({ query, nowMs }) => {
        const ranges = sources.snapshot().sites.flatMap(site => site.ranges.map(range => range.text))
        const unknown = await sources.ask('unknownSources', ranges, nowMs - DAY_MS)
        return {
          kind: 'page',
          title: 'Unknown addresses',
          body: sourcesView({ unknown, search: (query.get('q') ?? '').slice(0, 64), nowMs }),
        }
      },
    },
    {
      method: 'GET',
      path: '/addresses/:address',
      role: 'viewer',
      reach: 'sites',
      run: async ({ view, params, nowMs }) => {
        const address = parseAddress((params['address'] ?? '').trim())
        const range = address === undefined ? 'not-an-address' : parseCidr(address.text)
        const site = address === undefined ? undefined : sources.snapshot().siteByAddress.match(address)
        if (address === undefined || typeof range === 'string' || !view.sees(site?.id ?? null)) {
          return {
            kind: 'page',
            title: 'No such address',
            status: 404,
            body: emptyState(
              'This is not an address, or it belongs to none of your sites.',
              'Write the public address of the site, for example 198.51.100.7.',
            ),
          }
        }
        const [devices, events, diagnoses] = await Promise.all([
          sources.ask('siteDevices', [range.text], nowMs - DAY_MS),
          view.findEvents({ range, limit: 30 }),
          sources.diagnose([address.text], view.isLimited),
        ])
        return {
          kind: 'page',
          title: address.text,
          ...(diagnoses === null ? { refreshSeconds: 2 } : {}),
          body: addressView({ site: site ?? null, devices, events, diagnoses, nowMs }),
        }
      },
    },
  ]
}

/** What the list shows. */
export type SourcesData = {
  readonly unknown: UnknownSources
  readonly search: string
  readonly nowMs: number
}

/** Addresses without a site. */
export function sourcesView({ unknown, search, nowMs }: SourcesData): Html {
  const found = unknown.sources.filter(source => source.address.includes(search.trim().toLowerCase()))
  return html`
    <p>
      Addresses of the last 24 hours that belong to no recorded site. Those that are admitted are customers
      that nobody recorded, or technicians; record them as sites, so that exceptions and diagnoses can name
      them.
    </p>
    <form method="get" action="/sources" class="filters" role="search">
      ${textField('Search', 'q', { type: 'search', value: search, maxLength: 64, hint: 'part of an address' })}
      <button>Show</button>
    </form>
    ${
      found.length === 0
        ? emptyState('No such address.', 'Every address that sent something belongs to a site, or none fits.')
        : table(
            'Addresses without a site',
            [
              { head: 'Address', short: true },
              { head: 'State' },
              { head: 'Admitted', numeric: true },
              { head: 'Ended badly', numeric: true },
              { head: 'Refused', numeric: true },
              { head: 'Last', short: true },
            ],
            found
              .slice(0, SHOWN)
              .map(source => [
                html`<a href="${link`/addresses/${source.address}`}">${source.address}</a>`,
                source.admitted > 0
                  ? state('good', 'admitted')
                  : html`${state('bad', source.refused > 0 ? 'refused' : 'fails')}
                    ${troubleWords(source.trouble)}`,
                numberText(source.admitted),
                numberText(source.failed),
                numberText(source.refused),
                ago(source.lastMs, nowMs),
              ]),
          )
    }
    ${found.length > SHOWN ? html`<p class="dim">and ${counted(found.length - SHOWN, 'more address', 'more addresses')}</p>` : null}
    ${unknown.complete ? null : html`<p class="dim">There are more; shown are those known longest and the newest ones.</p>`}
  `
}

/** What the page of an address shows. */
export type AddressData = {
  readonly site: Site | null
  readonly devices: SiteDevices
  readonly events: readonly StoredEvent[]
  readonly diagnoses: readonly AddressDiagnosis[] | null
  readonly nowMs: number
}

/** The page of an address. */
export function addressView({ site, devices, events, diagnoses, nowMs }: AddressData): Html {
  return html`
    <p>
      ${
        site === null
          ? 'It belongs to no recorded site.'
          : html`It belongs to <a href="${link`/sites/${site.id}`}">${site.name}</a>.`
      }
    </p>
    ${diagnosisPanel(diagnoses, 1)} ${panel('Devices', deviceTable(devices, nowMs))}
    <div class="pair">
      ${panel('TLS versions', tlsTable(devices.tls))}
      ${panel('Heartbeats', heartbeatTable([], devices.heartbeats, nowMs))}
    </div>
    ${panel('Newest events', events.length === 0 ? emptyState('Nothing is on record.') : refusalTable(events, nowMs))}
  `
}
