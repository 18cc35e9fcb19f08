// The decisions about raw TCP: may this source open a stream here, is the service open to it, is its ClientHello good enough?
import type { RuleHit } from '../ips/rule-set.ts'
import { strongestTls, type TlsVersion } from '../net/tls-version.ts'
import { decideStanding } from './decide-accept.ts'
import { classPolicy, decideAccess, type AccessVerdict } from './decide-access.ts'
import { chooseTlsProfile, weakestProfile } from './decide-hello.ts'
import type { HeaderView, HelloFacts, SourceFacts } from './facts.ts'
import type { Reason } from './reasons.ts'
import { sourceRefusal } from './only-from.ts'
import { refusalOfHits } from './rule-hits.ts'
import { helloScope } from './rule-scope.ts'
import type { ClassPolicy, Overlay, Snapshot, TlsProfileName } from './snapshot.ts'
import type { AcceptVerdict, Standing } from './standing.ts'
import type { StreamListener, StreamService } from './streams.ts'
import { note, refuseWith } from './trace.ts'
import { isTried, refuseUnlessTried, type WouldBe } from './trial.ts'
import type { Refusal, Trace } from './verdict.ts'
import { standingOf } from './who.ts'

/** What is open already, the stream in question not counted. */
export type StreamCounts = {
  /** Connections of the source and in all, on every listener of the gate. */
  readonly gateFromSource: number
  readonly gateTotal: number
  /** Streams of this listener: in all, of the source, of the source's site (null: it belongs to none). */
  readonly total: number
  readonly fromSource: number
  readonly fromSite: (site: string) => number
}

/** Nothing is open: for questions of people and of the ledger. */
export const NOTHING_OPEN: StreamCounts = {
  gateFromSource: 0,
  gateTotal: 0,
  total: 0,
  fromSource: 0,
  fromSite: () => 0,
}

/** Facts at the accept phase of a stream. */
export type StreamAcceptFacts = {
  readonly source: SourceFacts
  readonly listener: StreamListener
  /** The port that the client came to; null: not known. */
  readonly port: number | null
  readonly open: StreamCounts
  readonly nowMs: number
}

/** Decides whether a source may open a stream: the accept phase of every connection, then what this listener adds. */
export function decideStreamAccept(
  snapshot: Snapshot,
  overlay: Overlay,
  facts: StreamAcceptFacts,
  trace?: Trace,
): AcceptVerdict {
  const { source, listener, open, nowMs } = facts
  const standing = standingOf(snapshot, overlay, source, nowMs)
  const accept = decideStanding(
    standing,
    {
      source,
      listener: listener.id,
      openFromSource: open.gateFromSource,
      openTotal: open.gateTotal,
      nowMs,
    },
    trace,
  )
  if (!accept.allow) return accept
  const refusal =
    limitRefusal(standing, facts, trace) ??
    portRefusal(standing, facts, trace) ??
    sourceRefusal(standing, listener.onlyFrom, trace)
  return refusal === null ? accept : { allow: false, standing, refusal }
}

function limitRefusal(
  { site }: Standing,
  { listener, open }: StreamAcceptFacts,
  trace: Trace | undefined,
): Refusal | null {
  const refuse = (reason: Reason, saw: string): Refusal =>
    refuseWith(trace, 'limits', reason, saw, listener.at)
  const { connections, connectionsPerSource, connectionsPerSite } = listener
  if (open.fromSource >= connectionsPerSource)
    return refuse('stream-limit-source', `${open.fromSource} of ${connectionsPerSource} open`)
  if (site !== null && connectionsPerSite !== null) {
    const fromSite = open.fromSite(site.id)
    if (fromSite >= connectionsPerSite)
      return refuse('stream-limit-site', `${fromSite} of ${connectionsPerSite} open from ${site.id}`)
  }
  if (open.total >= connections) return refuse('stream-limit-total', `${open.total} of ${connections} open`)
  if (trace)
    note(
      trace,
      'limits',
      'pass',
      `${open.fromSource} of ${connectionsPerSource} streams`,
      `within the limits of stream ${listener.id}`,
      listener.at,
    )
  return null
}

function portRefusal(
  { trusted }: Standing,
  { listener, port }: StreamAcceptFacts,
  trace: Trace | undefined,
): Refusal | null {
  const why = port === null ? undefined : listener.internalPorts.get(port)
  if (why === undefined) return null
  if (trusted === null)
    return refuseWith(trace, 'access', 'port-internal', `port ${port}: ${why}`, listener.at)
  if (trace) note(trace, 'access', 'pass', `port ${port}`, `trusted source ${trusted.value}`, trusted.at)
  return null
}

