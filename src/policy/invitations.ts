// Forwards for invitations of Remote Assistance: what the policy allows, which PC may be a target, and the listeners of a forward.
import { addressScope, parseAddress, type Address } from '../net/address.ts'
import { cidrContains, parseCidr, type Cidr } from '../net/cidr.ts'
import type { OnlyFrom } from './only-from.ts'
import type { HeartbeatListener, Snapshot } from './snapshot.ts'
import type { SourceLine } from './source-line.ts'
import type { StreamListener } from './streams.ts'

/** Ports from `first` to `last`, both included. */
export type PortRange = { readonly first: number; readonly last: number }

/** What the policy says of forwards for invitations. */
export type InvitationPolicy = {
  /** Name or address by which this gate is reached from outside, for tickets; null: the command says it. */
  readonly publicHost: string | null
  /** Address of this machine on which public ports open. */
  readonly host: string
  /** Public ports; each invitation has one of its own, for TCP and UDP. */
  readonly ports: PortRange
  /** Longest life of a forward. */
  readonly longestMs: number
  /** Networks that PCs may be in; all private. */
  readonly targets: readonly Cidr[]
  /** Ports of PCs that may be forwarded to. */
  readonly targetPorts: readonly PortRange[]
  /** Connections to one PC at once. */
  readonly connections: number
  readonly at: SourceLine
}

/** Sites by their id, and addresses or ranges in their one spelling. */
export type ForwardSources = { readonly sites: readonly string[]; readonly ranges: readonly string[] }

/** `site acme, 198.51.100.7`; empty: everybody whom the policy lets in. */
export function sourcesText(from: ForwardSources | null): string {
  if (from === null) return ''
  const ranges = from.ranges.map(text => text.replace(text.includes(':') ? /\/128$/ : /\/32$/, ''))
  return [...from.sites.map(site => `site ${site}`), ...ranges].join(', ')
}

/** `10.0.0.5:3389`. */
export function targetText({ host, port }: InvitationForward['target']): string {
  return `${host.includes(':') ? `[${host}]` : host}:${port}`
}

/** One forward: a public port that leads to one port of one PC, for a while. */
export type InvitationForward = {
  readonly port: number
  readonly target: { readonly host: string; readonly port: number }
  /** Who may connect, besides what the policy asks of everybody; null: everybody whom it lets in. */
  readonly from: ForwardSources | null
  /** Who asked for it. */
  readonly owner: string
  readonly openedMs: number
  readonly expiresMs: number
}

/** Shortest life of a forward: less is a slip of the keyboard. */
export const SHORTEST_FORWARD_MS = 60_000

/** What a PC that needs help can never be, besides what the policy says. */
export type NoTargets = {
  /** Addresses of the gate's own machine. */
  readonly own: ReadonlySet<string>
  /** Addresses of the servers behind the gate: they are reached through its policy, never beside it. */
  readonly servers: ReadonlySet<string>
}

/** Metadata services of clouds within unique local addresses (AWS, Google): they hand out credentials. */
const METADATA: readonly Cidr[] = ['fd00:ec2::/32', 'fd20:ce::/32'].flatMap(text => {
  const range = parseCidr(text)
  return typeof range === 'string' ? [] : [range]
})

/**
 * Whether a forward may lead to an address and port.
 * @returns null when it may; otherwise why not, as the end of a sentence
 */
export function targetProblem(
  address: Address,
  port: number,
  { targets, targetPorts }: InvitationPolicy,
  { own, servers }: NoTargets,
): string | null {
  const scope = addressScope(address)
  if (scope !== 'private') return `is ${SCOPES[scope]}, and only private addresses are forwarded to`
  if (METADATA.some(range => cidrContains(range, address))) return 'is a metadata service'
  if (own.has(address.text)) return 'is this gate itself'
  if (servers.has(address.text))
    return 'is a server behind this gate, which is reached by the policy and never beside it'
  if (!targets.some(range => cidrContains(range, address))) return 'is not in invitations.targets'
  if (!targetPorts.some(({ first, last }) => port >= first && port <= last))
    return `has port ${port}, which is not in invitations.targetPorts`
  return null
}

const SCOPES = {
  public: 'a public address',
  cgnat: 'a carrier-grade NAT address',
  loopback: 'a loopback address',
  'link-local': 'a link-local address',
  reserved: 'a reserved address',
} as const

