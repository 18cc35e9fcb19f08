// Asks a policy about recorded traffic: what would become of this source with this shape now? The decisions are those of live traffic.
import type { LedgerShape } from '../journal/ledger-facts.ts'
import { portOfShape } from '../journal/path-shape.ts'
import { decideHeartbeatAccess } from '../policy/decide-heartbeat.ts'
import { normaliseTarget } from '../ips/target.ts'
import { strongestTls, tlsRank, type TlsVersion } from '../net/tls-version.ts'
import { classPolicy, decideAccess } from '../policy/decide-access.ts'
import { decideAccept } from '../policy/decide-accept.ts'
import { decideHello } from '../policy/decide-hello.ts'
import { decideRequest } from '../policy/decide-request.ts'
import { decideStreamAccept, decideStreamService, NOTHING_OPEN } from '../policy/decide-stream.ts'
import type { TrafficClass } from '../policy/classes.ts'
import type { HeaderView, SourceFacts } from '../policy/facts.ts'
import type { Reason } from '../policy/reasons.ts'
import type { Listener, Name, Overlay, Snapshot } from '../policy/snapshot.ts'
import type { SourceLine } from '../policy/source-line.ts'
import type { Standing } from '../policy/standing.ts'
import type { StreamListener } from '../policy/streams.ts'
import type { Refusal } from '../policy/verdict.ts'

/** Why traffic would be refused: a reason of the gate, or a listener that is no longer there. */
export type PlanReason = Reason | 'listener-gone'

/** What would become of recorded traffic. */
export type Judgement =
  | { readonly allow: true; readonly class: TrafficClass | null }
  | {
      readonly allow: false
      readonly class: TrafficClass | null
      readonly reason: PlanReason
      readonly saw: string
      readonly line: SourceLine
    }

/** A policy that is asked about sources and shapes; where the ledger's listeners went is worked out once. */
export type Judge = {
  readonly snapshot: Snapshot
  readonly overlay: Overlay
  readonly listenerOf: (id: string) => Listener | undefined
  /** Whether the UDP listener of the ledger is still there, under its id or on one of its ports. */
  readonly takesHeartbeats: (id: string) => boolean
}

/**
 * Makes a judge. `recordedBy` is the policy under which the ledger was written: its listeners are found again by name, or by
 * address and port when they were renamed.
 */
export function makeJudge(snapshot: Snapshot, overlay: Overlay, recordedBy: Snapshot): Judge {
  const found = new Map<string, Listener | undefined>()
  const listenerOf = (id: string): Listener | undefined => {
    const same = snapshot.listeners.find(listener => listener.id === id)
    if (same !== undefined) return same
    const before = recordedBy.listeners.find(listener => listener.id === id)
    const ports = before?.endpoints.map(endpoint => endpoint.port) ?? []
    return snapshot.listeners.find(listener => listener.endpoints.some(({ port }) => ports.includes(port)))
  }
  return {
    snapshot,
    overlay,
    takesHeartbeats: id => {
      const before = recordedBy.heartbeats.find(listener => listener.id === id)
      const ports = before?.endpoints.map(endpoint => endpoint.port) ?? []
      return snapshot.heartbeats.some(
        listener => listener.id === id || listener.endpoints.some(({ port }) => ports.includes(port)),
      )
    },
    listenerOf: id => {
      if (!found.has(id)) found.set(id, listenerOf(id))
      return found.get(id)
    },
  }
}

/** What a source is under the judged policy, and whether it gets past the accept phase at all. */
export type JudgedSource = { readonly standing: Standing; readonly refusal: Refusal | null }

/** Judges the accept phase. Connection limits are not asked: the ledger does not know what was open at once. */
export function judgeSource(
  judge: Judge,
  source: SourceFacts,
  listener: string,
  nowMs: number,
): JudgedSource {
  const facts = { source, listener, openFromSource: 0, openTotal: 0, nowMs }
  const verdict = decideAccept(judge.snapshot, judge.overlay, facts)
  return { standing: verdict.standing, refusal: verdict.allow ? null : verdict.refusal }
}

/** Judges one shape of a source. */
export function judgeShape(judge: Judge, source: JudgedSource, shape: LedgerShape, nowMs: number): Judgement {
  if (source.refusal !== null) return refused(source.refusal, shape.class)
  if (shape.phase === 'stream') return judgeStream(judge, source.standing, shape, nowMs)
  if (shape.phase === 'datagram') return judgeHeartbeat(judge, source.standing, shape, nowMs)
  const listener = judge.listenerOf(shape.listener)
  if (listener === undefined) {
    return gone(judge, shape)
  }
  if (shape.phase === 'accept') return { allow: true, class: null }
  const { standing } = source
  const offered = shape.offered.toSorted((a, b) => tlsRank(b) - tlsRank(a))
  const hello = {
    serverName: shape.serverName,
    versions: offered,
    alpn: [],
    ja4: shape.ja4 ?? '',
    cipherCount: 0,
  }
  const verdict = decideHello(standing, listener, hello, isUp, nowMs)
  if (!verdict.allow) return refused(verdict.refusal, shape.class)
  if (shape.phase === 'hello') return { allow: true, class: null }
  return judgeRequest(standing, listener, verdict.name, shape, negotiatedOf(shape), nowMs)
}

