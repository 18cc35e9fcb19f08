// The compiled policy: an immutable value that every decision reads. config/compile.ts is its only maker.
import type { Address } from '../net/address.ts'
import type { Cidr, CidrTrie } from '../net/cidr.ts'
import type { TlsVersion } from '../net/tls-version.ts'
import type { DashboardPolicy, PublishedDashboard } from './dashboard-policy.ts'
import type { ConnectorVia, GatewayPolicy } from './gateway-policy.ts'
import type { InvitationPolicy } from './invitations.ts'
import type { RuleSet } from '../ips/rule-set.ts'
import type { TrafficClass } from './classes.ts'
import type { OnlyFrom } from './only-from.ts'
import type { Openings } from './openings.ts'
import type { SourceLine } from './source-line.ts'
import type { StreamListener } from './streams.ts'
import type { Trial } from './trial.ts'

/** A value together with the line that states it. */
export type Stated<T> = { readonly value: T; readonly at: SourceLine }

/** Countries that something is open to: `any`, or ISO 3166-1 alpha-2 codes. */
export type Countries = 'any' | ReadonlySet<string>

/** An explicit allow of a source: beats bans and countries within its scope, never rules. */
export type AllowEntry = {
  readonly range: Cidr
  /** Null: every class. */
  readonly classes: ReadonlySet<TrafficClass> | null
  readonly reason: string
  readonly owner: string
  /** Milliseconds since the epoch; null: for good. */
  readonly expiresMs: number | null
  readonly at: SourceLine
}

/** A ban of a source. */
export type BanEntry = {
  readonly range: Cidr
  /** Null: every class, refused at accept. Otherwise refused at the request. */
  readonly classes: ReadonlySet<TrafficClass> | null
  readonly reason: string
  readonly owner: string
  readonly expiresMs: number | null
  readonly at: SourceLine
}

/** What changes while the gate runs and is kept in the store, not in the policy files: allows and bans of operators, promoted rules. */
export type Overlay = {
  readonly allow: CidrTrie<AllowEntry>
  readonly ban: CidrTrie<BanEntry>
  /** Rules that enforce by themselves by now; absent: none. */
  readonly promotedRules?: ReadonlySet<string>
  /** Classes opened to sites and ranges for a while; absent: none. */
  readonly openings?: Openings
}

/** A legacy TLS exception of a site. */
export type TlsException = {
  readonly minimum: TlsVersion
  readonly reason: string
  readonly owner: string
  readonly expiresMs: number
  readonly at: SourceLine
}

/** How open a class is. `trusted`: only from trusted addresses and from sites that say so. */
export type Access = 'open' | 'trusted' | 'closed'

/** A secret that a request must carry (the vendor-style "authtoken=" link or a fixed header). Compared by SHA-256. */
export type ClassKey = {
  readonly place: 'header' | 'query' | 'cookie'
  readonly name: string
  readonly sha256Hex: string
  readonly at: SourceLine
}

/** A weekly time window in minutes since Monday 00:00 UTC; `from` is included, `to` is not. */
export type Window = { readonly fromMinute: number; readonly toMinute: number; readonly at: SourceLine }

/** What the policy says of one class, with the line for each part. */
export type ClassPolicy = {
  readonly access: Stated<Access>
  readonly countries: Stated<Countries>
  /** Weakest TLS version for this class; null: whatever the listener accepts. */
  readonly minimumTls: Stated<TlsVersion> | null
  /** One of these keys must be there, unless the source is trusted; empty: none needed. */
  readonly keys: readonly ClassKey[]
  /** Empty: always. */
  readonly windows: readonly Window[]
  readonly limits: ClassLimits
}

