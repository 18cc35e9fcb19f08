// What a source met, explained: which recorded outcome still counts, what it means, and whether the policy has changed since.
import { strongestTls, tlsRank, type TlsVersion } from '../net/tls-version.ts'
import type { TrafficClass } from '../policy/classes.ts'
import { classPolicy } from '../policy/decide-access.ts'
import { REASONS, type Reason } from '../policy/reasons.ts'
import { formatSourceLine } from '../policy/source-line.ts'
import type { Activity, OutcomeCount } from './activity.ts'
import { banSentence, fixContext, problem, type Diagnosis, type Evidence } from './finding.ts'
import * as fixes from './fixes.ts'

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
  const { address, publicHost, explanation } = evidence
  const context = fixContext(evidence)
  const times = timesOf(outcome, evidence.nowMs)
  const kind = outcome.outcome
  if (kind === 'silent') throw new Error('not a trouble')
  if (kind === 'handshake-failed') {
    const why = handshakeWords(evidence.handshakeProblem)
    return problem(
      'handshake',
      `${address} reaches the gate but breaks off the TLS handshake ${times}: ${why}.`,
      fixes.handshake(publicHost),
    )
  }
  const { because } = REASONS[kind]
  switch (kind) {
    case 'country-refused':
    case 'country-unknown':
    case 'network-refused':
    case 'geo-unavailable':
      return fixed(`${address} was refused because ${because} (${times})`)
    case 'banned':
      return banOutcome(outcome, evidence, times)
    case 'tls-version-too-low':
      return tlsOutcome(outcome, evidence, times)
    case 'name-missing':
      if (explanation.standing.snapshot.listeners.some(hasDefaultName(outcome)))
        return fixed(`${address} was refused because ${because} (${times})`)
      return problem(
        'name',
        `${address} reaches the gate but names no host (${times}): ${because}.`,
        fixes.noName(publicHost, outcome.listeners[0] ?? 'https'),
      )
    case 'name-unknown':
    case 'host-unknown':
    case 'host-mismatch':
      return nameOutcome(kind, outcome, evidence, times)
    case 'plaintext-on-tls':
      return problem(
        'plaintext',
        `${address} speaks plain text on a TLS port ${times}.`,
        fixes.plaintext(publicHost),
      )
    case 'tls-on-plain':
      return problem(
        'plaintext',
        `${address} speaks TLS on a port behind which nothing does, ${times} (${outcome.listeners.join(', ')}).`,
        fixes.tlsOnPlain(explanation.standing.snapshot, outcome.listeners),
      )
    case 'service-unknown':
    case 'netsupport-elsewhere':
    case 'port-internal':
      return problem(
        'protocol',
        `${address} was refused on ${outcome.listeners.join(', ')} because ${because} (${times}).`,
        fixes.remedyOf(kind),
      )
    case 'upstream-down':
      if (evidence.upstreamsDown?.length === 0)
        return fixed(`${address} was sent away because the RMM server did not answer (${times})`, 'it does')
      return problem(
        'upstream',
        `${address} was sent away ${times} because the RMM server did not answer.`,
        fixes.upstream(context),
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
    case 'connection-limit-source':
    case 'connection-limit-total':
    case 'flow-limit-source':
    case 'flow-limit-total':
    case 'stream-limit-source':
    case 'stream-limit-site':
    case 'stream-limit-total':
    case 'stream-limit-class':
    case 'requests-limit':
    case 'body-too-large':
      return problem(
        'capacity',
        `${address} was refused ${times} because ${because}.`,
        fixes.capacity(context, kind, outcome.classes, explanation.standing),
      )
    case 'proxy-header-missing':
    case 'proxy-header-invalid':
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
    case 'body-unread':
    case 'body-coding':
    case 'body-too-slow':
    case 'inspection-full':
    case 'message-invalid':
    case 'message-unread':
    case 'message-too-slow':
    case 'datagram-too-large':
    case 'draining':
      return problem('protocol', `${address} was refused ${times} because ${because}.`, fixes.remedyOf(kind))
  }
}

