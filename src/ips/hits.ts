// Turns what fired into hits: mode by place, exceptions, points, and the refusal of the gate's own rules.
import type { RequestFacts } from '../policy/facts.ts'
import type { SourceLine } from '../policy/source-line.ts'
import type { BuiltInId } from './built-in.ts'
import type { CompiledRule } from './compiled-rule.ts'
import type { Engine, Firing } from './engine/engine.ts'
import type { Found, Pass } from './engine/pass.ts'
import { compileException, holdsFor, type Exception } from './exceptions.ts'
import type { Report } from './judgement.ts'
import { modeIn, POINTS } from './modes.ts'
import { showValue } from './redact.ts'
import type { RuleDocument, RuleProblem } from './rule-document.ts'
import type { HelloScope, RuleHit, RuleMode, RuleScope } from './rule-set.ts'

const MAX_FIELD = 64
const MAX_STEPS = 8

/** A rule of the gate itself, as the policy set it. */
type BuiltIn = { readonly document: RuleDocument; readonly exceptions: readonly Exception[] }

/** Weighs what fired. */
export class Weighing {
  readonly #engine: Engine
  readonly #threshold: number
  readonly #builtIn: ReadonlyMap<string, BuiltIn>

  /** @param documents the rules of the gate itself, with the policy's modes and exceptions in them */
  constructor(
    engine: Engine,
    threshold: number,
    documents: readonly RuleDocument[],
    problems: RuleProblem[],
  ) {
    this.#engine = engine
    this.#threshold = threshold
    this.#builtIn = new Map(
      documents.map(document => [
        document.id,
        {
          document,
          exceptions: document.except.map(entry => compileException(document.id, entry, [], problems)),
        },
      ]),
    )
  }

  /** Adds the hit of a rule; true when it ends the judgement. */
  add(
    rule: CompiledRule,
    firing: Firing,
    mode: RuleMode,
    pass: Pass,
    facts: RequestFacts | null,
    scope: RuleScope | HelloScope,
    report: Report,
  ): boolean {
    const { document } = rule
    const { found, exception } = this.#weigh(rule, firing, pass, facts, scope)
    const counts = mode === 'enforce' && exception === null
    if (document.action === 'block') {
      report.hits.push(makeHit(document, found, mode, exception, 0))
      return counts
    }
    const points = counts ? POINTS[document.severity] : 0
    report.hits.push(makeHit(document, found, 'detect', exception, points))
    return points > 0 && this.#addPoints(document.id, points, facts, scope, report)
  }

  /** The hit that a rule which counts would be. */
  hitOf(
    rule: CompiledRule,
    firing: Firing,
    mode: RuleMode,
    pass: Pass,
    facts: RequestFacts,
    scope: RuleScope,
  ): RuleHit {
    const { found, exception } = this.#weigh(rule, firing, pass, facts, scope)
    return makeHit(rule.document, found, mode, exception, 0)
  }

  #weigh(
    { exceptions }: CompiledRule,
    firing: Firing,
    pass: Pass,
    facts: RequestFacts | null,
    scope: RuleScope | HelloScope,
  ): Weighed {
    const holding = exceptions.length === 0 ? [] : exceptions.filter(entry => holdsFor(entry, facts, scope))
    return holding.length === 0
      ? { found: firing.found, exception: null }
      : this.#except(firing, holding, pass)
  }

  /** Adds the hit of a rule of the gate itself; true when it ends the judgement. */
  addBuiltIn(
    id: BuiltInId,
    value: string,
    score: number,
    facts: RequestFacts | null,
    scope: RuleScope | HelloScope,
    report: Report,
  ): boolean {
    const rule = this.#builtIn.get(id)
    if (rule === undefined) return false
    const mode = modeIn(rule.document, scope)
    if (mode === 'off') return false
    const holding = rule.exceptions.find(entry => holdsFor(entry, facts, scope))
    const { title, severity, at } = rule.document
    report.hits.push({
      ruleId: id,
      title,
      severity,
      mode,
      field: 'request',
      value: value.slice(0, 120),
      steps: [],
      score,
      exception: holding?.document.at ?? null,
      at,
    })
    return mode === 'enforce' && holding === undefined
  }

  #addPoints(
    ruleId: string,
    points: number,
    facts: RequestFacts | null,
    scope: RuleScope | HelloScope,
    report: Report,
  ): boolean {
    const { score } = report
    score.total += points
    score.parts.push({ ruleId, points })
    if (score.isReached || score.total < this.#threshold) return false
    score.isReached = true
    const parts = score.parts.map(part => `${part.ruleId} ${part.points}`).join(', ')
    const value = `${score.total} of ${this.#threshold} points: ${parts}`
    return this.addBuiltIn('score-threshold', value, score.total, facts, scope, report)
  }

  /** Exceptions for fields take these fields out of the question; what is left may still fire. */
  #except(firing: Firing, holding: readonly Exception[], pass: Pass): Weighed {
    const { found } = firing
    const whole = holding.find(exception => exception.removes === null)
    if (whole !== undefined) return { found, exception: whole.document.at }
    const { removedTargets } = pass.run
    removedTargets.set(
      firing.rule.id,
      holding.flatMap(exception => exception.removes ?? []),
    )
    const again = this.#engine.ask(firing.number, pass)
    removedTargets.delete(firing.rule.id)
    const [first] = holding
    return again === null
      ? { found, exception: first?.document.at ?? null }
      : { found: again.found, exception: null }
  }
}

type Weighed = { readonly found: Found | null; readonly exception: SourceLine | null }

function makeHit(
  { id, title, severity, at }: RuleDocument,
  found: Found | null,
  mode: RuleMode,
  exception: SourceLine | null,
  score: number,
): RuleHit {
  const common = { ruleId: id, title, severity, mode, score, exception, at }
  // A rule that fired by an absence alone has nothing to show.
  if (found === null || found.value.field.startsWith('&')) {
    return { ...common, field: 'request', value: '', steps: [] }
  }
  const { value, text, place } = found
  return {
    ...common,
    field: value.field.slice(0, MAX_FIELD),
    value: showValue(text, place?.at ?? 0, place?.length ?? 0, value.secret),
    steps: (value.steps?.() ?? []).slice(0, MAX_STEPS),
  }
}
