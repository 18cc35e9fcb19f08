// The decision about a heartbeat datagram: the accept phase, then whether class heartbeat is open to its source.
import { classPolicy, decideAccess, type AccessVerdict } from './decide-access.ts'
import { decideAccept } from './decide-accept.ts'
import type { TrafficClass } from './classes.ts'
import type { HeaderView, SourceFacts } from './facts.ts'
import { sourceRefusal } from './only-from.ts'
import type { HeartbeatListener, Overlay, Snapshot } from './snapshot.ts'
import type { Standing } from './standing.ts'

/** Who a source of heartbeats is, why it is refused (null: it is not), and why it would be, were it not for a trial. */
export type HeartbeatVerdict = AccessVerdict & { readonly standing: Standing }

/**
 * Decides whether datagrams of a source may pass. Limits of flows are not asked here: the flow table knows them.
 * @param listener id of the heartbeat listener
 * @param bounds what the listener says of its senders
 */
export function decideHeartbeat(
  snapshot: Snapshot,
  overlay: Overlay,
  source: SourceFacts,
  listener: string,
  nowMs: number,
  bounds: Pick<HeartbeatListener, 'class' | 'onlyFrom'> = {},
): HeartbeatVerdict {
  const verdict = decideAccept(snapshot, overlay, {
    source,
    listener,
    openFromSource: 0,
    openTotal: 0,
    nowMs,
  })
  const { standing } = verdict
  if (!verdict.allow) return { standing, refusal: verdict.refusal, wouldBe: null }
  const elsewhere = sourceRefusal(standing, bounds.onlyFrom)
  if (elsewhere !== null) return { standing, refusal: elsewhere, wouldBe: null }
  const access = decideHeartbeatAccess(standing, listener, nowMs, bounds.class)
  return { standing, refusal: access.refusal, wouldBe: verdict.wouldBe ?? access.wouldBe }
}

/** Whether the class of the datagrams is open to a source that is past the accept phase. */
export function decideHeartbeatAccess(
  standing: Standing,
  listener: string,
  nowMs: number,
  trafficClass: TrafficClass = 'heartbeat',
): AccessVerdict {
  const policy = classPolicy({ standing }, trafficClass)
  // A datagram has no method, so it is asked about one that the class takes; and it has no place for a key.
  const [method = 'POST'] = policy.limits.methods ?? []
  const request = { facts: { method, query: '', headers: NO_HEADERS }, sha256Hex: noDigest }
  const question = { class: trafficClass, listener, nowMs, tlsVersion: null, request }
  return decideAccess(standing, policy, question)
}

const NO_HEADERS: HeaderView = { get: () => undefined, raw: [] }
const noDigest = (): string => ''
