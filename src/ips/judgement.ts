// What is known of one request while rules judge it: kept from its head to its body and to its messages.
import type { RequestFacts } from '../policy/facts.ts'
import { newRun, type Engine } from './engine/engine.ts'
import type { Pass } from './engine/pass.ts'
import { inspectRequest } from './parts/inspect.ts'
import type { Inspected } from './parts/inspected.ts'
import type { Candidates, PathIndex } from './path-index.ts'
import type { RuleHit, RuleScope } from './rule-set.ts'
import type { Run } from './rule.ts'

/** Rules that scored, and how much, in order. */
export type Score = {
  total: number
  readonly parts: { readonly ruleId: string; readonly points: number }[]
  isReached: boolean
}

/** A request under judgement. */
export class Judgement {
  readonly facts: RequestFacts
  readonly head: Inspected
  readonly run: Run
  readonly pass: Pass
  /** Rules tied to the path. */
  readonly candidates: Candidates
  /** Rules that fired on the head, by their number in the engine. */
  readonly firedOnHead = new Set<number>()
  headScore: Score = { total: 0, parts: [], isReached: false }
  headWork = 0
  /** Whether the body is, by its type, nothing that text is found in; null: not looked at yet. */
  isOpaque: boolean | null = null

  constructor(facts: RequestFacts, scope: RuleScope, engine: Engine, index: PathIndex) {
    this.facts = facts
    this.head = inspectRequest(facts, null, true)
    this.run = newRun(scope)
    this.pass = engine.begin(this.head, this.run)
    this.candidates = index(this.head, this.run)
  }
}

/** Where hits of one call go. */
export type Report = { readonly hits: RuleHit[]; readonly score: Score }

/** A report that goes on from a score. */
export function reportFrom(score: Score): Report {
  return { hits: [], score: { ...score, parts: [...score.parts] } }
}
