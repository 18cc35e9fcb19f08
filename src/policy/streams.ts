// Raw TCP as the policy states it: listeners, what their first bytes may be, and the services behind them.
import type { Cidr } from '../net/cidr.ts'
import type { TrafficClass } from './classes.ts'
import type { ConnectorVia } from './gateway-policy.ts'
import type { OnlyFrom } from './only-from.ts'
import type { Endpoint, Snapshot, TlsProfileName, UpstreamTls } from './snapshot.ts'
import type { SourceLine } from './source-line.ts'

/**
 * What a listener expects. `tcp`: bytes are carried from the first on. `tls`: a ClientHello comes first and is judged.
 * `mixed`: the first bytes decide which service is meant; only here are they waited for (trap 28).
 */
export type StreamKind = 'tcp' | 'tls' | 'mixed'

/**
 * What the first bytes of a client are on a mixed listener. `netsupport`: the clear HTTP of a NetSupport client. `bytes`: one
 * of the service's own signatures. `binary`: anything that is neither TLS nor HTTP. `silence`: nothing, for a while.
 */
export type StreamStart = 'tls' | 'http' | 'netsupport' | 'bytes' | 'binary' | 'silence'

/** Where a stream can go: a server, or a named service of a connector that has dialled out to the gate. */
export type StreamTarget =
  | {
      readonly kind: 'tcp'
      readonly host: string
      /** Null: the port that the client came to. */
      readonly port: number | null
    }
  | {
      readonly kind: 'connector'
      readonly via: ConnectorVia
      /** As the policy writes it. */
      readonly url: string
    }

/** One server of a service. The first member is the primary. */
export type StreamMember = {
  /** Stable id: `stream/primary`, `stream/2/secondary`. */
  readonly id: string
  readonly target: StreamTarget
  /** TLS from the gate to the server; null: the bytes as they are. */
  readonly tls: UpstreamTls | null
  readonly at: SourceLine
}

/** How the TLS of clients ends at the gate. */
export type StreamTermination = { readonly host: string; readonly tlsProfile: TlsProfileName }

/** What is done with a stream. */
export type StreamAction =
  | {
      readonly kind: 'forward'
      readonly members: readonly StreamMember[]
      /** Null: TLS of clients is not terminated: the bytes go on as they came. */
      readonly terminate: StreamTermination | null
      /** Whether servers are told the client address by PROXY protocol version 2. */
      readonly proxyProtocol: boolean
      /** Health that a better member must show before new clients return to it. */
      readonly returnAfterMs: number
    }
  /** To the HTTPS edge, as if the client had come to this listener. */
  | { readonly kind: 'edge'; readonly listener: string }
  /** Plain HTTP is told the https:// address. */
  | { readonly kind: 'redirect' }

/** A service behind a stream listener. */
export type StreamService = {
  /** Null: whatever comes, on listeners of kind tcp and tls. */
  readonly start: StreamStart | null
  /** Signatures for `bytes`. */
  readonly signatures: readonly Uint8Array[]
  /** Server names (SNI) that are meant; `*.example.com` covers one label. Empty: every name, and none. */
  readonly names: readonly string[]
  readonly class: TrafficClass
  readonly action: StreamAction
  readonly at: SourceLine
}

/** A listener for raw TCP. */
export type StreamListener = {
  readonly id: string
  readonly kind: StreamKind
  readonly endpoints: readonly Endpoint[]
  /** In the order in which they are asked. */
  readonly services: readonly StreamService[]
  /** `plain`: TLS on this plain listener is refused, because nothing behind it speaks it. */
  readonly speaks: 'any' | 'plain'
  /** Ports that only trusted addresses may use, with the reason. */
  readonly internalPorts: ReadonlyMap<number, string>
  /** Peers that must send a PROXY protocol header. */
  readonly loadBalancers: readonly Cidr[]
  /** Who it is for; absent: everybody whom the policy lets in. */
  readonly onlyFrom?: OnlyFrom
  /** False: its servers are never probed and never held to be down, each stream tries anew; absent: true. */
  readonly probes?: boolean
  /** Streams at once: in all, of one source, of one site. Null: as many as in all. */
  readonly connections: number
  readonly connectionsPerSource: number
  readonly connectionsPerSite: number | null
  /** How long the first bytes are waited for on mixed listeners. */
  readonly sniffMs: number
  /** Silence after which keep-alive probes are sent to both sides. */
  readonly keepAliveMs: number
  /** Longest silence of a stream, both directions together; 0: no limit. */
  readonly idleMs: number
  /** Product of the stream profile; null: none. */
  readonly product: string | null
  /** The product can send notifications over UDP, which never pass; absent: it cannot, or not in this version. */
  readonly udpNotifications?: UdpNotifications
  readonly at: SourceLine
}

/** Datagrams that a server sends to the address that its client came from, which is the gate. */
export type UdpNotifications = {
  /** The port of the product's sessions: with notifications over TCP every client holds two connections to it. */
  readonly port: number
  /** What to change in the product. */
  readonly advice: string
}

/** Whether a stream forwards anything by TLS of its own or hands it to the edge: such clients can be told why by an alert. */
export function carriesTls({ kind, services }: StreamListener): boolean {
  return kind === 'tls' || services.some(service => service.start === 'tls')
}

/** Every host whose TLS ends at the gate: the names, and those of raw streams. */
export function certifiedHosts({ names, streams }: Pick<Snapshot, 'names' | 'streams'>): ReadonlySet<string> {
  const hosts = new Set(names.map(({ host }) => host))
  for (const { services } of streams) {
    for (const { action } of services)
      if (action.kind === 'forward' && action.terminate !== null) hosts.add(action.terminate.host)
  }
  return hosts
}
