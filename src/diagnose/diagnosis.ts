// The decision tree of a diagnosis: from evidence about one address to one sentence and its fix. Pure.
import { REASONS } from '../policy/reasons.ts'
import { countryWord } from '../policy/who.ts'
import { intervalProof, isSilent, lateness, othersSpan, spanWords } from './check-ins.ts'
import { endedException } from './ended.ts'
import {
  banSentence,
  fixContext,
  placeWords,
  problem,
  subjectOf,
  timeWords,
  witnessed,
  type Diagnosis,
  type Evidence,
} from './finding.ts'
import * as fixes from './fixes.ts'
import * as clients from './fixes-client.ts'
import { clientTrouble } from './gateway-client.ts'
import {
  connectorTrouble,
  elsewhere,
  heartbeatsStopped,
  lastCheckIn,
  unansweredHeartbeats,
} from './heartbeats.ts'
import { onTrial } from './on-trial.ts'
import { streamMismatch, udpNotifications } from './stream.ts'
import { explainOutcome, productOf, standingTrouble } from './trouble.ts'

/** Walks the tree. What the policy says now comes first, then what the source met, newest first. */
export function diagnose(evidence: Evidence): Diagnosis {
  const found =
    refusedNow(evidence) ??
    brokenAround(evidence) ??
    metTrouble(evidence) ??
    clientTrouble(evidence) ??
    streamMismatch(evidence) ??
    foreignPages(evidence) ??
    connectorTrouble(evidence) ??
    unansweredHeartbeats(evidence) ??
    elsewhere(evidence) ??
    quiet(evidence) ??
    heartbeatsStopped(evidence) ??
    udpNotifications(evidence) ??
    slow(evidence) ??
    healthy(evidence)
  return about(evidence, found.healthy ? (onTrial(evidence) ?? found) : found)
}

function about(evidence: Evidence, found: Diagnosis): Diagnosis {
  return { ...found, evidence: [...found.evidence, ...surroundings(evidence, found)].slice(0, MAX_PROOFS) }
}

/** Networks that no country database knows, in words. */
const INNER: Readonly<Record<string, string>> = {
  private: 'a private address',
  cgnat: 'an address of carrier-grade NAT (100.64.0.0/10)',
  loopback: 'an address of the gate itself',
  'link-local': 'a link-local address',
  reserved: 'a reserved address',
}

const MAX_PROOFS = 6
const RELEVANT_MS = 3_600_000

/** What happened to the gate shortly before a trouble was met, or since: a change is the first suspect. */
function surroundings(evidence: Evidence, { healthy: isWell }: Diagnosis): Diagnosis['evidence'] {
  if (isWell) return []
  const firstMs = evidence.activity?.outcomes.find(entry => entry.outcome !== 'silent')?.firstMs
  if (firstMs === undefined) return []
  return evidence.happenings.filter(entry => entry.atMs > firstMs - RELEVANT_MS).slice(0, 3)
}

function healthy(evidence: Evidence): Diagnosis {
  const { activity } = evidence
  const passed = activity?.passed ?? 0
  const beats = activity?.heartbeats?.answered ?? 0
  const refused = activity?.refused ?? 0
  const { open } = evidence
  const now =
    open === undefined || open.sinceMs === null
      ? ''
      : `, ${open.count} connection${open.count === 1 ? '' : 's'} open, the oldest since ${timeWords(open.sinceMs)}`
  const before =
    refused === 0 ? 'nothing was refused' : `${refused} refused before, none since what it asks for passes`
  const late = lateness(evidence)
  const lateWords =
    late === null
      ? ''
      : ` It is late now: ${spanWords(late.silentMs)} since its last check-in, and agents there come every ${spanWords(late.everyMs)}.`
  return {
    cause: 'healthy',
    healthy: true,
    sentence: `${subjectOf(evidence)} gets through: ${passed} request${passed === 1 ? '' : 's'}${beats === 0 ? '' : ` and ${beats} heartbeat${beats === 1 ? '' : 's'}`} passed${now}, ${before}.${lateWords}`,
    evidence: [],
    fix: null,
  }
}

