// What hits of rules lead to: a refusal by the first one that enforces, or none.
import type { RuleHit } from '../ips/rule-set.ts'
import { BUILT_IN } from './source-line.ts'
import { note, refuseWith } from './trace.ts'
import type { Refusal, Trace } from './verdict.ts'

/** Whether a hit refuses. Hits of rules set to detect and hits that an exception covers are only recorded. */
export function enforces(hit: RuleHit): boolean {
  return hit.mode === 'enforce' && hit.exception === null
}

/** Field, decoded value and how it was decoded: `args.file: ../../etc (percent x2)`. */
function whatWasSeen({ field, value, steps }: RuleHit): string {
  const decoded = steps.length === 0 ? '' : ` (${steps.join(', ')})`
  return value === '' ? field : `${field}: ${value}${decoded}`
}

function whyNotRefused({ ruleId, exception, score }: RuleHit): string {
  if (exception !== null) return `rule ${ruleId} has an exception here`
  return score > 0 ? `rule ${ruleId} adds ${score} points` : `rule ${ruleId} is set to detect`
}

/** The refusal that hits lead to; null: none of them enforces. The same for hellos, heads, bodies and messages. */
export function refusalOfHits(hits: readonly RuleHit[], trace?: Trace): Refusal | null {
  for (const hit of hits) {
    if (enforces(hit)) {
      if (trace) note(trace, 'rules', 'note', whatWasSeen(hit), `rule ${hit.ruleId}: ${hit.title}`, hit.at)
      return refuseWith(trace, 'rules', 'rule', `${hit.ruleId} in ${hit.field}`, hit.at)
    }
    if (trace === undefined) continue
    note(trace, 'rules', 'note', whatWasSeen(hit), whyNotRefused(hit), hit.exception ?? hit.at)
  }
  if (trace) note(trace, 'rules', 'pass', `${hits.length} rules fired`, 'no enforcing rule fired', BUILT_IN)
  return null
}
