// Compiles the listeners for raw TCP: profiles into ports and services, destinations, and what cannot be.
import type { GatewayPolicy } from '../policy/gateway-policy.ts'
import type {
  StreamTarget,
  StreamAction,
  StreamListener,
  StreamMember,
  StreamService,
} from '../policy/streams.ts'
import type { Endpoint, TlsProfileName, UpstreamTls } from '../policy/snapshot.ts'
import { compileCertificateCheck, type ReadText } from './compile-upstreams.ts'
import { connectorUrlText } from '../policy/connector-url.ts'
import { resolveConnector } from './compile-gateway.ts'
import type { Reporter } from './context.ts'
import type { Path } from './read.ts'
import type { WrittenPolicy } from './schema.ts'
import type { WrittenService, WrittenStream } from './schema-streams.ts'
import type { WrittenTarget } from './scalars-streams.ts'
import { suggestion } from './spelling.ts'
import { applyProfile, udpNotificationsOf, type LoadedStreamProfile } from './stream-profiles.ts'

/** What streams are compiled from. */
export type StreamBasis = {
  /** The profile of that id; undefined when there is none (reported). */
  readonly profileOf: (id: string, path: Path) => LoadedStreamProfile | undefined
  readonly listenerIds: readonly string[]
  readonly readText: ReadText
  readonly gateway: GatewayPolicy
}

const MAX_ENDPOINTS = 1_000

/** Compiles the streams. */
export function compileStreams(
  written: WrittenPolicy,
  basis: StreamBasis,
  report: Reporter,
): readonly StreamListener[] {
  return Object.entries(written.streams).map(([id, entry]) =>
    compileStream(id, entry, written, basis, report),
  )
}

function compileStream(
  id: string,
  entry: WrittenStream,
  written: WrittenPolicy,
  basis: StreamBasis,
  report: Reporter,
): StreamListener {
  const path: Path = ['streams', id]
  if (Object.hasOwn(written.listeners, id) || Object.hasOwn(written.heartbeats, id)) {
    report.error(path, `there is a listener ${id} already`, 'events tell listeners apart by their id')
  }
  const profile =
    entry.profile === undefined ? undefined : basis.profileOf(entry.profile, [...path, 'profile'])
  const { ports, internalPorts } = applyProfile(entry, profile, path, report)
  const kind = entry.kind ?? profile?.kind ?? 'tcp'
  const speaks = entry.speaks ?? (kind === 'tcp' ? (profile?.speaks ?? 'any') : 'any')
  if (kind !== 'tcp' && entry.speaks === 'plain') {
    report.error(
      [...path, 'speaks'],
      `speaks has no meaning for kind ${kind}`,
      'services say what may come first',
    )
  }
  const endpoints = endpointsOf(entry, ports, path, report)
  const context: ServiceContext = { id, entry, kind, profile, basis, report }
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
    kind,
    endpoints,
    services: compileServices(context, path),
    speaks,
    internalPorts,
    loadBalancers: entry.loadBalancers ?? [],
    connections: entry.connections,
    connectionsPerSource: entry.connectionsPerSource,
    connectionsPerSite: entry.connectionsPerSite ?? null,
    sniffMs: entry.sniff,
    keepAliveMs: entry.keepAlive,
    idleMs: entry.idle === 'none' ? 0 : entry.idle,
    product: profile?.product ?? null,
    ...udpNotificationsOf(entry, profile),
    at: report.at(path),
  }
}

function endpointsOf(
  entry: WrittenStream,
  ports: readonly number[],
  path: Path,
  report: Reporter,
): readonly Endpoint[] {
  const endpoints = entry.address.flatMap(({ host, ports: range }, index): readonly Endpoint[] => {
    if (range !== null) {
      const length = range.last - range.first + 1
      return Array.from({ length }, (_, offset) => ({ host, port: range.first + offset }))
    }
    if (ports.length === 0) {
      report.error(
        [...path, 'address', ...(entry.address.length > 1 ? [index] : [])],
        `${host} has no port, and no profile says which`,
        `write ${host.includes(':') ? `"[${host}]:16888"` : `${host}:16888`}`,
      )
    }
    return ports.map(port => ({ host, port }))
  })
  if (endpoints.length > MAX_ENDPOINTS) {
    report.error(
      [...path, 'address'],
      `${endpoints.length} ports are more than the ${MAX_ENDPOINTS} of a stream`,
    )
  }
  return endpoints.slice(0, MAX_ENDPOINTS)
}

type ServiceContext = {
  readonly id: string
  readonly entry: WrittenStream
  readonly kind: StreamListener['kind']
  readonly profile: LoadedStreamProfile | undefined
  readonly basis: StreamBasis
  readonly report: Reporter
}

type Written = Pick<WrittenService, 'signatures' | 'edge' | 'redirect'> &
  Pick<
    WrittenStream,
    'upstream' | 'secondary' | 'class' | 'host' | 'tls' | 'names' | 'upstreamTls' | 'proxyProtocol'
  > & {
    readonly starts: WrittenService['starts'] | null
  }

