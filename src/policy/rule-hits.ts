// What hits of rules lead to: a refusal by the first one that enforces, or none.
import type { RuleHit } from '../ips/rule-set.ts'
import { BUILT_IN } from './source-line.ts'
import { note, refuseWith } from './trace.ts'
import type { Refusal, Trace } from './verdict.ts'

/** Whether a hit refuses. Hits of rules set to detect and hits that an exception covers are only recorded. */
export function enforces(hit: RuleHit): boolean {
  return hit.mode === 'enforce' && hit.exception === null
}

/** The refusal that hits lead to; null: none of them enforces. The same for hellos, heads, bodies and messages. */
export function refusalOfHits(hits: readonly RuleHit[], trace?: Trace): Refusal | null {
  for (const hit of hits) {
    if (enforces(hit)) return refuseWith(trace, 'rules', 'rule', `${hit.ruleId} in ${hit.field}`, hit.at)
    if (trace === undefined) continue
    const why =
      hit.exception === null
        ? `rule ${hit.ruleId} is set to detect`
        : `rule ${hit.ruleId} has an exception here`
    note(trace, 'rules', 'note', `${hit.field}: ${hit.value}`, why, hit.exception ?? hit.at)
  }
  if (trace) note(trace, 'rules', 'pass', `${hits.length} rules fired`, 'no enforcing rule fired', BUILT_IN)
  return null
}