function refusedNow(evidence: Evidence): Diagnosis | null {
  const { address, explanation } = evidence
  const { verdict } = explanation.accept
  if (verdict.allow) return null
  const { refusal, standing } = verdict
  const context = fixContext(evidence)
  const seen = witnessed(evidence, refusal.reason)
  if (refusal.reason === 'banned')
    return problem('banned', banSentence(address, standing.ban), fixes.unban(context, standing), [seen])
  if (refusal.stage === 'limits') {
    return problem(
      'capacity',
      `${address} is refused because ${REASONS[refusal.reason].because} (${refusal.saw}).`,
      fixes.capacity(context, refusal.reason, [], standing),
      [seen],
    )
  }
  const country = countryWord(standing.country)
  if (refusal.reason === 'network-refused') {
    return problem(
      'country',
      `${address} is refused because it is ${INNER[country] ?? 'an address of no country'}, and the policy refuses those ${placeWords(refusal.line)}.${endedException(evidence, 'allow')}`,
      fixes.admitInner(context, standing.snapshot.listeners[0]?.id ?? 'https'),
      [seen],
    )
  }
  const { first, second } = explanation.country
  const asked = first !== null || second !== null
  return problem(
    'country',
    `${address} is refused because ${REASONS[refusal.reason].because}: ${country} ${placeWords(refusal.line)}.${endedException(evidence, 'allow')}`,
    fixes.admitCountry(context, country, explanation.country),
    [
      seen,
      asked
        ? {
            atMs: null,
            text: `the first database says ${first ?? 'nothing'}, the second ${second ?? 'nothing'}`,
          }
        : null,
    ],
  )
}

function brokenAround(evidence: Evidence): Diagnosis | null {
  const { certificateProblem, upstreamsDown, explanation, upstreams } = evidence
  if (certificateProblem !== null) {
    return problem(
      'certificate',
      `Nobody can trust the gate at the moment: ${certificateProblem}.`,
      clients.renewCertificate(fixContext(evidence)),
    )
  }
  if (upstreamsDown !== null && upstreamsDown.length > 0) {
    return problem(
      'upstream',
      `The gate is ready, but the RMM server behind ${upstreamsDown.join(', ')} does not answer; ${explanation.host === null ? 'agents' : `agents of ${explanation.host}`} use their secondary address meanwhile.`,
      clients.upstream(fixContext(evidence)),
      upstreams
        .filter(member => member.pace === null)
        .map(({ member, origin, sinceMs, problem: why }) => ({
          atMs: sinceMs,
          text: `${member} (${origin}) is down${why === null ? '' : `: ${why}`}`,
        })),
    )
  }
  return null
}

function metTrouble(evidence: Evidence): Diagnosis | null {
  const { activity } = evidence
  if (activity === null) return null
  const trouble = standingTrouble(activity)
  if (trouble !== undefined) return explainOutcome(trouble, evidence)
  if (activity.failures > activity.passed) {
    return problem(
      'upstream',
      `${subjectOf(evidence)} gets through, but the RMM server fails: ${activity.failures} of ${activity.failures + activity.passed} requests ended badly.`,
      clients.upstream(fixContext(evidence)),
      [witnessed(evidence, 'request.closed'), witnessed(evidence, 'upstream.failed')],
    )
  }
  return null
}

/** Pages of another name that ask this one: the browser shows a CORS error, the gate only a request that passed. */
function foreignPages(evidence: Evidence): Diagnosis | null {
  const { crossOrigin, activity } = evidence
  const [newest] = crossOrigin
  if (newest === undefined) return null
  const since = activity?.classes.some(
    entry =>
      ['console', 'api'].includes(entry.class) &&
      entry.lastPassedMs !== null &&
      entry.lastPassedMs > newest.atMs,
  )
  if (since === true) return null
  const { origin, host, times, atMs } = newest
  return problem(
    'cors',
    `A page of ${origin} in a browser at ${subjectOf(evidence)} asks ${host}, and the RMM server does not allow that: the browser shows a CORS error. The name of the gate is not registered with the product.`,
    clients.registerName(host, origin),
    [{ atMs, text: `Origin ${origin} asked ${host} ${times === 1 ? 'once' : `${times} times`}` }],
  )
}

