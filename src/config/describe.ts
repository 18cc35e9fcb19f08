// Words for compiled policy values, shared by the effective policy and by the sentences about changes.
import { onlyFromText } from '../policy/only-from.ts'
import { connectorUrlText } from '../policy/connector-url.ts'
import type { InvitationPolicy, PortRange } from '../policy/invitations.ts'
import type { DashboardPolicy } from '../policy/dashboard-policy.ts'
import type {
  AllowEntry,
  ClassLimits,
  ClassPolicy,
  Countries,
  Endpoint,
  HeartbeatListener,
  UpstreamMember,
  Window,
} from '../policy/snapshot.ts'
import type { Trial } from '../policy/trial.ts'
import type { StreamListener, StreamService, StreamTarget } from '../policy/streams.ts'
import { formatDuration, formatLastDay, formatSize } from './scalars.ts'

/** `US, CA`, or `any country`. */
export function countriesText(countries: Countries): string {
  if (countries === 'any') return 'any country'
  return countries.size === 0 ? 'no country' : [...countries].join(', ')
}

const DAYS = ['Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat', 'Sun']

/** `Mon 07:00-19:00` in UTC. */
export function windowText(window: Window): string {
  return `${DAYS[Math.floor(window.fromMinute / 1_440)] ?? ''} ${clock(window.fromMinute)}-${clock(window.toMinute)}`
}

function clock(minute: number): string {
  const inDay = minute % 1_440
  return `${String(Math.floor(inDay / 60)).padStart(2, '0')}:${String(inDay % 60).padStart(2, '0')}`
}

/** `address:port`. */
export function endpointText({ host, port }: Endpoint): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}

/** Where heartbeats go: `address:port` or `connector://name/service`. */
export function heartbeatUpstreamText(upstream: HeartbeatListener['upstream']): string {
  return 'connector' in upstream ? connectorUrlText({ ...upstream, tls: false }) : endpointText(upstream)
}

/** `127.0.0.1:9443, names gate.example.com, certificate /etc/...`, or `none`. */
export function dashboardText(dashboard: DashboardPolicy | null): string {
  if (dashboard === null) return 'none'
  const { endpoint, names, certificate, published } = dashboard
  return [
    endpointText(endpoint),
    ...(names.length === 0 ? [] : [`names ${names.join(', ')}`]),
    ...(certificate === null ? [] : [`certificate ${certificate.certFile}`]),
    ...(published === null ? [] : [`published as ${published.host} for ${onlyFromText(published)}`]),
  ].join(', ')
}

/** Limits of a heartbeat listener by the keys that policies use, in policy syntax. */
export function heartbeatText(entry: HeartbeatListener): Readonly<Record<string, string>> {
  return {
    idle: formatDuration(entry.idleMs),
    datagramSize: formatSize(entry.datagramBytes),
    flows: String(entry.flows),
    flowsPerSource: String(entry.flowsPerSource),
    newFlows: String(entry.newFlows),
    newFlowsPerSource: String(entry.newFlowsPerSource),
    expectedEvery: entry.expectedEveryMs === null ? 'none' : formatDuration(entry.expectedEveryMs),
    replyRatio: String(entry.replyRatio),
    replies: entry.expectsReplies ? 'expected' : 'none',
  }
}

/** `51000-51099`, or `3389`. */
function portsText({ first, last }: PortRange): string {
  return first === last ? String(first) : `${first}-${last}`
}

/** Forwards for invitations by the keys that policies use; empty: there are none. */
export function invitationsText(policy: InvitationPolicy | null): Readonly<Record<string, string>> {
  if (policy === null) return {}
  const { publicHost, host, ports, targets, targetPorts, longestMs, connections } = policy
  return {
    ...(publicHost === null ? {} : { public: publicHost }),
    address: `${host.includes(':') ? `[${host}]` : host}:${portsText(ports)}`,
    targets: targets.map(range => range.text).join(', '),
    targetPorts: targetPorts.map(portsText).join(', '),
    longest: formatDuration(longestMs),
    connections: String(connections),
  }
}

/** Ports of a listener in few words: ranges are taken together. */
export function endpointsText(endpoints: readonly Endpoint[]): string {
  const out: { readonly host: string; readonly first: number; last: number }[] = []
  for (const { host, port } of endpoints) {
    const before = out.at(-1)
    if (before !== undefined && before.host === host && before.last + 1 === port) before.last = port
    else out.push({ host, first: port, last: port })
  }
  return out
    .map(({ host, first, last }) => endpointText({ host, port: first }) + (last > first ? `-${last}` : ''))
    .join(', ')
}

/** `10.0.0.5:16888`, `10.0.0.5, same port`, `connector://hq/backup`. */
function targetText(target: StreamTarget): string {
  if (target.kind === 'connector') return target.url
  const host = target.host.includes(':') ? `[${target.host}]` : target.host
  return target.port === null ? `${host}, same port` : `${host}:${target.port}`
}

