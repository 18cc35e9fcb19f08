// What a source met, explained: which recorded outcome still counts, what it means, and whether the policy has changed since.
import { parseAddress } from '../net/address.ts'
import { strongestTls, tlsRank, type TlsVersion } from '../net/tls-version.ts'
import { REASONS } from '../policy/reasons.ts'
import type { Activity, OutcomeCount } from './activity.ts'
import { classOutcome } from './class-trouble.ts'
import { endedException } from './ended.ts'
import {
  banSentence,
  fixContext,
  problem,
  subjectOf,
  witnessed,
  type Diagnosis,
  type Evidence,
} from './finding.ts'
import * as fixes from './fixes.ts'
import * as clients from './fixes-client.ts'
import { handshakeFix, isAboutChain, readHandshake, type HandshakeFault } from './handshake.ts'
import { heartbeatOutcome } from './heartbeat-limits.ts'
import { likelyClient } from './tls-client.ts'
import { settled } from './settled.ts'
import { isStreamReason, streamOutcome, streamServerDown } from './streams.ts'

/** The newest outcome that nothing has put right since; undefined: none. */
export function standingTrouble(activity: Activity): OutcomeCount | undefined {
  return activity.outcomes.find(entry => entry.outcome !== 'silent' && !isOver(entry, activity))
}

/**
 * Whether success followed. Many devices stand behind one address, so only a like success counts: in the same classes, or
 * for connections by any client, unless the fingerprint says that other devices had it.
 */
function isOver(outcome: OutcomeCount, activity: Activity): boolean {
  // A device that speaks no better TLS never succeeds; those that do are others.
  if (outcome.outcome === 'tls-version-too-low') return false
  if (outcome.outcome === 'handshake-failed' && activity.lastPassedMs !== null) {
    const others = outcome.ja4.length > 0 && !outcome.ja4.some(ja4 => activity.passedJa4.includes(ja4))
    if (others) return false
  }
  if (outcome.classes.length > 0) {
    return outcome.classes.every(name => {
      const passedMs = activity.classes.find(entry => entry.class === name)?.lastPassedMs ?? null
      return passedMs !== null && passedMs > outcome.lastMs
    })
  }
  return activity.lastPassedMs !== null && activity.lastPassedMs > outcome.lastMs
}

/** Says what an outcome means now. */
export function explainOutcome(outcome: OutcomeCount, evidence: Evidence): Diagnosis {
  const { publicHost, explanation } = evidence
  const address = subjectOf(evidence)
  const context = fixContext(evidence)
  const times = timesOf(outcome, evidence.nowMs)
  const kind = outcome.outcome
  if (kind === 'silent') throw new Error('not a trouble')
  const seen = witnessed(evidence, kind)
  if (kind === 'handshake-failed') {
    const { fault, words } = readHandshake(evidence.handshakeProblem)
    const others = healthyOthers(outcome, evidence)
    return problem(
      'handshake',
      `${address} reaches the gate but breaks off the TLS handshake ${times}: ${words}.${others}${gapWords(fault, evidence)}`,
      handshakeFix(fault, publicHost, evidence.incompleteChain ?? null),
      [seen],
    )
  }
  if (isStreamReason(kind)) return streamOutcome(kind, outcome, evidence, times)
  const raw = kind === 'upstream-down' ? streamServerDown(outcome, evidence, times) : null
  if (raw !== null) return raw
  const { because } = REASONS[kind]
  const refused = `${address} was refused ${times} because ${because}.`
  switch (kind) {
    case 'country-refused':
    case 'country-unknown':
    case 'network-refused':
    case 'geo-unavailable':
      return settled(`${address} was refused because ${because} (${times})`)
    case 'banned':
      return banOutcome(outcome, evidence, times)
    case 'tls-version-too-low':
      return tlsOutcome(outcome, evidence, times)
    case 'name-missing':
      if (explanation.standing.snapshot.listeners.some(hasDefaultName(outcome)))
        return settled(`${address} was refused because ${because} (${times})`)
      return problem(
        'name',
        `${address} reaches the gate but names no host (${times}): ${because}.`,
        clients.noName(publicHost, outcome.listeners[0] ?? 'https'),
        [seen],
      )
    case 'name-unknown':
    case 'host-unknown':
    case 'host-mismatch':
      return nameOutcome(kind, outcome, evidence, times)
    case 'plaintext-on-tls':
      return plaintextOutcome(outcome, evidence, times)
    case 'upstream-down':
      if (evidence.upstreamsDown?.length === 0)
        return settled(`${address} was sent away because the RMM server did not answer (${times})`, 'it does')
      return problem(
        'upstream',
        `${address} was sent away ${times} because the RMM server did not answer.`,
        clients.upstream(context),
        [seen],
      )
    case 'rule':
      return ruleOutcome(evidence, times)
    case 'class-closed':
    case 'class-source':
    case 'class-country':
    case 'class-key':
    case 'class-window':
    case 'tls-version-class':
    case 'method-refused':
      return classOutcome(kind, outcome, evidence, times)
    case 'flow-limit-source':
    case 'flow-limit-total':
    case 'flow-rate-source':
    case 'flow-rate-total':
    case 'datagram-too-large':
      return heartbeatOutcome(kind, outcome, evidence, times)
    case 'connection-limit-source':
    case 'connection-limit-total':
    case 'requests-limit':
      return problem(
        'capacity',
        refused,
        fixes.capacity(context, kind, outcome.classes, explanation.standing),
        [seen],
      )
    case 'body-too-large':
    case 'body-unread':
    case 'body-coding':
      return problem(
        'body',
        `${address} sends a body that ${outcome.classes.join(', ') || 'its class'} does not take (${times}): ${because}.`,
        fixes.bodies(context, kind, outcome.classes, explanation.standing),
        [seen],
      )
    case 'proxy-header-missing':
    case 'proxy-header-invalid':
      return problem(
        'load-balancer',
        `${address} is listed as a load balancer of listener ${outcome.listeners.join(', ')}, but ${kind === 'proxy-header-missing' ? 'does not say for whom it connects' : 'says unreadably for whom it connects'} (${times}): every client behind it is lost.`,
        clients.proxyHeader(
          outcome.listeners[0] ?? 'https',
          evidence.address,
          evidence.newest.get(kind)?.line ?? '',
        ),
        [seen],
      )
    case 'hello-timeout':
    case 'hello-invalid':
    case 'hello-too-large':
    case 'framing-invalid':
    case 'request-invalid':
    case 'request-timeout':
    case 'head-too-large':
    case 'target-invalid':
    case 'websocket-invalid':
    case 'rate-limited':
    case 'body-too-slow':
    case 'inspection-full':
    case 'message-invalid':
    case 'message-unread':
    case 'message-too-slow':
    case 'tls-version-own':
    case 'draining':
      return problem('protocol', refused, fixes.remedyOf(kind), [seen])
  }
}

