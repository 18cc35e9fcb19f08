// Compiles the dashboard as a name of the gate's own listeners: who may see it, and the way to it within the gate.
import type { Cidr } from '../net/cidr.ts'
import { DASHBOARD_VIA } from '../policy/dashboard-policy.ts'
import type { ClassPolicy, Name, Profile, UpstreamGroup } from '../policy/snapshot.ts'
import type { StreamListener } from '../policy/streams.ts'
import { BUILT_IN } from '../policy/source-line.ts'
import type { Reporter } from './context.ts'
import { builtInProbe } from './defaults.ts'
import type { WrittenPolicy } from './schema.ts'

/** What a published dashboard adds to the policy. */
export type Published = { readonly name: Name; readonly group: UpstreamGroup }

/** What is compiled already. */
export type PublishBasis = {
  readonly hosts: readonly string[]
  readonly upstreamIds: readonly string[]
  readonly siteIds: readonly string[]
  readonly sites: WrittenPolicy['sites']
  readonly streams: readonly StreamListener[]
  /** Policy of class console, whose countries and limits hold. */
  readonly console: ClassPolicy | undefined
}

const GROUP = 'gate-dashboard'
/** Widest ranges: a whole provider is no named source. */
const WIDEST = { 4: 16, 6: 32 } as const
/** Forms that carry a whole policy. */
const MAX_BODY_BYTES = 4 * 1024 ** 2
const ROUTE = ['dashboard', 'publish'] as const

/** Compiles it; null: it is not published, or its lines have mistakes. */
export function compilePublished(
  written: WrittenPolicy['dashboard'],
  { hosts, upstreamIds, siteIds, sites: recorded, streams, console: usual }: PublishBasis,
  report: Reporter,
): Published | null {
  const publish = written?.publish
  if (publish === undefined || usual === undefined) return null
  const { host, sources, sites } = publish
  const served = hosts.find(name => covers(name, host))
  if (served !== undefined) {
    report.error(
      [...ROUTE, 'host'],
      `${host} is served for the RMM server (names: ${served})`,
      'the dashboard needs a name of its own: cookies and pages of the RMM server must not meet those of the gate',
    )
  }
  checkStreams(host, streams, report)
  if (upstreamIds.includes(GROUP))
    report.error(
      ['upstreams', GROUP],
      `${GROUP} is the name of the gate's own dashboard`,
      'choose another id',
    )
  if (sources.length === 0 && sites.length === 0) {
    report.error(
      [...ROUTE],
      'publish names nobody who may see the dashboard',
      'list addresses under sources, or ids under sites: the login must not stand open to the internet',
    )
  }
  for (const [index, range] of sources.entries()) {
    if (!isTooWide(range)) continue
    report.error(
      [...ROUTE, 'sources', index],
      `${range.text} is too wide: the login would stand open to strangers`,
      `at most a /${WIDEST[range.address.family]}, better the addresses of an office or a VPN`,
    )
  }
  for (const [index, id] of sites.entries()) {
    if (!siteIds.includes(id))
      report.error(
        [...ROUTE, 'sites', index],
        `there is no site ${JSON.stringify(id)}`,
        'sites are under sites',
      )
    const wide = recorded[id]?.addresses.find(isTooWide)
    if (wide !== undefined)
      report.error(
        [...ROUTE, 'sites', index],
        `site ${id} is too wide (${wide.text}): the login would stand open to strangers`,
        'name the addresses of its office or VPN under sources instead',
      )
  }
  const at = report.at([...ROUTE])
  const policy: ClassPolicy = {
    ...usual,
    // Who may see it is said by its sources; a TLS exception is for old agents, not for passwords.
    access: { value: 'open', at },
    minimumTls: { value: 'TLSv1.2', at },
    keys: [],
    windows: [],
    limits: { ...usual.limits, maxBodyBytes: MAX_BODY_BYTES, methods: METHODS, whenUnread: 'refuse' },
  }
  return {
    name: {
      host,
      upstream: GROUP,
      tlsProfile: 'modern',
      certificates: null,
      whenDown: 'unavailable',
      profile: PROFILE,
      dashboard: { onlyFrom: { sites, ranges: sources, at }, policy },
      at,
    },
    group: {
      id: GROUP,
      members: [
        {
          id: `${GROUP}/primary`,
          origin: { protocol: 'http', host: 'dashboard.invalid', port: 80 },
          tls: null,
          via: DASHBOARD_VIA,
          at,
        },
      ],
      health: PROFILE.health,
      returnAfterMs: 0,
      hostHeader: 'preserve',
      at,
    },
  }
}

/** Browsers send cookies to every port of a host: a stream whose TLS ends here, under this name, would hand them to its server. */
function checkStreams(host: string, streams: readonly StreamListener[], report: Reporter): void {
  for (const { id, services } of streams) {
    for (const { names, action } of services) {
      if (action.kind !== 'forward' || action.terminate === null) continue
      const certified = action.terminate.host
      const served = certified === host ? host : names.find(name => covers(name, host))
      if (served !== undefined)
        report.error(
          [...ROUTE, 'host'],
          `${host} is served by stream ${id}, too (names: ${served})`,
          'give the dashboard another name: browsers would send its cookies to the server behind the stream',
        )
      // A certificate for every name of the domain would be good for the dashboard, too.
      else if (names.length === 0 && domainOf(certified) === domainOf(host))
        report.warn(
          [...ROUTE, 'host'],
          `stream ${id} serves every name, ${host} among them: a browser that comes there sends the cookies of the dashboard`,
          'list the names of the stream under its names',
        )
    }
  }
}

function covers(name: string, host: string): boolean {
  return name === host || (name.startsWith('*.') && domainOf(host) === domainOf(name))
}

function domainOf(host: string): string {
  return host.slice(host.indexOf('.'))
}

function isTooWide({ prefix, address }: Cidr): boolean {
  return prefix < WIDEST[address.family]
}

const METHODS: ReadonlySet<string> = new Set(['GET', 'HEAD', 'POST'])

const PROFILE: Profile = {
  id: 'dashboard',
  product: 'Portcullis dashboard',
  caseSensitive: true,
  rules: [{ class: 'console', pattern: '/', methods: null, webSocket: null, at: BUILT_IN }],
  forwardedHeaders: ['x-forwarded-for'],
  removeResponseHeaders: [],
  pinsCertificate: false,
  checkInEveryMs: null,
  health: { ...builtInProbe, method: 'GET', path: '/login', statuses: new Set([200]), bodyPattern: null },
  packs: [],
}
