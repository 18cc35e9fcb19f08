// Compiles the forwards for invitations: only private targets, and ports that nothing else wants.
import { parseCidr, cidrContains, type Cidr } from '../net/cidr.ts'
import type { TrafficClass } from '../policy/classes.ts'
import type { InvitationPolicy } from '../policy/invitations.ts'
import type { ClassPolicy, Endpoint, HeartbeatListener } from '../policy/snapshot.ts'
import type { StreamListener } from '../policy/streams.ts'
import type { Reporter } from './context.ts'
import { endpointText } from './describe.ts'
import type { Path } from './read.ts'
import type { WrittenPolicy } from './schema.ts'

/** What takes ports besides. */
export type TakenPorts = {
  readonly streams: readonly StreamListener[]
  readonly heartbeats: readonly HeartbeatListener[]
}

const MAX_PORTS = 200
const LOWEST_OWN_PORT = 1_024

/** What is private for good (RFC 1918, RFC 4193). */
const PRIVATE: readonly Cidr[] = ['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', 'fc00::/7'].flatMap(
  text => {
    const range = parseCidr(text)
    return typeof range === 'string' ? [] : [range]
  },
)

/** Compiles the section; null when there is none, or when it cannot be used (reported). */
export function compileInvitations(
  written: WrittenPolicy,
  taken: TakenPorts,
  classes: ReadonlyMap<TrafficClass, ClassPolicy>,
  report: Reporter,
): InvitationPolicy | null {
  const section = written.invitations
  if (section === undefined) return null
  const path: Path = ['invitations']
  for (const [index, range] of section.targets.entries()) {
    const at: Path = [...path, 'targets', ...(section.targets.length > 1 ? [index] : [])]
    if (PRIVATE.some(wide => range.text === wide.text)) {
      const hint = 'name the networks of the PCs: servers and containers of the gate are often in the others'
      report.warn(at, `${range.text} is every private address of its kind`, hint)
    }
    if (PRIVATE.some(wide => range.prefix >= wide.prefix && cidrContains(wide, range.address))) continue
    report.error(
      at,
      `${range.text} is not private: the gate would be a way to anywhere`,
      'networks within 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16 or fc00::/7',
    )
  }
  const { host, ports } = section.address
  const at = [...path, 'address']
  if (ports === null || ports.first === 0) {
    report.error(at, `${host} has no ports`, 'for example 0.0.0.0:51000-51099')
    return null
  }
  const count = ports.last - ports.first + 1
  if (count > MAX_PORTS) report.error(at, `${count} ports are more than the ${MAX_PORTS} of invitations`)
  if (ports.first < LOWEST_OWN_PORT)
    report.error(at, `port ${ports.first} is among those of well-known services`, 'ports from 1024 on')
  for (const { endpoint, what } of placesOf(written, taken)) {
    if (endpoint.port < ports.first || endpoint.port > ports.last || !meets(host, endpoint.host)) continue
    report.error(
      at,
      `port ${endpoint.port} is taken by ${what} (${endpointText(endpoint)})`,
      'choose a range of its own',
    )
  }
  adviseRelay(classes.get('relay'), path, report)
  return {
    publicHost: section.public ?? null,
    host,
    ports,
    longestMs: section.longest,
    targets: section.targets,
    targetPorts: section.targetPorts,
    connections: section.connections,
    at: report.at(path),
  }
}

function adviseRelay(relay: ClassPolicy | undefined, path: Path, report: Reporter): void {
  if (relay === undefined) return
  if (relay.access.value === 'closed')
    report.warn(
      path,
      'class relay is closed: whoever connects to an invitation is refused',
      'open it, or set access: trusted and list your office under trusted',
    )
  if (relay.keys.length > 0)
    report.warn(path, 'class relay asks for a key, and invitations have no place for one')
}

function placesOf(
  { listeners, admin, dashboard }: WrittenPolicy,
  { streams, heartbeats }: TakenPorts,
): readonly { readonly endpoint: Endpoint; readonly what: string }[] {
  const all = (endpoints: readonly Endpoint[], what: string) =>
    endpoints.map(endpoint => ({ endpoint, what }))
  return [
    ...Object.entries(listeners).flatMap(([id, entry]) => all(entry.address ?? [], `listener ${id}`)),
    ...streams.flatMap(entry => all(entry.endpoints, `stream ${entry.id}`)),
    ...heartbeats.flatMap(entry => all(entry.endpoints, `heartbeats ${entry.id}`)),
    ...all([admin.address], 'the admin address'),
    ...(dashboard === undefined ? [] : all([dashboard.address], 'the dashboard')),
  ]
}

function meets(a: string, b: string): boolean {
  return a === b || takesAll(a, b) || takesAll(b, a)
}

// [::] is dual-stack on Linux and takes the IPv4 port as well.
function takesAll(any: string, host: string): boolean {
  return any === '::' || (any === '0.0.0.0' && !host.includes(':'))
}