/** The gate's own fault comes before all that a device may have. */
function gapWords(fault: HandshakeFault, { incompleteChain }: Evidence): string {
  if (incompleteChain === undefined || !isAboutChain(fault)) return ''
  return ` The gate sends its certificate without the intermediate one that signed it (${incompleteChain.issuer}): browsers and Windows fetch that by themselves, other clients do not.`
}

/** Says that others behind the same address are well: then it is this device, not the gate. */
function healthyOthers(outcome: OutcomeCount, { devices, device }: Evidence): string {
  if (device !== null || outcome.ja4.length === 0) return ''
  const well = devices.filter(entry => entry.passed > 0 && !outcome.ja4.includes(entry.ja4))
  return well.length === 0
    ? ''
    : ` Other devices behind the address are well (${well.length} kind${well.length === 1 ? '' : 's'} of client).`
}

/** Plain HTTP is a wrong address; anything else is a program that was pointed at the wrong port. */
function plaintextOutcome(outcome: OutcomeCount, evidence: Evidence, times: string): Diagnosis {
  const address = subjectOf(evidence)
  const { publicHost } = evidence
  const saw = evidence.newest.get('plaintext-on-tls')?.saw ?? 'plain HTTP'
  const seen = witnessed(evidence, 'plaintext-on-tls')
  const on = outcome.listeners.join(', ')
  if (saw.startsWith('a PROXY')) {
    return problem(
      'load-balancer',
      `${address} sends ${saw} of listener ${on} (${times}): every client behind it is lost.`,
      fixes.addLoadBalancer(fixContext(evidence), outcome.listeners[0] ?? 'https'),
      [seen],
    )
  }
  if (saw !== 'plain HTTP') {
    return problem(
      'plaintext',
      `${address} speaks ${saw} on the TLS port of listener ${on} (${times}).`,
      clients.otherProtocol(saw, publicHost),
      [seen],
    )
  }
  return problem(
    'plaintext',
    `${address} speaks plain text on a TLS port ${times}.`,
    clients.plaintext(publicHost),
    [seen],
  )
}

function hasDefaultName(outcome: OutcomeCount) {
  return ({ id, withoutName }: { readonly id: string; readonly withoutName: string | null }): boolean =>
    withoutName !== null && outcome.listeners.includes(id)
}

function banOutcome(outcome: OutcomeCount, evidence: Evidence, times: string): Diagnosis {
  const { explanation } = evidence
  const address = subjectOf(evidence)
  const { standing } = explanation
  const still = explanation.classes.some(
    entry => outcome.classes.includes(entry.class) && entry.refusal?.reason === 'banned',
  )
  if (!still) return settled(`${address} was refused because the address was banned (${times})`)
  return problem('banned', banSentence(address, standing.ban), fixes.unban(fixContext(evidence), standing), [
    witnessed(evidence, 'banned'),
  ])
}