function compileServices(context: ServiceContext, path: Path): readonly StreamService[] {
  const { entry, kind, profile, report } = context
  const own = entry.services
  if (kind !== 'mixed') {
    if (own !== undefined)
      report.error(
        [...path, 'services'],
        `kind ${kind} has one service`,
        'write kind: mixed to tell several apart',
      )
    return [compileService({ ...entry, starts: null }, path, 1, context)]
  }
  const written: readonly { readonly service: Written; readonly path: Path }[] = [
    ...(own ?? []).map((service, index) => ({ service, path: [...path, 'services', index] })),
    ...(profile?.services ?? []).map(service => ({ service, path })),
  ]
  if (written.length === 0) {
    report.error(path, 'a mixed listener needs services', 'services: [{ starts: tls, edge: https }]')
  }
  const seen = new Set<string>()
  return written.map(({ service, path: here }, index) => {
    const catchAll = service.starts === 'bytes' || (service.names ?? []).length > 0 ? null : service.starts
    if (catchAll !== null && seen.has(catchAll))
      report.error(here, `two services start with ${catchAll}`, 'only the first would ever be used')
    if (catchAll !== null) seen.add(catchAll)
    return compileService(service, here, index + 1, context)
  })
}

function compileService(
  written: Written,
  path: Path,
  number: number,
  context: ServiceContext,
): StreamService {
  const { entry, profile, report } = context
  checkService(written, path, context)
  return {
    start: written.starts,
    signatures: written.signatures ?? [],
    names: written.names ?? [],
    class: written.class ?? entry.class ?? profile?.class ?? 'relay',
    action: compileAction(written, path, number, context),
    at: report.at(path),
  }
}

function checkService(written: Written, path: Path, { kind, report }: ServiceContext): void {
  const { starts, signatures, edge, redirect, names, host, tls } = written
  const isTls = starts === 'tls' || (starts === null && kind === 'tls')
  const refuse = (key: string, message: string, hint?: string): void =>
    report.error([...path, key], message, hint)
  if (starts === 'bytes' && signatures === undefined)
    report.error(path, 'starts: bytes needs signatures', 'for example signatures: [SSH-2.0-]')
  if (starts !== 'bytes' && signatures !== undefined)
    refuse('signatures', 'signatures belong to starts: bytes')
  if (edge !== undefined && starts !== 'tls') refuse('edge', 'edge belongs to starts: tls')
  if (redirect !== undefined && starts !== 'http') refuse('redirect', 'redirect belongs to starts: http')
  if (!isTls && names !== undefined) refuse('names', 'only TLS has server names')
  if (!isTls && host !== undefined) refuse('host', 'only TLS can end here', 'write kind: tls')
  if (!isTls && tls !== undefined)
    refuse('tls', 'clients of this service do not speak TLS', 'write kind: tls')
  if (host !== undefined && tls === 'passthrough')
    refuse('tls', 'TLS either ends here (host) or is passed through', 'remove host, or name a TLS profile')
  if (isTls && host === undefined && tls !== undefined && tls !== 'passthrough' && edge === undefined)
    refuse('tls', `TLS profile ${tls} needs a certificate`, 'add host: the name on it')
}

function compileAction(written: Written, path: Path, number: number, context: ServiceContext): StreamAction {
  const { id, entry, basis, report } = context
  const { edge, redirect, host, tls } = written
  const upstream = written.upstream ?? entry.upstream
  if ((edge !== undefined || redirect !== undefined) && written.upstream !== undefined)
    report.error(
      [...path, 'upstream'],
      'the service already says where it leads',
      'one of edge, redirect and upstream',
    )
  if (edge !== undefined) {
    if (!basis.listenerIds.includes(edge)) {
      report.error(
        [...path, 'edge'],
        `there is no listener ${JSON.stringify(edge)}`,
        suggestion(edge, basis.listenerIds) ?? undefined,
      )
    }
    return { kind: 'edge', listener: edge }
  }
  if (redirect !== undefined) return { kind: 'redirect' }
  if (upstream === undefined)
    report.error(path, 'upstream is required', 'for example upstream: 10.0.0.5:16888')
  const secondary = written.secondary ?? (written.upstream === undefined ? entry.secondary : undefined)
  const upstreamTls = written.upstreamTls ?? entry.upstreamTls
  const name = number === 1 ? id : `${id}/${number}`
  const members = (
    [
      ['primary', upstream],
      ['secondary', secondary],
    ] as const
  ).flatMap(([role, target]): readonly StreamMember[] => {
    if (target === undefined) return []
    const here = [...path, role === 'primary' ? 'upstream' : role]
    const check =
      upstreamTls && compileCertificateCheck(upstreamTls, [...path, 'upstreamTls'], basis.readText, report)
    const found = targetOf(target, here, basis.gateway, report)
    if (found === null) return []
    const member = { id: `${name}/${role}`, target: found, tls: null, at: report.at(here) }
    if (check === undefined) return [member]
    const serverName = upstreamTls?.serverName ?? (target.kind === 'tcp' ? target.host : undefined)
    if (serverName === undefined) {
      report.error(
        [...path, 'upstreamTls'],
        'serverName is required for a connector',
        'the name on its certificate',
      )
      return [member]
    }
    const own: UpstreamTls = { ...check, serverName }
    return [{ ...member, tls: own }]
  })
  if (members.length === 2 && JSON.stringify(upstream) === JSON.stringify(secondary))
    report.error([...path, 'secondary'], 'the secondary is the same server as the first')
  return {
    kind: 'forward',
    members,
    terminate: host === undefined ? null : { host, tlsProfile: profileName(tls) },
    proxyProtocol: (written.proxyProtocol ?? entry.proxyProtocol) === 'v2',
    returnAfterMs: entry.returnAfter,
  }
}

function profileName(tls: Written['tls']): TlsProfileName {
  return tls === undefined || tls === 'passthrough' ? 'modern' : tls
}

function targetOf(
  target: WrittenTarget,
  path: Path,
  gateway: GatewayPolicy,
  report: Reporter,
): StreamTarget | null {
  if (target.kind === 'tcp') return target
  const via = resolveConnector(target.url, gateway, path, report)
  return via === null ? null : { kind: 'connector', via, url: connectorUrlText(target.url) }
}
