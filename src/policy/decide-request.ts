// The request decision: host, class, access (country, source, TLS, window, key), rules on the head; later rules on the body.
import type { RuleHit } from '../ips/rule-set.ts'
import type { TrafficClass } from './classes.ts'
import { classify } from './classify.ts'
import { classPolicy, decideAccess, type Digest } from './decide-access.ts'
import { chooseTlsProfile, findName } from './decide-hello.ts'
import type { RequestFacts } from './facts.ts'
import type { ClassPolicy, Name } from './snapshot.ts'
import { isMeant, onlyFromText } from './only-from.ts'
import { isOwnPath, OWN_RULE } from './own-path.ts'
import { refusalOfHits } from './rule-hits.ts'
import { ruleScope } from './rule-scope.ts'
import { BUILT_IN } from './source-line.ts'
import type { ConnectionFacts, RequestVerdict, Standing } from './standing.ts'
import { decideStanding } from './decide-accept.ts'
import { note, refuseWith } from './trace.ts'
import { isTried, refuseUnlessTried, type WouldBe } from './trial.ts'
import type { Refusal, Trace } from './verdict.ts'

export { classPolicy, type Digest } from './decide-access.ts'

const NO_HITS: readonly RuleHit[] = []

/** Decides on the head of a request. The verdict names the class, so that limits and events follow from it. */
export function decideRequest(
  connection: ConnectionFacts,
  facts: RequestFacts,
  sha256Hex: Digest,
  trace?: Trace,
): RequestVerdict {
  const { standing } = connection
  const name = decideHost(connection, facts, trace)
  if ('reason' in name) return { allow: false, class: null, refusal: name, hits: NO_HITS }

  const own = name.dashboard
  if (own !== undefined && !isMeant(standing, own.onlyFrom)) {
    const saw = `${name.host}, which serves the dashboard to ${onlyFromText(own.onlyFrom)} only`
    const refusal = refuseWith(trace, 'host', 'host-unknown', saw, own.onlyFrom.at)
    return { allow: false, class: null, refusal, hits: NO_HITS }
  }

  // What the gate itself answers is for keys and operators: no trial opens it.
  const isOwn = own !== undefined || isOwnPath(facts)
  const tried = standing.snapshot.trials.length > 0 && !isOwn ? connection.listener.id : null
  let wouldBe = tried === null ? null : acceptedByTrial(standing, tried, facts.nowMs)
  const outdated = decideTls(connection, name, tried, facts.nowMs, trace)
  if (outdated !== null) {
    if (!isTried(outdated)) return { allow: false, class: null, refusal: outdated, hits: NO_HITS }
    wouldBe ??= outdated
  }

  const classified = classify(name.profile, facts)
  if (!classified.clear) {
    const saw = `${classified.readAs}, which could also be read as ${classified.butAlso}`
    const refusal = refuseWith(trace, 'class', 'target-invalid', saw, name.at)
    return { allow: false, class: null, refusal, hits: NO_HITS }
  }
  const { rule } = classified
  const trafficClass = rule?.class ?? 'other'
  // Who connectors and operators may be is the same at every name.
  const policy = own === undefined || isOwnPath(facts) ? classPolicy(connection, trafficClass) : own.policy
  if (trace) {
    const why =
      rule === OWN_RULE
        ? 'connectors and operators of the gate itself'
        : rule
          ? `profile ${name.profile.id} calls this ${trafficClass}`
          : `no line of profile ${name.profile.id} names it`
    note(trace, 'class', 'pass', `${facts.method} ${facts.path}`, why, rule?.at ?? BUILT_IN)
  }

  if (connection.tlsVersion !== 'TLSv1.3' && isOwnPath(facts)) {
    const saw = `${connection.tlsVersion} on a path of connectors and operators`
    const refusal = refuseWith(trace, 'tls', 'tls-version-own', saw, BUILT_IN)
    return { allow: false, class: trafficClass, refusal, hits: NO_HITS }
  }

  const question = {
    class: trafficClass,
    listener: tried,
    nowMs: facts.nowMs,
    tlsVersion: connection.tlsVersion,
    request: { facts, sha256Hex },
  }
  const access = decideAccess(standing, policy, question, trace)
  if (access.refusal !== null)
    return { allow: false, class: trafficClass, refusal: access.refusal, hits: NO_HITS }

  const hits = standing.snapshot.rules.matchHead(facts, ruleScope(connection, trafficClass, facts.nowMs))
  return afterRules(trafficClass, name, policy, hits, wouldBe ?? access.wouldBe, trace)
}