/** What is known when a service has been chosen. */
export type StreamServiceFacts = {
  readonly service: StreamService
  /** Id of the stream listener. */
  readonly listener: string
  /** Streams of the class that the source has open, on every listener. */
  readonly openOfClass: number
  /** Null: the bytes are not TLS, or nobody has said anything yet. */
  readonly tlsVersion: TlsVersion | null
  readonly nowMs: number
}

/** Decides whether the class of a service is open to the source. Raw TCP has no place for a key, so a class that needs one is closed to all but trusted sources. */
export function decideStreamService(
  standing: Standing,
  { service, listener, openOfClass, tlsVersion, nowMs }: StreamServiceFacts,
  trace?: Trace,
): AccessVerdict {
  const policy = classPolicy({ standing }, service.class)
  const limit = policy.limits.concurrentPerSource
  if (limit > 0 && openOfClass >= limit) {
    const saw = `${openOfClass} of ${limit} ${service.class} open`
    const refusal = refuseWith(trace, 'limits', 'stream-limit-class', saw, policy.access.at)
    return { refusal, wouldBe: null }
  }
  const question = { class: service.class, listener, nowMs, tlsVersion, request: bareRequest(policy) }
  return decideAccess(standing, policy, question, trace)
}

const NO_HEADERS: HeaderView = { get: () => undefined, raw: [] }
const noDigest = (): string => ''

// Raw bytes have no method either: one is asked about that the class takes.
function bareRequest({ limits }: ClassPolicy) {
  const [method = 'POST'] = limits.methods ?? []
  return { facts: { method, query: '', headers: NO_HEADERS }, sha256Hex: noDigest }
}

/** Verdict on the ClientHello of a stream. */
export type StreamHelloVerdict =
  | {
      readonly allow: true
      readonly service: StreamService
      /** Null: TLS is not terminated here. */
      readonly tlsProfile: TlsProfileName | null
      readonly wouldBe: WouldBe | null
      readonly hits: readonly RuleHit[]
    }
  | { readonly allow: false; readonly refusal: Refusal; readonly hits: readonly RuleHit[] }

/**
 * Decides on a ClientHello: which service it is for, whether the offered TLS version is enough where TLS ends here, and
 * whether a rule objects. The class is asked apart, by `decideStreamService`, with the version that this may come to.
 */
export function decideStreamHello(
  standing: Standing,
  listener: StreamListener,
  services: readonly StreamService[],
  hello: HelloFacts,
  nowMs: number,
  trace?: Trace,
): StreamHelloVerdict {
  const { serverName } = hello
  const service = services.find(entry => isMeant(entry.names, serverName))
  if (service === undefined) {
    const reason = serverName === null ? 'name-missing' : 'name-unknown'
    const refusal = refuseWith(trace, 'name', reason, serverName ?? 'no server name', listener.at)
    return { allow: false, refusal, hits: [] }
  }
  if (trace) note(trace, 'name', 'pass', serverName ?? 'no server name', 'a service takes it', service.at)
  const terminate = service.action.kind === 'forward' ? service.action.terminate : null
  let tlsProfile: TlsProfileName | null = null
  let wouldBe: WouldBe | null = null
  if (terminate !== null) {
    const own = { tlsProfile: terminate.tlsProfile, at: service.at }
    tlsProfile = chooseTlsProfile(
      standing,
      own,
      { tlsProfile: null, at: service.at },
      hello.versions,
      nowMs,
      trace,
    )
    if (tlsProfile === null) {
      const saw =
        hello.versions.length === 0
          ? 'no TLS version that the gate knows'
          : `offered ${hello.versions.join(', ')}`
      const at = standing.site?.tlsException?.at ?? service.at
      const place = { standing, listener: listener.id, nowMs }
      const refusal = refuseUnlessTried(trace, place, 'tls', 'tls-version-too-low', saw, at)
      tlsProfile = weakestProfile(hello.versions)
      if (!isTried(refusal) || tlsProfile === null) return { allow: false, refusal, hits: [] }
      wouldBe = refusal
    }
  }
  const hits =
    hello.ja4 === '' ? [] : standing.snapshot.rules.matchHello(hello, helloScope(standing, listener, nowMs))
  const refusal = refusalOfHits(hits, trace)
  return refusal === null
    ? { allow: true, service, tlsProfile, wouldBe, hits }
    : { allow: false, refusal, hits }
}

/** The TLS version to ask the class about before the handshake: the best that the client offers. */
export function bestOffered({ versions }: Pick<HelloFacts, 'versions'>): TlsVersion | null {
  return strongestTls(versions) ?? null
}

function isMeant(names: readonly string[], serverName: string | null): boolean {
  if (names.length === 0) return true
  if (serverName === null) return false
  const dot = serverName.indexOf('.')
  const wildcard = dot > 0 ? `*${serverName.slice(dot)}` : null
  return names.some(name => name === serverName || name === wildcard)
}
