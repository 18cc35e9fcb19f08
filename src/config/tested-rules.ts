// Runs the tests of rules once per content: a reload that leaves the rules alone must not hold up traffic to test them again.
import type { RuleDocument, RuleProblem } from '../ips/rule-document.ts'
import type { RuleSet } from '../ips/rule-set.ts'
import { runRuleTests } from '../ips/rule-tests.ts'
import { digestOf } from './files.ts'

/** Outcomes that are remembered: the rules as shipped and as the policy has them, of the last policies. */
const MAX_REMEMBERED = 8
const remembered = new Map<string, readonly RuleProblem[]>()

/**
 * What the tests of the rules say.
 * @param threshold points of the rule set, which decide with the documents what it refuses
 */
export function testedRules(
  ruleSet: RuleSet,
  documents: readonly RuleDocument[],
  threshold: number,
): readonly RuleProblem[] {
  const content = JSON.stringify([threshold, documents])
  const key = digestOf([{ name: 'rules', bytes: new TextEncoder().encode(content) }])
  const known = remembered.get(key)
  if (known !== undefined) return known
  const problems = runRuleTests(ruleSet, documents)
  if (remembered.size >= MAX_REMEMBERED) {
    const [oldest] = remembered.keys()
    if (oldest !== undefined) remembered.delete(oldest)
  }
  remembered.set(key, problems)
  return problems
}