/** What becomes of the streams of a service: `tls rmm.example.com: relay to 10.0.0.5:443, passed through`. */
export function serviceText({ start, names, class: trafficClass, action }: StreamService): string {
  const when = [start ?? '', ...names].filter(word => word !== '').join(' ')
  const what = (): string => {
    if (action.kind === 'edge') return `HTTPS of listener ${action.listener}`
    if (action.kind === 'redirect') return 'redirected to https'
    const { members, terminate, proxyProtocol } = action
    const servers = members
      .map(({ target, tls }) => targetText(target) + (tls === null ? '' : ` over TLS as ${tls.serverName}`))
      .join(', then ')
    const ends = terminate === null ? '' : `; TLS ${terminate.tlsProfile} ends here as ${terminate.host}`
    return `${trafficClass} to ${servers}${ends}${proxyProtocol ? '; PROXY protocol' : ''}`
  }
  return when === '' ? what() : `${when}: ${what()}`
}

/** Limits and habits of a stream listener by the keys that policies use. */
export function streamText(entry: StreamListener): Readonly<Record<string, string>> {
  const internal = [...entry.internalPorts.keys()].filter(port =>
    entry.endpoints.some(endpoint => endpoint.port === port),
  )
  return {
    kind: entry.kind,
    product: entry.product ?? '',
    speaks: entry.speaks,
    connections: String(entry.connections),
    connectionsPerSource: String(entry.connectionsPerSource),
    connectionsPerSite: entry.connectionsPerSite === null ? '' : String(entry.connectionsPerSite),
    idle: entry.idleMs === 0 ? 'none' : formatDuration(entry.idleMs),
    keepAlive: formatDuration(entry.keepAliveMs),
    'for trusted addresses only': internal.join(', '),
    'load balancers': entry.loadBalancers.map(range => range.text).join(', '),
  }
}

/** `https://host:port`, or `connector://name/service`. */
export function originText({ origin, via }: UpstreamMember): string {
  if (via !== undefined) return connectorUrlText({ ...via, tls: origin.protocol === 'https' })
  return `${origin.protocol}://${endpointText(origin)}`
}

/** What must be true of a request of a class besides its source: TLS version, key, hours. */
export function demandsText(policy: ClassPolicy): string {
  const parts: string[] = []
  if (policy.minimumTls !== null) parts.push(`${policy.minimumTls.value} or better`)
  if (policy.keys.length > 0) {
    parts.push(`key in ${policy.keys.map(key => `${key.place} ${key.name}`).join(' or ')}`)
  }
  if (policy.windows.length > 0) parts.push(`${policy.windows.map(windowText).join(', ')} UTC`)
  if (policy.limits.methods !== null) parts.push(`methods ${[...policy.limits.methods].join(', ')}`)
  return parts.join('; ')
}

/** Limits by the keys that policies use, in policy syntax. */
export function limitsText(limits: ClassLimits): Readonly<Record<string, string>> {
  return {
    maxBody: limits.maxBodyBytes === Number.MAX_SAFE_INTEGER ? 'none' : formatSize(limits.maxBodyBytes),
    bodyIdle: formatDuration(limits.bodyIdleMs),
    response: formatDuration(limits.responseMs),
    responseIdle: formatDuration(limits.responseIdleMs),
    webSocketIdle: formatDuration(limits.webSocketIdleMs),
    concurrentPerSource: String(limits.concurrentPerSource),
    maxResponse: limits.maxResponseBytes === 0 ? 'none' : formatSize(limits.maxResponseBytes),
    methods: limits.methods === null ? 'all' : [...limits.methods].join(', '),
    whenUnread: limits.whenUnread,
  }
}

/** Scope, reason and end of an allow or ban. */
export function entryText(entry: AllowEntry): string {
  const scope = entry.classes === null ? '' : ` for ${[...entry.classes].join(', ')}`
  const end = entry.expiresMs === null ? 'no end' : `until ${formatLastDay(entry.expiresMs)}`
  return `${entry.range.text}${scope} (${entry.reason}; ${entry.owner}; ${end})`
}

/** A trial in one line. */
export function trialText(trial: Trial): string {
  return `${trialScope(trial)} until ${formatLastDay(trial.expiresMs)}`
}

/** Its stages and places. */
export function trialScope({ stages, sites, listeners }: Trial): string {
  const where = [
    ...(sites === null ? [] : [`site ${[...sites].join(', ')}`]),
    ...(listeners === null ? [] : [`listener ${[...listeners].join(', ')}`]),
  ]
  const place = where.length === 0 ? '' : ` for ${where.join(' on ')}`
  return `${[...stages].join(', ')}${place}`
}
