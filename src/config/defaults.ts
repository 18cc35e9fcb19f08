// Built-in values: what each deployment model opens, limits by class, TLS profiles, the health probe.
import { createHash } from 'node:crypto'
import { CLASSES, type TrafficClass } from '../policy/classes.ts'
import type {
  Access,
  ClassLimits,
  HealthProbe,
  Snapshot,
  TlsProfile,
  TlsProfileName,
} from '../policy/snapshot.ts'
import type { TlsVersion } from '../net/tls-version.ts'

/** A deployment model. */
export type Model = Snapshot['model']['value']

const AGENTS: ReadonlySet<TrafficClass> = new Set(['agent', 'update', 'transfer', 'heartbeat', 'relay'])

/** How open a deployment model leaves a class. */
export function modelAccess(model: Model, trafficClass: TrafficClass): Access {
  if (model === 'all-traffic' || AGENTS.has(trafficClass)) return 'open'
  return model === 'agent-only' ? 'closed' : 'trusted'
}

const MIB = 1024 ** 2
const GIB = 1024 ** 3
const MINUTE_MS = 60_000
const HOUR_MS = 60 * MINUTE_MS

const USUAL: ClassLimits = {
  maxBodyBytes: 64 * MIB,
  bodyIdleMs: 2 * MINUTE_MS,
  responseMs: 10 * MINUTE_MS,
  responseIdleMs: 10 * MINUTE_MS,
  webSocketIdleMs: 15 * MINUTE_MS,
  concurrentPerSource: 2_000,
  maxResponseBytes: 0,
  methods: null,
  whenUnread: 'refuse',
}

// Agents upload whatever a script collects, and a fleet may stand behind one address.
const AGENT: ClassLimits = {
  ...USUAL,
  maxBodyBytes: 16 * GIB,
  concurrentPerSource: 5_000,
  whenUnread: 'record',
}

const LIMITS: Readonly<Record<TrafficClass, ClassLimits>> = {
  agent: AGENT,
  enroll: { ...USUAL, maxBodyBytes: MIB },
  update: { ...AGENT, maxBodyBytes: MIB },
  transfer: AGENT,
  // SOAP calls of Windows consoles run for hours in the field.
  console: { ...USUAL, maxBodyBytes: GIB, responseMs: 10 * HOUR_MS, responseIdleMs: 10 * HOUR_MS },
  api: USUAL,
  heartbeat: { ...AGENT, maxBodyBytes: MIB },
  relay: { ...AGENT, webSocketIdleMs: HOUR_MS },
  other: { ...USUAL, maxBodyBytes: 16 * MIB, concurrentPerSource: 500 },
}

/** Limits of a class before profile and policy say anything. */
export function builtInLimits(trafficClass: TrafficClass): ClassLimits {
  return LIMITS[trafficClass]
}

/** Probe of a profile that leaves parts out. */
export const builtInProbe: HealthProbe = {
  method: 'GET',
  path: '/',
  statuses: new Set([200]),
  bodyPattern: null,
  intervalMs: 5_000,
  timeoutMs: 4_000,
}

const TLS_13 = 'TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256'

// Forward secrecy only. The CBC suites at the end are the only ones that Windows 7 to Server 2012 R2 offers with RSA certificates.
const MODERN = [
  TLS_13,
  'ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256',
  'ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384',
  'ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305',
  'ECDHE-ECDSA-AES128-SHA256:ECDHE-RSA-AES128-SHA256',
  'ECDHE-ECDSA-AES256-SHA384:ECDHE-RSA-AES256-SHA384',
  'ECDHE-ECDSA-AES128-SHA:ECDHE-RSA-AES128-SHA',
  'ECDHE-ECDSA-AES256-SHA:ECDHE-RSA-AES256-SHA',
].join(':')

/** The TLS profiles. */
export function tlsProfiles(): ReadonlyMap<TlsProfileName, TlsProfile> {
  return new Map([
    tlsProfile('modern', 'TLSv1.2', MODERN),
    tlsProfile('strict', 'TLSv1.3', TLS_13),
    // OpenSSL 3 has TLS 1.0 and 1.1 at security level 0 only.
    tlsProfile('legacy', 'TLSv1', 'DEFAULT:@SECLEVEL=0'),
  ])
}

function tlsProfile(
  name: TlsProfileName,
  minimum: TlsVersion,
  ciphers: string,
): readonly [TlsProfileName, TlsProfile] {
  const policyHash = createHash('sha256').update(`${name}\n${minimum}\n${ciphers}`).digest('hex')
  return [name, { name, minimum, ciphers, policyHash }]
}

/** Every class with a value made for it. */
export function byClass<Value>(make: (trafficClass: TrafficClass) => Value): Map<TrafficClass, Value> {
  return new Map(CLASSES.map(entry => [entry, make(entry)]))
}