function quiet(evidence: Evidence): Diagnosis | null {
  const { activity, publicHost } = evidence
  const address = subjectOf(evidence)
  const gateRuns = evidence.upstreamsDown !== null
  const heardMs = activity?.heartbeats?.lastMs ?? null
  // Agents of some products keep one connection for days: the ledger hears of it once.
  if (evidence.open !== undefined && evidence.open.count > 0) return null
  if (heardMs !== null && !isSilent(evidence, heardMs)) return null
  if (
    activity === null ||
    (heardMs === null && activity.passed + activity.failures === 0 && activity.outcomes.length === 0)
  ) {
    const earlierMs = evidence.earlierMs()
    if (earlierMs !== null && gateRuns) return goneQuiet(evidence, earlierMs)
    const why = gateRuns
      ? "the site's own firewall or DNS still points to the old address, or the agent was never told of the gate"
      : 'no gate runs here now, and none recorded it before'
    return problem(
      'never-arrived',
      `Nothing from ${address} has arrived: ${why}.`,
      clients.neverArrived(fixContext(evidence), publicHost, gateRuns),
    )
  }
  if (
    heardMs === null &&
    activity.passed === 0 &&
    activity.outcomes.every(entry => entry.outcome === 'silent')
  ) {
    return problem(
      'reachability-test',
      `${address} connected and sent nothing: that is a port test, and it succeeded. The network is fine; no agent has tried yet.`,
      clients.neverTried(publicHost, productOf(evidence)),
      [{ atMs: activity.outcomes[0]?.lastMs ?? null, text: 'the newest connection that sent nothing' }],
    )
  }
  const lastMs = Math.max(lastCheckIn(evidence) ?? 0, heardMs ?? 0)
  return lastMs > 0 && isSilent(evidence, lastMs) && gateRuns ? goneQuiet(evidence, lastMs) : null
}

/** It used to come. Only while others come is its silence its own. */
function goneQuiet(evidence: Evidence, lastMs: number): Diagnosis | null {
  const withinMs = othersSpan(evidence)
  const others = evidence.othersPassing(withinMs)
  const address = subjectOf(evidence)
  const rest =
    others === 0
      ? `Nobody else has come within the last ${withinMs === 3_600_000 ? 'hour' : spanWords(withinMs)} either: look at the gate itself, its address and its DNS name.`
      : `Agents of ${others}${others >= MANY ? ' or more' : ''} other address${others === 1 ? '' : 'es'} do come, so the gate works: the site is off-line or switched off, its public address has changed, or its agents use their secondary address, which goes past the gate.`
  const cutOff =
    evidence.open?.isCutOff === true
      ? ' The gate has more connections open than it lists; if one of them is from this address, it is well.'
      : ''
  return problem(
    'gone-quiet',
    `${address} came through until ${timeWords(lastMs)} and is silent since. ${rest}${cutOff}`,
    clients.goneQuiet(fixContext(evidence), evidence.publicHost, others),
    [{ atMs: lastMs, text: 'the last that passed' }, intervalProof(evidence)],
  )
}

/** Counting others ends here. */
export const MANY = 50

function slow(evidence: Evidence): Diagnosis | null {
  const late = evidence.upstreams.filter(member => member.pace !== null)
  const [{ member, origin, sinceMs, pace } = { pace: null }] = late
  if (pace === null || member === undefined || sinceMs === undefined) return slowGate(evidence)
  return problem(
    'slow',
    `${subjectOf(evidence)} gets through, but the RMM server is slow: ${member} (${origin ?? ''}) takes ${pace.recentMs} ms for what usually takes ${pace.usualMs} ms.`,
    clients.slowUpstream(fixContext(evidence)),
    [
      { atMs: sinceMs, text: `${member} began to answer late` },
      evidence.ownMs === undefined
        ? null
        : {
            atMs: null,
            text: `the gate itself adds ${msWords(evidence.ownMs)} to a request (median of the last hour)`,
          },
    ],
  )
}

/** A gate that keeps requests so long is felt by people. */
const SLOW_GATE_MS = 250

/** It is not the server but the gate. */
function slowGate(evidence: Evidence): Diagnosis | null {
  const { ownMs } = evidence
  if (ownMs === undefined || ownMs < SLOW_GATE_MS) return null
  return problem(
    'slow',
    `${subjectOf(evidence)} gets through, but the gate itself is slow: it keeps a request for ${msWords(ownMs)} before the RMM server gets it (median of the last hour).`,
    clients.slowGate(fixContext(evidence)),
  )
}

/** `0.4 ms`, `310 ms`. */
function msWords(ms: number): string {
  return `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`
}
