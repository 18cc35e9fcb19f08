// A complete snapshot for tests of the core and the edge, every part replaceable.
import { parseAddress, addressScope } from '../../src/net/address.ts'
import { CidrTrie, parseCidr, type Cidr } from '../../src/net/cidr.ts'
import type { RuleSet } from '../../src/ips/rule-set.ts'
import { CLASSES, type TrafficClass } from '../../src/policy/classes.ts'
import type { SourceFacts } from '../../src/policy/facts.ts'
import type {
  ClassLimits,
  ClassPolicy,
  HealthProbe,
  Listener,
  Name,
  Overlay,
  Profile,
  Site,
  Snapshot,
  Stated,
  UpstreamGroup,
} from '../../src/policy/snapshot.ts'
import type { SourceLine } from '../../src/policy/source-line.ts'

/** A made-up policy line. */
export const at = (line: number): SourceLine => ({ file: 'policies/portcullis.yaml', line, column: 1 })

/** A value stated on a made-up line. */
export const stated = <T>(value: T, line = 1): Stated<T> => ({ value, at: at(line) })

/** Parses a range or throws. */
export function cidr(text: string): Cidr {
  const parsed = parseCidr(text)
  if (typeof parsed === 'string') throw new Error(`${text}: ${parsed}`)
  return parsed
}

/** A source with the country that a database would give. */
export function source(
  text: string,
  country: string | null = null,
  second: string | null = null,
): SourceFacts {
  const address = parseAddress(text)
  if (address === undefined) throw new Error(`not an address: ${text}`)
  return { address, geo: { scope: addressScope(address), country, second, available: true } }
}

/** A rule set without rules. */
export const noRules: RuleSet = {
  size: 0,
  rules: [],
  matchHead: () => [],
  wantsBody: () => false,
  matchBody: () => [],
  messagesWanted: () => 0,
  matchMessage: () => [],
  matchHello: () => [],
  ratesOf: () => [],
  counters: () => [],
}

/** Class limits with short times, fit for tests. */
export const testLimits: ClassLimits = {
  maxBodyBytes: 1 << 30,
  bodyIdleMs: 5_000,
  responseMs: 5_000,
  responseIdleMs: 5_000,
  webSocketIdleMs: 10_000,
  concurrentPerSource: 10_000,
  maxResponseBytes: 0,
  methods: null,
  whenUnread: 'refuse',
}

/** A class that is open to everybody from home. */
export function classPolicy(overrides: Partial<ClassPolicy> = {}): ClassPolicy {
  return {
    access: stated('open', 10),
    countries: stated(new Set(['US']), 2),
    minimumTls: null,
    keys: [],
    windows: [],
    limits: testLimits,
    ...overrides,
  }
}

/** A probe that nothing sends in unit tests. */
export const testProbe: HealthProbe = {
  method: 'GET',
  path: '/health',
  statuses: new Set([200]),
  bodyPattern: null,
  intervalMs: 1_000,
  timeoutMs: 1_000,
}

/** A profile like ConnectWise Automate's, shortened. */
export const testProfile: Profile = {
  id: 'test',
  product: 'Test RMM',
  caseSensitive: false,
  rules: [
    { class: 'console', pattern: '/labtech/controlcenter.asmx', methods: null, webSocket: null, at: at(100) },
    { class: 'agent', pattern: '/labtech/agent.aspx', methods: null, webSocket: null, at: at(101) },
    { class: 'agent', pattern: '/agent', methods: null, webSocket: null, at: at(102) },
    { class: 'enroll', pattern: '/labtech/deployment.aspx', methods: null, webSocket: null, at: at(103) },
    { class: 'transfer', pattern: '/labtech/transfer', methods: null, webSocket: null, at: at(104) },
    { class: 'console', pattern: '/automate', methods: null, webSocket: null, at: at(105) },
    { class: 'api', pattern: '/cwa/api', methods: null, webSocket: null, at: at(106) },
  ],
  forwardedHeaders: ['x-forwarded-for', 'x-forwarded-proto', 'x-forwarded-host'],
  removeResponseHeaders: ['server', 'x-powered-by', 'x-aspnet-version'],
  pinsCertificate: false,
  checkInEveryMs: null,
  health: testProbe,
  packs: [],
}

/** The listener `https` on an ephemeral loopback port. */
export function listener(overrides: Partial<Listener> = {}): Listener {
  return {
    id: 'https',
    endpoints: [{ host: '127.0.0.1', port: 0 }],
    tlsProfile: 'modern',
    loadBalancers: [],
    withoutName: null,
    at: at(20),
    ...overrides,
  }
}

