// What a source met at the classes of traffic: closed, for others, for newer TLS, or for holders of a key.
import { strongestTls, tlsRank } from '../net/tls-version.ts'
import type { TrafficClass } from '../policy/classes.ts'
import { classPolicy } from '../policy/decide-access.ts'
import { REASONS, type Reason } from '../policy/reasons.ts'
import type { OutcomeCount } from './activity.ts'
import { endedException } from './ended.ts'
import {
  fixContext,
  placeWords,
  problem,
  subjectOf,
  witnessed,
  type Diagnosis,
  type Evidence,
} from './finding.ts'
import * as fixes from './fixes.ts'
import { settled } from './settled.ts'

/** Says what a refusal of a class means. */
export function classOutcome(
  kind: Reason,
  outcome: OutcomeCount,
  evidence: Evidence,
  times: string,
): Diagnosis {
  const { explanation } = evidence
  const address = subjectOf(evidence)
  const context = fixContext(evidence)
  const seen = witnessed(evidence, kind)
  const now = explanation.classes.filter(entry => outcome.classes.includes(entry.class))
  const what = outcome.classes.join(', ') || 'a request'
  const sentence = (where: string): string =>
    `${address} gets in, but not to ${what}: ${REASONS[kind].because}${where}, ${times}.${endedException(evidence, 'allow')}`
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
        [seen],
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
    return settled(`${address} was refused ${what} (${times})`)
  if (kind === 'method-refused') {
    const method = evidence.newest.get(kind)?.request.split(' ', 1)[0] ?? ''
    return problem(
      'class',
      sentence(''),
      fixes.addMethod(context, method, outcome.classes, explanation.standing),
      [seen],
    )
  }
  const refused = now.filter(entry => !entry.allowed)
  const classes = refused.length > 0 ? refused.map(entry => entry.class) : outcome.classes
  return problem('class', sentence(lineOf(refused)), fixes.openClass(context, kind, classes), [seen])
}

function lineOf(refused: Evidence['explanation']['classes']): string {
  const line = refused[0]?.line
  return line === undefined ? '' : ` ${placeWords(line)}`
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
  if (demanding.length === 0) return settled(`${subjectOf(evidence)} was refused ${what} (${times})`)
  const at = classPolicy({ standing }, demanding[0] ?? 'other').minimumTls?.at
  return problem(
    'class',
    sentence(at === undefined ? '' : ` ${placeWords(at)}`),
    fixes.classTls(fixContext(evidence), demanding, best),
    [witnessed(evidence, 'tls-version-class')],
  )
}
