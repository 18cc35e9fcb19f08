// Rules that count: which of them a request is to be counted by, and for which user. The counting itself is rate/rates.ts.
import { AGENT_CLASSES } from '../policy/classes.ts'
import type { RequestFacts } from '../policy/facts.ts'
import type { CompiledRule } from './compiled-rule.ts'
import { toHeadRule, toRule } from './compiled-rule.ts'
import { isHeadOnly } from './condition.ts'
import { Engine, newRun } from './engine/engine.ts'
import { readField, type Field } from './fields/field.ts'
import { Weighing } from './hits.ts'
import { inspectBody, inspectHead } from './inspect.ts'
import { reportFrom } from './judgement.ts'
import { modeIn } from './modes.ts'
import type { Inspected } from './parts/inspected.ts'
import { rateRule, type RateRule } from './rate/rate-rule.ts'
import type { RuleProblem } from './rule-document.ts'
import type { RuleHit, RuleScope, RuleSet } from './rule-set.ts'
import type { Rule, Run } from './rule.ts'

/** A rule that counts a request. */
export type CountedRequest = {
  readonly rule: RateRule
  /** The name of the user as sent, decoded, in small letters; null: the request names none. */
  readonly user: string | null
  /** What to report when it is one too many: rule, mode and exception. */
  readonly hit: RuleHit
}

/** How the engine is to work. */
export type CountingOptions = { readonly prefilter: boolean; readonly maxWork: number }

/** The counting half of a rule set. */
export type Counting = Pick<RuleSet, 'rateRules' | 'countHead' | 'countsBody' | 'countBody'>

type CountingRule = {
  readonly compiled: CompiledRule
  readonly rate: RateRule
  readonly user: Field | null
  readonly number: number
  /** What the head decides of it, in the engine; null: nothing. */
  readonly onHead: number | null
  /** It has to see the body. */
  readonly late: boolean
}

const NONE: readonly CountedRequest[] = []
const MAX_USER = 256

/** Makes the counting half of a rule set. */
export function makeCounting(
  compiled: readonly CompiledRule[],
  options: CountingOptions,
  problems: RuleProblem[],
): Counting {
  const steps: Rule[] = []
  const rules = compiled.flatMap(rule => countingRule(rule, steps, problems) ?? [])
  const engine = new Engine(steps, options)
  // Without points to add, what the threshold is does not matter, and the gate's own rules have no part in it.
  const weighing = new Weighing(engine, Infinity, [], problems)

  const applying = (facts: RequestFacts, scope: RuleScope, late: boolean): readonly CountingRule[] =>
    rules.filter(rule => rule.late === late && applies(rule, facts, scope))
  const count = (
    wanted: readonly CountingRule[],
    inspected: Inspected,
    scope: RuleScope,
  ): readonly CountedRequest[] => {
    if (wanted.length === 0) return NONE
    const pass = engine.begin(inspected, newRun(scope))
    return wanted.flatMap(({ compiled: rule, rate, user, number }) => {
      const firing = engine.ask(number, pass)
      if (firing === null) return []
      const report = reportFrom({ total: 0, parts: [], isReached: false })
      weighing.add(rule, firing, modeIn(rule.document, scope), pass, inspected.facts, scope, report)
      return report.hits.map(hit => ({ rule: rate, user: userOf(user, inspected, pass.run), hit }))
    })
  }
  return {
    rateRules: rules.map(({ rate }) => rate),
    countHead: (facts, scope) => {
      if (rules.length === 0) return NONE
      const now = applying(facts, scope, false)
      const all = announcesBody(facts) ? now : [...now, ...applying(facts, scope, true)]
      return all.length === 0 ? NONE : count(all, inspectHead(facts), scope)
    },
    countsBody: (facts, scope) => {
      if (rules.length === 0 || !announcesBody(facts)) return false
      const late = applying(facts, scope, true)
      if (late.length === 0) return false
      const pass = engine.begin(inspectHead(facts), newRun(scope))
      return late.some(({ onHead }) => onHead === null || engine.ask(onHead, pass) !== null)
    },
    countBody: (facts, scope, body, complete) => {
      const late = rules.length === 0 ? [] : applying(facts, scope, true)
      return late.length === 0 ? NONE : count(late, inspectBody(inspectHead(facts), body, complete), scope)
    },
  }
}

function countingRule(compiled: CompiledRule, steps: Rule[], problems: RuleProblem[]): CountingRule | null {
  const { document, condition, onHead, isActive } = compiled
  const { id, rate, at } = document
  if (rate === null) return null
  const problem = (message: string): void => {
    problems.push({ ruleId: id, message, at })
  }
  if (document.action === 'score') problem('a rule that counts cannot score: leave action out')
  if (compiled.phase === 'hello' || compiled.phase === 'message')
    problem(`a rule that counts looks at requests, and this one looks at phase ${compiled.phase}`)
  const user = rate.userField === null ? null : (readField(rate.userField) ?? null)
  if (rate.userField !== null && user === null) problem(`there is no field ${rate.userField} (rate.user)`)
  if (rate.by === 'source+user' && rate.userField === null)
    problem('rate.by source+user needs rate.user, the field with the name')
  if (!isActive) return null
  const isLate = user !== null && !['hello', 'head'].includes(user.collection.phase)
  return {
    compiled,
    rate: rateRule(id, rate),
    user,
    number: steps.push(toRule(compiled)) - 1,
    onHead: onHead === null ? null : steps.push(toHeadRule(compiled, onHead)) - 1,
    late: isLate || !isHeadOnly(condition),
  }
}

function applies({ compiled, rate }: CountingRule, facts: RequestFacts, scope: RuleScope): boolean {
  const { document, methods, classes } = compiled
  // Agents log in with keys, all day and behind one address: what fails there is never counted.
  if (rate.on === 'failure' && AGENT_CLASSES.includes(scope.class)) return false
  if (methods !== null && !methods.has(facts.method)) return false
  if (classes !== null && !classes.has(scope.class)) return false
  return modeIn(document, scope) !== 'off'
}

function userOf(field: Field | null, inspected: Inspected, run: Run): string | null {
  const [first] = field?.collection.read(inspected, run) ?? []
  const name = first?.value.trim().slice(0, MAX_USER) ?? ''
  return name === '' ? null : name
}

function announcesBody({ headers }: RequestFacts): boolean {
  const length = headers.get('content-length')
  return headers.get('transfer-encoding') !== undefined || (length !== undefined && length.trim() !== '0')
}
