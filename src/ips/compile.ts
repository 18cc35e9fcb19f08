// Compiles rule documents into a rule set.
import { compileRule, type CompiledRule } from './compiled-rule.ts'
import { MAX_WORK } from './engine/engine.ts'
import { BUILT_IN_RULES } from './built-in.ts'
import { makeJudge, judgeOnDemand } from './judge.ts'
import type { RuleDocument, RuleProblem } from './rule-document.ts'
import type { RuleInfo, RuleSet } from './rule-set.ts'
import { SourceBits } from './sources.ts'

/** Points at which a request is refused, unless the policy says otherwise: one critical hit. */
export const DEFAULT_THRESHOLD = 5

/** What a rule set takes from the policy beside its rules. */
export type RuleSetOptions = {
  /** Points at which a request is refused. */
  readonly threshold?: number
  /** The rules of the gate itself, with the policy's modes and exceptions in them. */
  readonly builtIn?: readonly RuleDocument[]
  /** False: every rule is asked in full. The same hits, more work. */
  readonly prefilter?: boolean
  /** Characters that may be looked at for one request. */
  readonly maxWork?: number
  /** True: the rules are made ready when the first request is judged, for sets that may never be asked. */
  readonly onDemand?: boolean
}

/**
 * Compiles rules. A rule with a problem is left out and reported, so that the caller can refuse the whole policy; rules of
 * mode `off` are checked and listed, never asked.
 */
export function compileRules(
  documents: readonly RuleDocument[],
  options: RuleSetOptions = {},
): {
  ruleSet: RuleSet
  problems: readonly RuleProblem[]
} {
  const problems: RuleProblem[] = []
  const bits = new SourceBits()
  const seen = new Set<string>()
  const rules: CompiledRule[] = []
  const builtIn = options.builtIn ?? BUILT_IN_RULES
  for (const document of documents) {
    const before = problems.length
    if (seen.has(document.id) || builtIn.some(({ id }) => id === document.id)) {
      problems.push({ ruleId: document.id, message: 'this id is used twice', at: document.at })
    }
    seen.add(document.id)
    const rule = compileRule(document, bits, problems)
    if (rule !== null && problems.length === before) rules.push(rule)
  }
  const judgeOptions = {
    threshold: options.threshold ?? DEFAULT_THRESHOLD,
    builtIn,
    prefilter: options.prefilter ?? true,
    maxWork: options.maxWork ?? MAX_WORK,
  }
  const judge =
    options.onDemand === true
      ? judgeOnDemand(() => makeJudge(rules, bits, judgeOptions, []))
      : makeJudge(rules, bits, judgeOptions, problems)
  // The gate's own rules are listed where a policy set them, so that an admin finds them.
  const listed = options.builtIn ?? []
  const ruleSet: RuleSet = {
    size: rules.length,
    rules: [...rules.map(infoOf), ...listed.map(document => infoOf({ document, phase: 'body' }))],
    ...judge,
  }
  return { ruleSet, problems }
}

function infoOf({ document, phase }: Pick<CompiledRule, 'document' | 'phase'>): RuleInfo {
  const { id, title, severity, mode, pack, tags, action, overrides, rate, refs, except, at } = document
  const { enforceAfterDays, digest } = document
  const exceptions = except.map(({ reason, owner, expiresMs, at: line }) => ({
    reason,
    owner,
    expiresMs,
    at: line,
  }))
  return {
    id,
    title,
    severity,
    mode,
    pack,
    tags,
    phase,
    action,
    overrides,
    rate,
    enforceAfterDays,
    digest,
    refs,
    exceptions,
    at,
  }
}
