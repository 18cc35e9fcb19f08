// The decision tree of a diagnosis: from evidence about one address to one sentence and its fix. Pure.
import { REASONS } from '../policy/reasons.ts'
import { formatSourceLine } from '../policy/source-line.ts'
import { countryWord } from '../policy/who.ts'
import { banSentence, fixContext, problem, type Diagnosis, type Evidence } from './finding.ts'
import * as fixes from './fixes.ts'
import { connectorTrouble } from './heartbeats.ts'
import { explainOutcome, standingTrouble } from './trouble.ts'

/** Walks the tree. What the policy says now comes first, then what the source met, newest first. */
export function diagnose(evidence: Evidence): Diagnosis {
  return (
    refusedNow(evidence) ??
    brokenAround(evidence) ??
    metTrouble(evidence) ??
    connectorTrouble(evidence) ??
    unansweredHeartbeats(evidence) ??
    quiet(evidence) ??
    healthy(evidence)
  )
}

function healthy({ address, activity }: Evidence): Diagnosis {
  const passed = activity?.passed ?? 0
  const beats = activity?.heartbeats?.answered ?? 0
  const refused = activity?.refused ?? 0
  const before =
    refused === 0 ? 'nothing was refused' : `${refused} refused before, none since what it asks for passes`
  return {
    cause: 'healthy',
    healthy: true,
    sentence: `${address} gets through: ${passed} request${passed === 1 ? '' : 's'}${beats === 0 ? '' : ` and ${beats} heartbeat${beats === 1 ? '' : 's'}`} passed, ${before}.`,
    fix: null,
  }
}

function refusedNow(evidence: Evidence): Diagnosis | null {
  const { address, explanation } = evidence
  const { verdict } = explanation.accept
  if (verdict.allow) return null
  const { refusal, standing } = verdict
  const context = fixContext(evidence)
  if (refusal.reason === 'banned') {
    return problem('banned', banSentence(address, standing.ban), fixes.unban(context, standing))
  }
  if (refusal.stage === 'limits') {
    return problem(
      'capacity',
      `${address} is refused because ${REASONS[refusal.reason].because} (${refusal.saw}).`,
      fixes.capacity(context, refusal.reason, [], standing),
    )
  }
  const country = countryWord(standing.country)
  return problem(
    'country',
    `${address} is refused because ${REASONS[refusal.reason].because}: ${country} (${formatSourceLine(refusal.line)}).`,
    fixes.admitCountry(context, country, explanation.country),
  )
}

function brokenAround(evidence: Evidence): Diagnosis | null {
  const { certificateProblem, upstreamsDown, explanation } = evidence
  if (certificateProblem !== null) {
    return problem(
      'certificate',
      `Nobody can trust the gate at the moment: ${certificateProblem}.`,
      fixes.renewCertificate(fixContext(evidence)),
    )
  }
  if (upstreamsDown !== null && upstreamsDown.length > 0) {
    return problem(
      'upstream',
      `The gate is ready, but the RMM server behind ${upstreamsDown.join(', ')} does not answer; ${explanation.host === null ? 'agents' : `agents of ${explanation.host}`} use their secondary address meanwhile.`,
      fixes.upstream(fixContext(evidence)),
    )
  }
  return null
}

function metTrouble(evidence: Evidence): Diagnosis | null {
  const { activity, address } = evidence
  if (activity === null) return null
  const trouble = standingTrouble(activity)
  if (trouble !== undefined) return explainOutcome(trouble, evidence)
  if (activity.failures > activity.passed) {
    return problem(
      'upstream',
      `${address} gets through, but the RMM server fails: ${activity.failures} of ${activity.failures + activity.passed} requests ended badly.`,
      fixes.upstream(fixContext(evidence)),
    )
  }
  return null
}

/** Replies may be missing so long between two reports of a flow without anything being wrong. */
const STOPPED_MS = 60_000

function unansweredHeartbeats(evidence: Evidence): Diagnosis | null {
  const { activity, address } = evidence
  const heartbeats = activity?.heartbeats ?? null
  if (heartbeats === null || heartbeats.unanswered === 0) return null
  const { answered, unanswered, lastMs, lastAnsweredMs, listeners } = heartbeats
  if (lastAnsweredMs === null) {
    return problem(
      'heartbeats-unanswered',
      `Heartbeats of ${address} reach the RMM server, but no reply has come: ${unanswered} sent on to it, 0 answered. Agents check in all the same, only later when a technician calls them.`,
      fixes.heartbeats(fixContext(evidence), evidence.explanation.standing.snapshot, listeners),
    )
  }
  if (lastMs - lastAnsweredMs < STOPPED_MS) return null
  return problem(
    'replies-stopped',
    `The RMM server has stopped answering the heartbeats of ${address}: the last of ${answered} answered ones was at ${new Date(lastAnsweredMs).toISOString().slice(0, 16).replace('T', ' ')} UTC, and it was heard until ${new Date(lastMs).toISOString().slice(11, 16)}.`,
    fixes.heartbeats(fixContext(evidence), evidence.explanation.standing.snapshot, listeners),
  )
}

function quiet(evidence: Evidence): Diagnosis | null {
  const { activity, address, publicHost } = evidence
  const gateRuns = evidence.upstreamsDown !== null
  if (activity !== null && activity.heartbeats !== null) return null
  if (activity === null || (activity.passed + activity.failures === 0 && activity.outcomes.length === 0)) {
    const why = gateRuns
      ? "the site's own firewall or DNS still points to the old address, or the agent was never told of the gate"
      : 'no gate runs here now, and none recorded it before'
    return problem(
      'never-arrived',
      `Nothing from ${address} has arrived: ${why}.`,
      fixes.neverArrived(fixContext(evidence), publicHost, gateRuns),
    )
  }
  if (activity.passed === 0 && activity.outcomes.every(entry => entry.outcome === 'silent')) {
    return problem(
      'reachability-test',
      `${address} connected and sent nothing: that is a port test, and it succeeded. The network is fine; no agent has tried yet.`,
      fixes.neverTried(),
    )
  }
  return null
}