/** Limits of one class. Sizes in bytes, times in milliseconds; 0 means "no limit" where the schema allows it. */
export type ClassLimits = {
  readonly maxBodyBytes: number
  /** Longest silence of the client while it sends a body. */
  readonly bodyIdleMs: number
  /** Longest wait for the head of the upstream's response. */
  readonly responseMs: number
  /** Longest silence in a response body. */
  readonly responseIdleMs: number
  /** Longest silence of an open WebSocket, both directions together. */
  readonly webSocketIdleMs: number
  /** Requests of one source open at once. */
  readonly concurrentPerSource: number
  /** Largest response body; 0: no limit. */
  readonly maxResponseBytes: number
  /** Null: every method that the gate knows. */
  readonly methods: ReadonlySet<string> | null
  /** What becomes of a body or message that rules want and cannot read whole: its size, its coding, or no memory left. */
  readonly whenUnread: WhenUnread
}

/** `refuse`: nothing passes unseen. `record`: judged as far as it was read, passed on, and reported. */
export type WhenUnread = 'refuse' | 'record'

/** A customer location. */
export type Site = {
  readonly id: string
  readonly name: string
  readonly ranges: readonly Cidr[]
  /** Added to what each class allows; null: nothing added. */
  readonly countries: Stated<Countries> | null
  /** Class settings that hold for this site instead of the general ones. */
  readonly classes: ReadonlyMap<TrafficClass, ClassPolicy>
  /** Counts as a trusted source. */
  readonly trusted: boolean
  readonly tlsException: TlsException | null
  /** Connections at once from one of its addresses; null: the general limit. */
  readonly connectionsPerSource: number | null
  /** Agents that the RMM knows there; null: not stated. Decisions never read it. */
  readonly agents: number | null
  readonly at: SourceLine
}

/** Names of the built-in TLS profiles. */
export type TlsProfileName = 'modern' | 'strict' | 'legacy'

/** A TLS profile, compiled. */
export type TlsProfile = {
  readonly name: TlsProfileName
  readonly minimum: TlsVersion
  /** OpenSSL cipher string. */
  readonly ciphers: string
  /** Digest of everything that makes sessions of this profile what they are; part of the ticket-key derivation. */
  readonly policyHash: string
}

/** An address and port to listen on. */
export type Endpoint = { readonly host: string; readonly port: number }

/** A TLS listener. */
export type Listener = {
  readonly id: string
  readonly endpoints: readonly Endpoint[]
  readonly tlsProfile: TlsProfileName
  /** Peers that must send a PROXY protocol header. */
  readonly loadBalancers: readonly Cidr[]
  /** Host whose policy holds for clients without SNI; null: refused. */
  readonly withoutName: string | null
  readonly at: SourceLine
}

/** A UDP listener for heartbeats: datagrams of each client go to one server, and its answers back. */
export type HeartbeatListener = {
  readonly id: string
  readonly endpoints: readonly Endpoint[]
  /** An address of the RMM server, or a UDP service of a connector that dials in. */
  readonly upstream: Endpoint | ConnectorVia
  /** Class that says who may send; absent: heartbeat. */
  readonly class?: TrafficClass
  /** Who it is for; absent: everybody whom the policy lets in. */
  readonly onlyFrom?: OnlyFrom
  /** Silence of a client after which its flow ends. */
  readonly idleMs: number
  /** Largest payload in either direction. */
  readonly datagramBytes: number
  /** Flows at once, in all and of one source (an IPv4 address or the /64 of an IPv6 one). */
  readonly flows: number
  readonly flowsPerSource: number
  /** New flows per second, in all and of one source; known sources have as many again in all. */
  readonly newFlows: number
  readonly newFlowsPerSource: number
  /** A client is late after twice, gone after three times this; null: nobody is expected. */
  readonly expectedEveryMs: number | null
  /** Bytes that may go back for each byte that came, headers of IP and UDP counted on both sides. */
  readonly replyRatio: number
  /** Whether the server answers heartbeats; without it, silence is no fault. */
  readonly expectsReplies: boolean
  readonly at: SourceLine
}

/** What clients of a name see when its upstream group is down. */
export type WhenDown = 'reset' | 'unavailable'