/** What OpenSSL's words for a broken handshake mean for a person. */
function handshakeWords(problem: string | null): string {
  if (problem === null) return 'it does not trust the certificate, shares no cipher, or hangs up'
  if (/unknown ca|certificate unknown|bad certificate/i.test(problem))
    return `it does not trust the certificate (${problem})`
  if (/expired/i.test(problem))
    return `it takes the certificate for expired: is its clock right? (${problem})`
  if (/no shared cipher|handshake failure/i.test(problem))
    return `it shares no cipher with the gate (${problem})`
  return problem
}

function hasDefaultName(outcome: OutcomeCount) {
  return ({ id, withoutName }: { readonly id: string; readonly withoutName: string | null }): boolean =>
    withoutName !== null && outcome.listeners.includes(id)
}

function banOutcome(outcome: OutcomeCount, evidence: Evidence, times: string): Diagnosis {
  const { address, explanation } = evidence
  const { standing } = explanation
  const still = explanation.classes.some(
    entry => outcome.classes.includes(entry.class) && entry.refusal?.reason === 'banned',
  )
  if (!still) return fixed(`${address} was refused because the address was banned (${times})`)
  return problem('banned', banSentence(address, standing.ban), fixes.unban(fixContext(evidence), standing))
}

function tlsOutcome(outcome: OutcomeCount, evidence: Evidence, times: string): Diagnosis {
  const { address, activity, explanation } = evidence
  const best = outcome.offered.map(versions => strongestTls(versions) ?? null)
  const { lowestTls } = explanation
  const offered = outcome.offered.map(versions => versions.join(', ') || 'nothing known').join(' or ')
  if (lowestTls !== null && best.every(version => version !== null && tlsRank(version) >= tlsRank(lowestTls)))
    return fixed(`${address} was refused because it offered only ${offered} (${times})`)
  const others = (activity?.passed ?? 0) > 0 ? 'One device among healthy ones behind' : 'Every client at'
  return problem(
    'tls-version',
    `${others} ${address} offers only ${offered}, below the minimum ${lowestTls ?? 'of the policy'} (${times}).`,
    fixes.oldTls(fixContext(evidence), weakest(best)),
  )
}

function nameOutcome(
  kind: 'name-unknown' | 'host-unknown' | 'host-mismatch',
  outcome: OutcomeCount,
  evidence: Evidence,
  times: string,
): Diagnosis {
  const { address, publicHost, explanation } = evidence
  const { names } = explanation.standing.snapshot
  const isServed = (host: string): boolean => names.some(name => name.host === host)
  const { because } = REASONS[kind]
  const asked = outcome.hosts.join(', ') || 'no name'
  if (kind !== 'host-mismatch' && outcome.hosts.length > 0 && outcome.hosts.every(isServed))
    return fixed(`${address} was refused because it asked for ${asked} (${times})`, 'the gate serves it')
  const unknown = outcome.hosts.find(host => !isServed(host) && PLAIN_HOST.test(host))
  const upstreams = new Set(names.map(name => name.upstream))
  const [upstream] = upstreams
  const canServe = kind !== 'host-mismatch' && unknown !== undefined && upstream !== undefined
  return problem(
    'name',
    `${address} reaches the gate but asks for ${asked} (${times}): ${because}.`,
    fixes.wrongName(publicHost, canServe ? { host: unknown, upstream } : null),
  )
}

// A name as policies take it: whatever else a client sends is no name to suggest.
const PLAIN_HOST = /^(?=.{1,253}$)[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)+$/