/** Turns rule hits into a verdict; the same for heads, bodies and messages. */
export function afterRules(
  trafficClass: TrafficClass,
  name: Name,
  policy: ClassPolicy,
  hits: readonly RuleHit[],
  wouldBe: WouldBe | null,
  trace?: Trace,
): RequestVerdict {
  const refusal = refusalOfHits(hits, trace)
  if (refusal !== null) return { allow: false, class: trafficClass, refusal, hits }
  return { allow: true, class: trafficClass, name, policy, wouldBe, hits }
}

/** What NetSupport clients ask their gateway for, which most of them know by its address. */
const NETSUPPORT_PATH = '/fakeurl.htm'

function decideHost(
  connection: ConnectionFacts,
  facts: RequestFacts,
  trace: Trace | undefined,
): Name | Refusal {
  const { standing, listener, serverName } = connection
  const { snapshot } = standing
  // Looked up again, because the policy may have changed since the ClientHello.
  const wanted = serverName ?? connection.name.host
  const name = findName(snapshot, wanted)
  if (name === undefined) return refuseWith(trace, 'host', 'host-unknown', wanted, listener.at)
  if (facts.host === name.host || facts.host === serverName) {
    if (trace) note(trace, 'host', 'pass', facts.host, 'same as the TLS server name', name.at)
    return name
  }
  const other = findName(snapshot, facts.host)
  if (other === undefined) {
    // Inside TLS, too: whoever looks for the device wants to know what it is, not that its gateway is no name of ours.
    if (facts.method === 'POST' && facts.pathFolded === NETSUPPORT_PATH) {
      const saw = `the request of a NetSupport client for ${facts.host}, inside TLS`
      return refuseWith(trace, 'host', 'netsupport-elsewhere', saw, listener.at)
    }
    return refuseWith(trace, 'host', 'host-unknown', facts.host, listener.at)
  }
  if (serverName !== null && other !== name) {
    return refuseWith(trace, 'host', 'host-mismatch', `${facts.host}, TLS server name ${serverName}`, name.at)
  }
  // A client without SNI was placed by the listener; it may name another host only where the TLS profile is the same.
  if ((other.tlsProfile ?? listener.tlsProfile) !== (name.tlsProfile ?? listener.tlsProfile)) {
    return refuseWith(trace, 'host', 'host-mismatch', `${facts.host} without a TLS server name`, other.at)
  }
  if (trace) note(trace, 'host', 'pass', facts.host, 'the host is served', other.at)
  return other
}

/**
 * Asks for the TLS minimum again: the policy may have become stricter, or a legacy exception may have ended, under a
 * connection that is still open.
 */
function decideTls(
  connection: ConnectionFacts,
  name: Name,
  tried: string | null,
  nowMs: number,
  trace: Trace | undefined,
): Refusal | WouldBe | null {
  const { standing, listener, tlsVersion } = connection
  if (chooseTlsProfile(standing, listener, name, [tlsVersion], nowMs) !== null) return null
  const at = name.tlsProfile === null ? listener.at : name.at
  const saw = `${tlsVersion} on an open connection`
  return refuseUnlessTried(trace, { standing, listener: tried, nowMs }, 'tls', 'tls-version-too-low', saw, at)
}

/** What the accept phase would have refused the connection for: with enforcing, the request would not be here. */
function acceptedByTrial(standing: Standing, listener: string, nowMs: number): WouldBe | null {
  const { source } = standing
  const verdict = decideStanding(standing, { source, listener, openFromSource: 0, openTotal: 0, nowMs })
  return verdict.allow ? verdict.wouldBe : null
}