// Whether a server answers is not a matter of the policy.
const isUp = (): boolean => true
const NO_HEADERS: HeaderView = { get: () => undefined, raw: [] }
// Keys are not recorded, so no request carries one.
const noDigest = (): string => ''

function negotiatedOf(shape: LedgerShape): TlsVersion {
  return shape.negotiated ?? strongestTls(shape.offered) ?? 'TLSv1.3'
}

function judgeRequest(
  standing: Standing,
  listener: Listener,
  name: Name,
  shape: LedgerShape,
  tlsVersion: TlsVersion,
  nowMs: number,
): Judgement {
  const path = shape.path ?? '*'
  const normal = path === '*' ? undefined : normaliseTarget(path)
  if (normal === undefined) {
    // Paths were too many to be kept apart: the class that was recorded is asked instead.
    const trafficClass = shape.class ?? 'other'
    const question = { class: trafficClass, listener: listener.id, nowMs, tlsVersion, request: null }
    const { refusal } = decideAccess(standing, classPolicy({ standing }, trafficClass), question)
    return refusal === null ? { allow: true, class: trafficClass } : refused(refusal, trafficClass)
  }
  const facts = {
    method: shape.method ?? 'GET',
    host: shape.host ?? name.host,
    target: path,
    ...normal,
    headers: NO_HEADERS,
    webSocket: shape.webSocket,
    nowMs,
  }
  const connection = { standing, listener, name, serverName: shape.serverName, tlsVersion }
  const verdict = decideRequest(connection, facts, noDigest)
  return verdict.allow
    ? { allow: true, class: verdict.class }
    : refused(verdict.refusal, verdict.class ?? shape.class)
}

function judgeHeartbeat(judge: Judge, standing: Standing, shape: LedgerShape, nowMs: number): Judgement {
  if (!judge.takesHeartbeats(shape.listener)) return gone(judge, shape)
  const { refusal } = decideHeartbeatAccess(standing, shape.listener, nowMs)
  return refusal === null ? { allow: true, class: 'heartbeat' } : refused(refusal, 'heartbeat')
}

/** The listener by its id, or by the port that clients came to; then the service by its class, which is all that is recorded. */
function judgeStream(judge: Judge, standing: Standing, shape: LedgerShape, nowMs: number): Judgement {
  const { streams } = judge.snapshot
  const port = portOfShape(shape.path)
  const isOn = ({ endpoints }: StreamListener): boolean => endpoints.some(endpoint => endpoint.port === port)
  const byId = streams.find(entry => entry.id === shape.listener)
  // Port 0 stands for any: the recorded port is then of no use.
  const keeps = byId?.endpoints.some(endpoint => endpoint.port === 0) === true || port === null
  const listener = byId !== undefined && (keeps || isOn(byId)) ? byId : streams.find(isOn)
  if (listener === undefined) return gone(judge, shape)
  const facts = { source: standing.source, listener, port, open: NOTHING_OPEN, nowMs }
  const verdict = decideStreamAccept(judge.snapshot, judge.overlay, facts)
  if (!verdict.allow) return refused(verdict.refusal, shape.class)
  const service =
    listener.services.find(entry => entry.start === shape.method && entry.class === shape.class) ??
    listener.services.find(entry => entry.start === shape.method) ??
    (listener.kind === 'tcp' ? listener.services[0] : undefined)
  if (service === undefined) return shape.class === null ? { allow: true, class: null } : gone(judge, shape)
  const question = { service, listener: listener.id, openOfClass: 0, tlsVersion: shape.negotiated, nowMs }
  const { refusal } = decideStreamService(standing, question)
  return refusal === null ? { allow: true, class: service.class } : refused(refusal, service.class)
}

function gone(judge: Judge, shape: LedgerShape): Judgement {
  return {
    allow: false,
    class: shape.class,
    reason: 'listener-gone',
    saw: `listener ${shape.listener}`,
    line: judge.snapshot.home.at,
  }
}

function refused(refusal: Refusal, trafficClass: TrafficClass | null): Judgement {
  const { reason, saw, line } = refusal
  return { allow: false, class: trafficClass, reason, saw, line }
}