/** The name `rmm.example.test` before upstream group `rmm`. */
export function name(overrides: Partial<Name> = {}): Name {
  return {
    host: 'rmm.example.test',
    upstream: 'rmm',
    tlsProfile: null,
    certificates: null,
    whenDown: 'unavailable',
    profile: testProfile,
    at: at(30),
    ...overrides,
  }
}

/** An upstream group of plain-HTTP members on loopback ports, first is primary. */
export function upstreamGroup(
  ports: readonly number[],
  overrides: Partial<UpstreamGroup> = {},
): UpstreamGroup {
  return {
    id: 'rmm',
    members: ports.map((port, index) => ({
      id: `rmm/${index === 0 ? 'primary' : 'secondary'}`,
      origin: { protocol: 'http', host: '127.0.0.1', port },
      tls: null,
      at: at(40 + index),
    })),
    health: testProbe,
    returnAfterMs: 60_000,
    hostHeader: 'preserve',
    at: at(39),
    ...overrides,
  }
}

/** A site with the given ranges. */
export function site(id: string, ranges: readonly string[], overrides: Partial<Site> = {}): Site {
  return {
    id,
    name: id,
    ranges: ranges.map(cidr),
    countries: null,
    classes: new Map(),
    trusted: false,
    tlsException: null,
    connectionsPerSource: null,
    agents: null,
    at: at(50),
    ...overrides,
  }
}

/** An overlay with nothing in it. */
export function emptyOverlay(): Overlay {
  return { allow: new CidrTrie(), ban: new CidrTrie() }
}

/** A trie of sites. */
export function siteTrie(sites: readonly Site[]): CidrTrie<Site> {
  const trie = new CidrTrie<Site>()
  for (const entry of sites) for (const range of entry.ranges) trie.insert(range, entry)
  return trie
}

/** A whole snapshot: home US, loopback admitted, every class open. `sites` also fills `siteByAddress`. */
export function snapshot(overrides: Partial<Snapshot> = {}): Snapshot {
  const sites = overrides.sites ?? []
  return {
    id: 'test',
    files: [],
    loadedMs: 0,
    model: stated('all-traffic'),
    home: stated(new Set(['US']), 2),
    heartbeats: [],
    invitations: null,
    streams: [],
    listeners: [listener()],
    names: [name()],
    gateway: { connectors: new Map(), identity: 'pin', attachments: 1_000, attachmentsPerSource: 500 },
    upstreams: new Map([['rmm', upstreamGroup([])]]),
    classes: new Map<TrafficClass, ClassPolicy>(CLASSES.map(entry => [entry, classPolicy()])),
    sites,
    siteByAddress: siteTrie(sites),
    trusted: new CidrTrie(),
    allow: new CidrTrie(),
    ban: new CidrTrie(),
    geo: {
      private: stated('refuse', 3),
      cgnat: stated('refuse', 4),
      loopback: stated('allow', 5),
      unknown: stated('refuse', 6),
      unavailable: stated('refuse', 7),
      overrides: new CidrTrie(),
      admittedSomewhere: new Set(['US']),
    },
    trials: [],
    tlsProfiles: new Map([
      ['modern', { name: 'modern', minimum: 'TLSv1.2', ciphers: '', policyHash: 'modern' }],
      ['strict', { name: 'strict', minimum: 'TLSv1.3', ciphers: '', policyHash: 'strict' }],
      ['legacy', { name: 'legacy', minimum: 'TLSv1', ciphers: 'DEFAULT:@SECLEVEL=0', policyHash: 'legacy' }],
    ]),
    limits: {
      connections: 20_000,
      connectionsPerSource: 5_000,
      helloMs: 2_000,
      helloBytes: 16_384,
      handshakeMs: 5_000,
      headBytes: 32_768,
      headerCount: 100,
      targetBytes: 8_192,
      headMs: 2_000,
      keepAliveMs: 10_000,
      requestsPerConnection: 100_000,
      inspectBytes: 131_072,
      messageBytes: 65_536,
      heldBytes: 64 << 20,
      heldBytesPerSecond: 1_024,
      upstreamConnectMs: 2_000,
      drainMs: 1_000,
    },
    journal: {
      log: 'stdout',
      logDir: '/nonexistent',
      logMaxBytes: 1_000_000,
      logFiles: 3,
      requests: 'refused',
      eventDays: 30,
      ledgerDays: 30,
      maxStoreBytes: 1 << 30,
    },
    rules: noRules,
    admin: { endpoint: { host: '127.0.0.1', port: 0 }, at: at(60) },
    dashboard: null,
    deployment: { direct: null, egress: [] },
    directories: {
      policy: '/nonexistent',
      certs: '/nonexistent',
      geoip: '/nonexistent',
      state: '/nonexistent',
    },
    ...overrides,
  }
}