/** A host name that the gate serves. `*.example.com` matches exactly one label. */
export type Name = {
  readonly host: string
  readonly upstream: string
  readonly tlsProfile: TlsProfileName | null
  /** Files of certificate chain and key (PEM), absolute; null: found by name in certs/, or made for development. */
  readonly certificates: readonly { readonly certFile: string; readonly keyFile: string }[] | null
  readonly whenDown: WhenDown
  readonly profile: Profile
  /** The gate's own dashboard: absent on every name of the RMM. */
  readonly dashboard?: PublishedDashboard
  readonly at: SourceLine
}

/** One server of an upstream group. */
export type UpstreamMember = {
  /** Stable id: `group/primary`, `group/secondary`. */
  readonly id: string
  readonly origin: {
    readonly protocol: 'http' | 'https'
    readonly host: string
    readonly port: number
  }
  readonly tls: UpstreamTls | null
  /** The client that carries connections to it; absent: the gate connects itself. */
  readonly via?: ConnectorVia
  readonly at: SourceLine
}

/** How the certificate of an https upstream is verified. Verification cannot be switched off, only pinned. */
export type UpstreamTls = {
  readonly serverName: string
  /** PEM text of private authorities; null: the public ones. */
  readonly caPem: string | null
  /** SHA-256 over the DER public key (SPKI), base64; non-empty: the leaf must have one of them. A pinned leaf need not chain. */
  readonly pinsSha256: readonly string[]
}

/** The probe that tells whether an upstream lives. */
export type HealthProbe = {
  readonly method: 'GET' | 'HEAD'
  readonly path: string
  /** Accepted statuses. */
  readonly statuses: ReadonlySet<number>
  /** Pattern that the first 4 KiB of the body must match; null: any body. */
  readonly bodyPattern: RegExp | null
  readonly intervalMs: number
  readonly timeoutMs: number
}

/** A group of servers of which one serves: the first healthy one. */
export type UpstreamGroup = {
  readonly id: string
  readonly members: readonly UpstreamMember[]
  readonly health: HealthProbe
  /** Health that a better member must show before traffic returns to it. */
  readonly returnAfterMs: number
  readonly hostHeader: 'preserve' | 'rewrite'
  readonly at: SourceLine
}

/** One line of a profile: requests that match are of this class. First match wins. */
export type ClassRule = {
  readonly class: TrafficClass
  /**
   * Path pattern, already folded when the profile ignores case. A plain path covers itself and everything below it;
   * `*` stands for one segment or a part of one, `**` for any number of segments; a final `$` means exactly this path.
   */
  readonly pattern: string
  /** Null: every method. */
  readonly methods: ReadonlySet<string> | null
  /** True: WebSocket handshakes only; false: everything else only; null: both. */
  readonly webSocket: boolean | null
  readonly at: SourceLine
}

/** An RMM product, compiled from its profile file plus the policy's own routes (which come first). */
export type Profile = {
  readonly id: string
  readonly product: string
  readonly caseSensitive: boolean
  readonly rules: readonly ClassRule[]
  /** Request headers about the client that this product reads; all others of the family are removed. */
  readonly forwardedHeaders: readonly ForwardedHeader[]
  /** Response headers that give versions away. */
  readonly removeResponseHeaders: readonly string[]
  /** Agents pin the web certificate: changes are announced and spaced (trap 41). */
  readonly pinsCertificate: boolean
  /** How often the slowest agent checks in; null: the product does not say. Decisions never read it. */
  readonly checkInEveryMs: number | null
  readonly health: HealthProbe
  /** Rule packs that make sense for this product. */
  readonly packs: readonly string[]
}

/** Forwarded headers that a profile may ask for. */
export type ForwardedHeader =
  'x-forwarded-for' | 'x-forwarded-proto' | 'x-forwarded-host' | 'x-real-ip' | 'forwarded'

/** What becomes of an address that cannot have a country. */
export type GeoAnswer = 'allow' | 'refuse'