/** Every server that the policy names, by address or by name, except those that only a connector reaches. */
export function serverHosts(snapshot: Snapshot): ReadonlySet<string> {
  const hosts = new Set<string>()
  for (const { members } of snapshot.upstreams.values())
    for (const { origin, via } of members) if (via === undefined) hosts.add(origin.host)
  for (const { services } of snapshot.streams) {
    for (const { action } of services) {
      if (action.kind !== 'forward') continue
      for (const { target } of action.members) if (target.kind === 'tcp') hosts.add(target.host)
    }
  }
  for (const { upstream } of snapshot.heartbeats) if (!('connector' in upstream)) hosts.add(upstream.host)
  if (snapshot.deployment.direct !== null) hosts.add(snapshot.deployment.direct.host)
  return hosts
}

/**
 * Whether the policy in force still allows a forward that was opened under an earlier one.
 * @returns null when it does; otherwise why not, as a sentence without its end
 */
export function forwardProblem(
  { port, target, from }: InvitationForward,
  { invitations, sites }: Pick<Snapshot, 'invitations' | 'sites'>,
  never: NoTargets,
): string | null {
  if (invitations === null) return 'the policy has no invitations any more'
  const { first, last } = invitations.ports
  if (port < first || port > last) return `port ${port} is not in invitations.address any more`
  const address = parseAddress(target.host)
  if (address === undefined) return `${target.host} is no address`
  const problem = targetProblem(address, target.port, invitations, never)
  if (problem !== null) return `${target.host} ${problem}`
  const gone = from?.sites.find(id => !sites.some(site => site.id === id))
  return gone === undefined ? null : `there is no site ${gone} any more`
}

/** Listener of the TCP part in events. No listener of a policy can have such an id. */
export function forwardId(port: number): string {
  return `invitation:${port}`
}

/** Whether a listener in events is that of a forward. */
export function isForwardId(listener: string): boolean {
  return listener.startsWith('invitation:')
}

/** Listener of the UDP part in events. */
export function datagramId(port: number): string {
  return `${forwardId(port)}/udp`
}

const KEEP_ALIVE_MS = 45_000
const UDP_IDLE_MS = 150_000
/** RDP sends at most 1,232 bytes of UDP payload; this is what an Ethernet frame holds. */
const DATAGRAM_BYTES = 1_472
/** Per second: one person connects, and programs try a few times. */
const NEW_FLOWS = 10
/** Bytes back for each byte that came, until the source has a TCP connection: RDP over UDP is a known amplifier. */
const REPLY_RATIO = 3

/** The TCP listener of a forward. */
export function forwardStream(
  { port, target, from }: InvitationForward,
  { host, connections, at }: InvitationPolicy,
): StreamListener {
  const id = forwardId(port)
  const member = { id: `${id}/primary`, target: { kind: 'tcp', ...target }, tls: null, at } as const
  return {
    id,
    kind: 'tcp',
    endpoints: [{ host, port }],
    services: [
      {
        start: null,
        signatures: [],
        names: [],
        class: 'relay',
        action: {
          kind: 'forward',
          members: [member],
          terminate: null,
          proxyProtocol: false,
          returnAfterMs: 0,
        },
        at,
      },
    ],
    speaks: 'any',
    internalPorts: new Map(),
    loadBalancers: [],
    ...onlyFromOf(from, at),
    // A PC that waits for one person might take a probe for that person.
    probes: false,
    connections,
    connectionsPerSource: perSource(connections),
    connectionsPerSite: null,
    sniffMs: KEEP_ALIVE_MS,
    keepAliveMs: KEEP_ALIVE_MS,
    idleMs: 0,
    product: null,
    at,
  }
}

/** The UDP listener of a forward. */
export function forwardDatagrams(
  { port, target, from }: InvitationForward,
  { host, connections, at }: InvitationPolicy,
): HeartbeatListener {
  return {
    id: datagramId(port),
    endpoints: [{ host, port }],
    upstream: target,
    class: 'relay',
    ...onlyFromOf(from, at),
    idleMs: UDP_IDLE_MS,
    datagramBytes: DATAGRAM_BYTES,
    flows: connections,
    flowsPerSource: perSource(connections),
    newFlows: NEW_FLOWS,
    newFlowsPerSource: NEW_FLOWS,
    expectedEveryMs: null,
    replyRatio: REPLY_RATIO,
    expectsReplies: false,
    at,
  }
}

// Somebody else must not take every place from one address while whoever helps is on the way.
function perSource(connections: number): number {
  return Math.ceil(connections / 2)
}

function onlyFromOf(from: ForwardSources | null, at: SourceLine): { readonly onlyFrom?: OnlyFrom } {
  if (from === null) return {}
  const ranges = from.ranges.flatMap(text => {
    const range = parseCidr(text)
    return typeof range === 'string' ? [] : [range]
  })
  return { onlyFrom: { sites: from.sites, ranges, at } }
}
