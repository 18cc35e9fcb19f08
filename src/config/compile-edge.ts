// Compiles listeners, names and the dashboard, and finds what cannot be listened on together.
import { AGENT_CLASSES, type TrafficClass } from '../policy/classes.ts'
import type { DashboardPolicy } from '../policy/dashboard-policy.ts'
import type {
  ClassPolicy,
  Endpoint,
  Listener,
  Name,
  Profile,
  UpstreamGroup,
  WhenDown,
} from '../policy/snapshot.ts'
import type { StreamListener } from '../policy/streams.ts'
import { isThisMachine } from './compile-upstreams.ts'
import type { Reporter } from './context.ts'
import type { Path } from './read.ts'
import type { WrittenPolicy } from './schema.ts'
import { suggestion } from './spelling.ts'

/** Compiles the listeners. `hosts` are the names that the policy declares. */
export function compileListeners(
  written: WrittenPolicy['listeners'],
  hosts: readonly string[],
  report: Reporter,
): readonly Listener[] {
  return Object.entries(written).map(([id, entry]): Listener => {
    const path: Path = ['listeners', id]
    if (entry.withoutName !== undefined && !isServed(entry.withoutName, hosts)) {
      report.error(
        [...path, 'withoutName'],
        `withoutName is ${entry.withoutName}, which names does not have`,
        suggestion(entry.withoutName, hosts) ?? undefined,
      )
    }
    for (const [index, range] of (entry.loadBalancers ?? []).entries()) {
      if (range.prefix === 0) {
        report.error(
          [...path, 'loadBalancers', index],
          'everybody would be a load balancer and could claim any client address',
          'list the addresses of the load balancers',
        )
      }
    }
    return {
      id,
      endpoints: entry.address ?? [],
      tlsProfile: entry.tls,
      loadBalancers: entry.loadBalancers ?? [],
      withoutName: entry.withoutName ?? null,
      at: report.at(path),
    }
  })
}

function isServed(host: string, hosts: readonly string[]): boolean {
  const suffix = host.slice(host.indexOf('.'))
  return hosts.includes(host) || (host.includes('.') && hosts.includes(`*${suffix}`))
}

/** What names are compiled from. */
export type NameBasis = {
  /** Null: the policy has no upstreams at all, which is reported elsewhere. */
  readonly upstreamIds: readonly string[] | null
  /** The profile of a name; undefined when it could not be loaded (reported elsewhere). */
  readonly profileOf: (host: string) => Profile | undefined
  readonly classes: ReadonlyMap<TrafficClass, ClassPolicy>
  /** Absolute path of a certificate file, and whether it is there. */
  readonly certificateFile: (path: string) => { readonly path: string; readonly exists: boolean }
}

/** Compiles the host names. */
export function compileNames(
  written: WrittenPolicy['names'],
  basis: NameBasis,
  report: Reporter,
): readonly Name[] {
  return Object.entries(written).flatMap(([host, entry]): readonly Name[] => {
    const path: Path = ['names', host]
    if (basis.upstreamIds?.includes(entry.upstream) === false) {
      report.error(
        [...path, 'upstream'],
        `there is no upstream ${JSON.stringify(entry.upstream)}`,
        suggestion(entry.upstream, basis.upstreamIds) ?? undefined,
      )
    }
    const certificates = entry.certificates?.map((pair, index) => {
      const resolve = (part: 'cert' | 'key'): string => {
        const file = basis.certificateFile(pair[part])
        if (!file.exists) {
          report.error(
            [...path, 'certificates', index, part],
            `there is no file ${JSON.stringify(pair[part])}`,
            `looked for it as ${file.path}`,
          )
        }
        return file.path
      }
      return { certFile: resolve('cert'), keyFile: resolve('key') }
    })
    const profile = basis.profileOf(host)
    if (profile === undefined) return []
    return [
      {
        host,
        upstream: entry.upstream,
        tlsProfile: entry.tls ?? null,
        certificates: certificates ?? null,
        whenDown: entry.whenDown ?? usualWhenDown(profile, basis.classes),
        profile,
        at: report.at(path),
      },
    ]
  })
}

/** Compiles the dashboard. */
export function compileDashboard(
  written: WrittenPolicy['dashboard'],
  certificateFile: NameBasis['certificateFile'],
  report: Reporter,
): DashboardPolicy | null {
  if (written === undefined) return null
  const resolve = (part: 'cert' | 'key', path: string): string => {
    const file = certificateFile(path)
    if (!file.exists)
      report.error(
        ['dashboard', 'certificate', part],
        `there is no file ${JSON.stringify(path)}`,
        `looked for it as ${file.path}`,
      )
    return file.path
  }
  const { certificate } = written
  return {
    endpoint: written.address,
    names: [...new Set(written.names ?? [])],
    certificate:
      certificate === undefined
        ? null
        : { certFile: resolve('cert', certificate.cert), keyFile: resolve('key', certificate.key) },
    published:
      written.publish === undefined
        ? null
        : { host: written.publish.host, sites: written.publish.sites, ranges: written.publish.sources },
    at: report.at(['dashboard', 'address']),
  }
}

