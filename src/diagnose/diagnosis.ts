// The decision tree of a diagnosis: from evidence about one address to one sentence and its fix. Pure.
import type { Explanation } from '../policy/explain.ts'
import { REASONS } from '../policy/reasons.ts'
import { formatSourceLine } from '../policy/source-line.ts'
import { countryWord } from '../policy/who.ts'
import type { Activity, OutcomeCount } from './activity.ts'
import * as fixes from './fixes.ts'
import type { Fix } from './fixes.ts'

/** What the diagnosis found; a closed set, stable for ticket systems. */
export type Cause =
  | 'healthy'
  | 'never-arrived'
  | 'reachability-test'
  | 'banned'
  | 'country'
  | 'tls-version'
  | 'certificate'
  | 'handshake'
  | 'name'
  | 'plaintext'
  | 'class'
  | 'rule'
  | 'upstream'
  | 'capacity'
  | 'protocol'
  | 'fixed'

/** What is known when the tree is walked. */
export type Evidence = {
  readonly address: string
  readonly explanation: Explanation
  /** Null: nothing has ever been recorded. */
  readonly activity: Activity | null
  /** Rule hits of the newest refusal by a rule, when the store has it. */
  readonly ruleHit: {
    readonly ruleId: string
    readonly field: string
    readonly path: string
    readonly class: string
  } | null
  /** Names whose upstream is down now; null: no gate runs, so nobody knows. */
  readonly upstreamsDown: readonly string[] | null
  readonly certificateProblem: string | null
  readonly publicHost: string | null
  readonly nowMs: number
}

/** The result: one sentence, its cause, and what to do. */
export type Diagnosis = {
  readonly cause: Cause
  readonly healthy: boolean
  readonly sentence: string
  readonly fix: Fix | null
}

/** Walks the tree. What the policy says now comes first, then what the source met, newest first. */
export function diagnose(evidence: Evidence): Diagnosis {
  return (
    refusedNow(evidence) ??
    brokenAround(evidence) ??
    metTrouble(evidence) ??
    quiet(evidence) ?? {
      cause: 'healthy',
      healthy: true,
      sentence: `${evidence.address} gets through: ${countWord(evidence.activity?.passed ?? 0, 'request')} passed, nothing was refused since the last one.`,
      fix: null,
    }
  )
}

function refusedNow({ address, explanation }: Evidence): Diagnosis | null {
  const { verdict } = explanation.accept
  if (verdict.allow) return null
  const { refusal, standing } = verdict
  const line = formatSourceLine(refusal.line)
  if (refusal.reason === 'banned') {
    const until =
      standing.ban?.expiresMs == null
        ? 'without an end'
        : `until ${new Date(standing.ban.expiresMs).toISOString().slice(0, 16)} UTC`
    return problem(
      'banned',
      `${address} is banned ${until} by ${standing.ban?.owner || 'the policy'}: ${standing.ban?.reason ?? ''} (${line}).`,
      fixes.unban(address, standing),
    )
  }
  if (refusal.stage === 'limits') {
    return problem(
      'capacity',
      `${address} is refused because ${REASONS[refusal.reason].because} (${refusal.saw}).`,
      fixes.remedyOf(refusal.reason),
    )
  }
  const country = countryWord(standing.country)
  return problem(
    'country',
    `${address} is refused because ${REASONS[refusal.reason].because}: ${country} (${line}).`,
    fixes.admitCountry(address, country, explanation.country),
  )
}

function brokenAround({ certificateProblem, upstreamsDown, explanation }: Evidence): Diagnosis | null {
  if (certificateProblem !== null) {
    return problem(
      'certificate',
      `Nobody can trust the gate at the moment: ${certificateProblem}.`,
      fixes.renewCertificate(),
    )
  }
  if (upstreamsDown !== null && upstreamsDown.length > 0) {
    return problem(
      'upstream',
      `The gate is ready, but the RMM server behind ${upstreamsDown.join(', ')} does not answer; ${explanation.host ?? 'agents'} use their secondary address meanwhile.`,
      fixes.upstream(),
    )
  }
  return null
}

function metTrouble(evidence: Evidence): Diagnosis | null {
  const { activity, address } = evidence
  if (activity === null) return null
  const newest = activity.outcomes.find(entry => entry.outcome !== 'silent')
  const troubled =
    newest !== undefined && (isRecent(newest, activity) || newest.outcome === 'tls-version-too-low')
  if (newest === undefined || !troubled) {
    if (activity.failures > activity.passed) {
      return problem(
        'upstream',
        `${address} gets through, but the RMM server fails: ${activity.failures} of ${activity.failures + activity.passed} requests ended badly.`,
        fixes.upstream(),
      )
    }
    return null
  }
  return explainOutcome(newest, evidence)
}