/** Country policy outside classes and sites. */
export type GeoPolicy = {
  readonly private: Stated<GeoAnswer>
  readonly cgnat: Stated<GeoAnswer>
  readonly loopback: Stated<GeoAnswer>
  /** Public addresses that no database knows. */
  readonly unknown: Stated<GeoAnswer>
  /** Public addresses while no database is loaded. */
  readonly unavailable: Stated<GeoAnswer>
  readonly overrides: CidrTrie<{ readonly country: string; readonly reason: string; readonly at: SourceLine }>
  /** Union of what any class or site could admit: cheap refusal at accept. */
  readonly admittedSomewhere: Countries
}

/** Limits that hold for the gate as a whole. */
export type Limits = {
  readonly connections: number
  readonly connectionsPerSource: number
  readonly helloMs: number
  readonly helloBytes: number
  readonly handshakeMs: number
  readonly headBytes: number
  readonly headerCount: number
  readonly targetBytes: number
  readonly headMs: number
  readonly keepAliveMs: number
  readonly requestsPerConnection: number
  /** Longest body that is held back for inspection. */
  readonly inspectBytes: number
  /** Longest WebSocket message that is held back for inspection, and the most of it that rules see decompressed. */
  readonly messageBytes: number
  /** All bodies and messages that are held at one time. */
  readonly heldBytes: number
  /** Slowest rate at which a client may send what is held, in bytes per second; 0: any. */
  readonly heldBytesPerSecond: number
  readonly upstreamConnectMs: number
  /** How long open connections may finish at shutdown. */
  readonly drainMs: number
}

/** Where journals go and how long they live. */
export type JournalPolicy = {
  readonly log: 'stdout' | 'file' | 'both'
  readonly logDir: string
  readonly logMaxBytes: number
  readonly logFiles: number
  /** Which requests get their own log line. */
  readonly requests: 'all' | 'refused' | 'none'
  readonly eventDays: number
  readonly ledgerDays: number
  readonly maxStoreBytes: number
}

/** The way around the gate, and the gate as the RMM server sees it. */
export type Deployment = {
  /** Old, direct address of the RMM server; null: not stated. */
  readonly direct: Endpoint | null
  /** Addresses from which the gate reaches the RMM server; empty: not stated. */
  readonly egress: readonly Address[]
}

/** The compiled policy. Everything in it is frozen in spirit: nobody writes to it after config/compile.ts returns it. */
export type Snapshot = {
  /** Digest of all policy files: equal policies have equal ids. */
  readonly id: string
  readonly files: readonly string[]
  readonly loadedMs: number
  readonly model: Stated<'all-traffic' | 'agent-only' | 'mixed'>
  readonly home: Stated<ReadonlySet<string>>
  readonly listeners: readonly Listener[]
  readonly heartbeats: readonly HeartbeatListener[]
  readonly streams: readonly StreamListener[]
  /** Null: no public port is ever forwarded to a PC. */
  readonly invitations: InvitationPolicy | null
  readonly names: readonly Name[]
  readonly upstreams: ReadonlyMap<string, UpstreamGroup>
  readonly gateway: GatewayPolicy
  readonly classes: ReadonlyMap<TrafficClass, ClassPolicy>
  readonly sites: readonly Site[]
  readonly siteByAddress: CidrTrie<Site>
  readonly trusted: CidrTrie<{ readonly range: Cidr; readonly at: SourceLine }>
  readonly allow: CidrTrie<AllowEntry>
  readonly ban: CidrTrie<BanEntry>
  readonly geo: GeoPolicy
  /** Empty: every stage enforces. Those that are over stay listed. */
  readonly trials: readonly Trial[]
  readonly tlsProfiles: ReadonlyMap<TlsProfileName, TlsProfile>
  readonly limits: Limits
  readonly journal: JournalPolicy
  readonly rules: RuleSet
  readonly admin: { readonly endpoint: Endpoint; readonly at: SourceLine }
  /** Null: there is no dashboard. */
  readonly dashboard: DashboardPolicy | null
  /** What the assistants for trial and cut-over need; decisions never read it. */
  readonly deployment: Deployment
  /** Absolute directories. */
  readonly directories: {
    readonly policy: string
    readonly certs: string
    readonly geoip: string
    readonly state: string
  }
}