function tlsOutcome(outcome: OutcomeCount, evidence: Evidence, times: string): Diagnosis {
  const { activity, explanation, device } = evidence
  const address = subjectOf(evidence)
  const best = outcome.offered.map(versions => strongestTls(versions) ?? null)
  const { lowestTls } = explanation
  const offered = outcome.offered.map(versions => versions.join(', ') || 'nothing known').join(' or ')
  if (lowestTls !== null && best.every(version => version !== null && tlsRank(version) >= tlsRank(lowestTls)))
    return settled(`${address} was refused because it offered only ${offered} (${times})`)
  const whole = (activity?.passed ?? 0) > 0 ? 'One device among healthy ones behind' : 'Every client at'
  const who = device === null ? `${whole} ${address}` : address
  const versions = outcome.offered.find(entry => strongestTls(entry) === weakest(best)) ?? []
  const ja4 = outcome.ja4[0] ?? null
  return problem(
    'tls-version',
    `${who} offers only ${offered}, below the minimum ${lowestTls ?? 'of the policy'} (${times}).${endedException(evidence, 'tls')}`,
    fixes.oldTls(fixContext(evidence), weakest(best), productOf(evidence)),
    [
      witnessed(evidence, 'tls-version-too-low'),
      {
        atMs: null,
        text: `${likelyClient(versions, ja4)}${ja4 === null ? '' : `; JA4 ${outcome.ja4.join(', ')}`}`,
      },
    ],
  )
}

/** Id of the profile behind the name that clients use. */
export function productOf({ explanation, publicHost }: Evidence): string {
  const { names } = explanation.standing.snapshot
  return (names.find(name => name.host === publicHost) ?? names[0])?.profile.id ?? ''
}

function nameOutcome(
  kind: 'name-unknown' | 'host-unknown' | 'host-mismatch',
  outcome: OutcomeCount,
  evidence: Evidence,
  times: string,
): Diagnosis {
  const { publicHost, explanation } = evidence
  const address = subjectOf(evidence)
  const { names } = explanation.standing.snapshot
  const isServed = (host: string): boolean => names.some(name => name.host === host)
  const { because } = REASONS[kind]
  const asked = outcome.hosts.join(', ') || 'no name'
  if (kind !== 'host-mismatch' && outcome.hosts.length > 0 && outcome.hosts.every(isServed))
    return settled(`${address} was refused because it asked for ${asked} (${times})`, 'the gate serves it')
  const literal = outcome.hosts.find(host => parseAddress(host) !== undefined)
  if (literal !== undefined) {
    return problem(
      'name',
      `${address} reaches the gate but asks for ${literal}, which is an address and no name (${times}): no certificate is for it.`,
      clients.addressForName(publicHost),
      [witnessed(evidence, kind)],
    )
  }
  const unknown = outcome.hosts.find(host => !isServed(host) && PLAIN_HOST.test(host))
  const upstreams = new Set(names.map(name => name.upstream))
  const [upstream] = upstreams
  const canServe = kind !== 'host-mismatch' && unknown !== undefined && upstream !== undefined
  return problem(
    'name',
    `${address} reaches the gate but asks for ${asked} (${times}): ${because}.`,
    clients.wrongName(publicHost, canServe ? { host: unknown, upstream } : null),
    [witnessed(evidence, kind)],
  )
}

// A name as policies take it: whatever else a client sends is no name to suggest.
const PLAIN_HOST = /^(?=.{1,253}$)[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)+$/

function ruleOutcome(evidence: Evidence, times: string): Diagnosis {
  const { ruleHit, explanation } = evidence
  const address = subjectOf(evidence)
  if (ruleHit === null) {
    return problem(
      'rule',
      `${address} was refused by a protection rule ${times}.`,
      fixes.ruleException(fixContext(evidence), null),
      [witnessed(evidence, 'rule')],
    )
  }
  const rule = explanation.standing.snapshot.rules.rules.find(entry => entry.id === ruleHit.ruleId)
  const promoted = explanation.standing.overlay.promotedRules?.has(ruleHit.ruleId) === true
  // A rule that only scores refuses together with others.
  const refuses =
    rule !== undefined && (promoted || [rule, ...rule.overrides].some(entry => entry.mode === 'enforce'))
  if (!refuses)
    return settled(`${address} was refused by rule ${ruleHit.ruleId} (${times})`, 'the rule refuses nothing')
  return problem(
    'rule',
    `${address} was refused by rule ${rule.id} (${rule.title}), which matched ${ruleHit.field} of ${ruleHit.path} (${times}).${ruleHit.seen === null ? '' : ` It saw ${ruleHit.seen}.`}${endedException(evidence, 'rule')}`,
    fixes.ruleException(fixContext(evidence), ruleHit),
    [witnessed(evidence, 'rule')],
  )
}

function weakest(versions: readonly (TlsVersion | null)[]): TlsVersion | null {
  const known = versions.filter(version => version !== null)
  return known.toSorted((a, b) => tlsRank(a) - tlsRank(b))[0] ?? null
}

const RECENT_MS = 10 * 60_000

/** `once`, `14 times, last 3 hours ago`. */
function timesOf({ count, lastMs }: OutcomeCount, nowMs: number): string {
  const times = count === 1 ? 'once' : `${count} times`
  const agoMs = nowMs - lastMs
  if (agoMs < RECENT_MS) return times
  const ago =
    agoMs < 2 * 3_600_000 ? `${Math.floor(agoMs / 60_000)} minutes` : `${Math.floor(agoMs / 3_600_000)} hours`
  return count === 1 ? `once, ${ago} ago` : `${times}, last ${ago} ago`
}