/** Trouble counts while it is newer than success: a refusal that success followed is over. */
function isRecent(outcome: OutcomeCount, activity: Activity): boolean {
  return activity.lastPassedMs === null || outcome.lastMs >= activity.lastPassedMs
}

function explainOutcome(outcome: OutcomeCount, evidence: Evidence): Diagnosis {
  const { address, activity, explanation, publicHost } = evidence
  const kind = outcome.outcome
  if (kind === 'silent') throw new Error('not a trouble')
  if (kind === 'handshake-failed') {
    return problem(
      'handshake',
      `${address} reaches the gate but breaks off the TLS handshake ${times(outcome)}: it does not trust the certificate, or shares no cipher.`,
      fixes.handshake(publicHost),
    )
  }
  const reason = REASONS[kind]
  if (reason.phase === 'accept') {
    return {
      cause: 'fixed',
      healthy: true,
      sentence: `${address} was refused because ${reason.because} (${times(outcome)}), but the policy admits it now; it comes back at its next attempt.`,
      fix: null,
    }
  }
  switch (kind) {
    case 'tls-version-too-low': {
      const offered = outcome.offered.map(versions => versions.join(', ') || 'nothing known').join(' or ')
      const lowest = explanation.lowestTls
      const others = (activity?.passed ?? 0) > 0 ? 'One device among healthy ones behind' : 'Every client at'
      return problem(
        'tls-version',
        `${others} ${address} offers only ${offered}, below the minimum ${lowest ?? 'of the policy'} (${times(outcome)}).`,
        fixes.oldTls(address, evidence.nowMs, explanation),
      )
    }
    case 'name-missing':
    case 'name-unknown':
    case 'host-unknown':
    case 'host-mismatch':
      return problem(
        'name',
        `${address} reaches the gate but asks for ${outcome.hosts.join(', ') || 'no name'}: ${reason.because}.`,
        fixes.wrongName(publicHost),
      )
    case 'plaintext-on-tls':
      return problem(
        'plaintext',
        `${address} speaks plain text on a TLS port ${times(outcome)}.`,
        fixes.plaintext(publicHost),
      )
    case 'upstream-down':
      return problem(
        'upstream',
        `${address} was sent away ${times(outcome)} because the RMM server did not answer.`,
        fixes.upstream(),
      )
    case 'rule':
      return problem(
        'rule',
        ruleSentence(outcome, evidence),
        fixes.ruleException(evidence.ruleHit, address, evidence.nowMs),
      )
    case 'class-closed':
    case 'class-source':
    case 'class-country':
    case 'class-key':
    case 'class-window':
    case 'tls-version-class':
    case 'method-refused': {
      const now = explanation.classes.filter(entry => outcome.classes.includes(entry.class))
      const admitted = now.length > 0 && now.every(entry => entry.allowed)
      const what = outcome.classes.join(', ') || 'a request'
      if (admitted && kind !== 'method-refused' && kind !== 'class-key') {
        return {
          cause: 'fixed',
          healthy: true,
          sentence: `${address} was refused ${what} (${times(outcome)}), but the policy admits it now.`,
          fix: null,
        }
      }
      const line = now.find(entry => !entry.allowed)?.line
      const where = line === undefined ? '' : ` (${formatSourceLine(line)})`
      return problem(
        'class',
        `${address} gets in, but not to ${what}: ${reason.because}${where}, ${times(outcome)}.`,
        fixes.openClass(kind, outcome.classes, address),
      )
    }
    case 'connection-limit-source':
    case 'connection-limit-total':
    case 'requests-limit':
      return problem(
        'capacity',
        `${address} was refused ${times(outcome)} because ${reason.because}.`,
        fixes.remedyOf(kind),
      )
    default:
      return problem(
        'protocol',
        `${address} was refused ${times(outcome)} because ${reason.because}.`,
        fixes.remedyOf(kind),
      )
  }
}

function ruleSentence(outcome: OutcomeCount, { address, ruleHit }: Evidence): string {
  if (ruleHit === null) return `${address} was refused by a protection rule ${times(outcome)}.`
  return `${address} was refused by rule ${ruleHit.ruleId}, which matched ${ruleHit.field} of ${ruleHit.path} (${times(outcome)}).`
}

function quiet({ activity, address, publicHost }: Evidence): Diagnosis | null {
  if (activity === null || (activity.passed + activity.failures === 0 && activity.outcomes.length === 0)) {
    return problem(
      'never-arrived',
      `Nothing from ${address} has arrived: the site's own firewall or DNS still points to the old address, or the agent was never told of the gate.`,
      fixes.neverArrived(publicHost),
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

function problem(cause: Cause, sentence: string, fix: Fix): Diagnosis {
  return { cause, healthy: false, sentence, fix }
}

function times(outcome: OutcomeCount): string {
  return outcome.count === 1 ? 'once' : `${outcome.count} times`
}

function countWord(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`
}