/** Agents switch to their secondary address at once when they are reset; people want to read what is wrong. */
function usualWhenDown(profile: Profile, classes: ReadonlyMap<TrafficClass, ClassPolicy>): WhenDown {
  const carriesAgents = profile.rules.some(
    rule => AGENT_CLASSES.includes(rule.class) && classes.get(rule.class)?.access.value !== 'closed',
  )
  return carriesAgents ? 'reset' : 'unavailable'
}

type Placed = { readonly endpoint: Endpoint; readonly what: string; readonly path: Path }

/** Reports endpoints that two parts want, and upstreams that are the gate itself. */
export function checkEndpoints(
  { listeners, admin, dashboard }: Pick<WrittenPolicy, 'listeners' | 'admin' | 'dashboard'>,
  upstreams: ReadonlyMap<string, UpstreamGroup>,
  streams: readonly StreamListener[],
  report: Reporter,
): void {
  const placed: Placed[] = []
  const add = (entry: Placed): void => {
    const other = placed.find(before => collide(before.endpoint, entry.endpoint))
    if (other !== undefined) {
      report.error(
        entry.path,
        `${show(entry.endpoint)} of ${entry.what} is taken by ${other.what} (${show(other.endpoint)})`,
        'choose another port',
      )
    }
    placed.push(entry)
  }
  for (const [id, { address }] of Object.entries(listeners)) {
    for (const [index, endpoint] of (address ?? []).entries()) {
      const path = ['listeners', id, 'address', ...((address ?? []).length > 1 ? [index] : [])]
      add({ endpoint, what: `listener ${id}`, path })
    }
    const isUsed = streams.some(({ services }) =>
      services.some(({ action }) => action.kind === 'edge' && action.listener === id),
    )
    if (address === undefined && !isUsed) {
      report.error(
        ['listeners', id],
        `listener ${id} has no address, and no stream hands connections to it`,
        'for example address: 0.0.0.0:8443',
      )
    }
  }
  for (const { id, endpoints } of streams) {
    const path = ['streams', id, 'address']
    for (const endpoint of endpoints) add({ endpoint, what: `stream ${id}`, path })
  }
  add({ endpoint: admin.address, what: 'the admin address', path: ['admin', 'address'] })
  if (dashboard !== undefined)
    add({ endpoint: dashboard.address, what: 'the dashboard', path: ['dashboard', 'address'] })
  const circle = (written: string, port: number, path: Path, what: string): void => {
    const host = written === 'localhost' ? '127.0.0.1' : written
    const self = placed.find(
      ({ endpoint }) =>
        endpoint.port === port &&
        port !== 0 &&
        (endpoint.host === host || (isThisMachine(host) && isWildcard(endpoint.host))),
    )
    if (self !== undefined)
      report.error(path, `${host}:${port} is ${self.what} of this gate: ${what} would go in a circle`)
  }
  for (const group of upstreams.values()) {
    for (const { id, origin, via } of group.members)
      if (via === undefined)
        circle(origin.host, origin.port, ['upstreams', group.id, id.slice(group.id.length + 1)], 'requests')
  }
  for (const stream of streams) {
    for (const { host, port } of serversOf(stream))
      circle(host, port, ['streams', stream.id, 'upstream'], 'streams')
  }
}

function serversOf({ services, endpoints }: StreamListener): readonly Endpoint[] {
  return services.flatMap(({ action }) =>
    action.kind !== 'forward'
      ? []
      : action.members.flatMap(({ target }) => {
          if (target.kind !== 'tcp') return []
          const { host, port } = target
          return port === null ? endpoints.map(endpoint => ({ host, port: endpoint.port })) : [{ host, port }]
        }),
  )
}

function collide(a: Endpoint, b: Endpoint): boolean {
  if (a.port !== b.port || a.port === 0) return false
  return a.host === b.host || takesAll(a.host, b.host) || takesAll(b.host, a.host)
}

// [::] is dual-stack on Linux and takes the IPv4 port as well.
function takesAll(wildcard: string, host: string): boolean {
  return wildcard === '::' || (wildcard === '0.0.0.0' && !host.includes(':'))
}

function isWildcard(host: string): boolean {
  return host === '0.0.0.0' || host === '::'
}

function show({ host, port }: Endpoint): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}