function ruleOutcome(evidence: Evidence, times: string): Diagnosis {
  const { address, ruleHit, explanation } = evidence
  if (ruleHit === null) {
    return problem(
      'rule',
      `${address} was refused by a protection rule ${times}.`,
      fixes.ruleException(fixContext(evidence), null),
    )
  }
  const rule = explanation.standing.snapshot.rules.rules.find(entry => entry.id === ruleHit.ruleId)
  const promoted = explanation.standing.overlay.promotedRules?.has(ruleHit.ruleId) === true
  // A rule that only scores refuses together with others.
  const refuses =
    rule !== undefined && (promoted || [rule, ...rule.overrides].some(entry => entry.mode === 'enforce'))
  if (!refuses)
    return fixed(`${address} was refused by rule ${ruleHit.ruleId} (${times})`, 'the rule refuses nothing')
  return problem(
    'rule',
    `${address} was refused by rule ${rule.id} (${rule.title}), which matched ${ruleHit.field} of ${ruleHit.path} (${times}).${ruleHit.seen === null ? '' : ` It saw ${ruleHit.seen}.`}`,
    fixes.ruleException(fixContext(evidence), ruleHit),
  )
}

function classOutcome(kind: Reason, outcome: OutcomeCount, evidence: Evidence, times: string): Diagnosis {
  const { address, explanation } = evidence
  const context = fixContext(evidence)
  const now = explanation.classes.filter(entry => outcome.classes.includes(entry.class))
  const what = outcome.classes.join(', ') || 'a request'
  const sentence = (where: string): string =>
    `${address} gets in, but not to ${what}: ${REASONS[kind].because}${where}, ${times}.`
  if (kind === 'tls-version-class') return classTlsOutcome(outcome, evidence, what, times, sentence)
  if (kind === 'class-country') {
    const refused = now.filter(entry => !entry.allowed)
    if (refused.length > 0) {
      const { resolved } = explanation.country
      const country = resolved.kind === 'country' ? resolved.code : ''
      return problem(
        'class',
        sentence(lineOf(refused)),
        fixes.admitCountry(context, country, explanation.country),
      )
    }
  }
  // Neither methods nor keys are part of an explanation without a request: only a success shows that they are right now.
  if (
    kind !== 'method-refused' &&
    kind !== 'class-key' &&
    now.length > 0 &&
    now.every(entry => entry.allowed)
  )
    return fixed(`${address} was refused ${what} (${times})`)
  const refused = now.filter(entry => !entry.allowed)
  const classes = refused.length > 0 ? refused.map(entry => entry.class) : outcome.classes
  return problem('class', sentence(lineOf(refused)), fixes.openClass(context, kind, classes))
}

function lineOf(refused: Evidence['explanation']['classes']): string {
  const line = refused[0]?.line
  return line === undefined ? '' : ` (${formatSourceLine(line)})`
}

function classTlsOutcome(
  outcome: OutcomeCount,
  evidence: Evidence,
  what: string,
  times: string,
  sentence: (where: string) => string,
): Diagnosis {
  const { standing } = evidence.explanation
  const best = strongestTls(outcome.offered.map(versions => strongestTls(versions) ?? 'TLSv1')) ?? null
  const demanding = outcome.classes.filter((name: TrafficClass) => {
    const minimum = classPolicy({ standing }, name).minimumTls?.value ?? null
    return minimum !== null && (best === null || tlsRank(best) < tlsRank(minimum))
  })
  if (demanding.length === 0) return fixed(`${evidence.address} was refused ${what} (${times})`)
  const at = classPolicy({ standing }, demanding[0] ?? 'other').minimumTls?.at
  return problem(
    'class',
    sentence(at === undefined ? '' : ` (${formatSourceLine(at)})`),
    fixes.classTls(fixContext(evidence), demanding, best),
  )
}

function fixed(what: string, now = 'the policy admits it'): Diagnosis {
  return {
    cause: 'fixed',
    healthy: true,
    sentence: `${what}, but now ${now}; the next attempt gets through.`,
    fix: null,
  }
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
