// Compiles rules of the internal form into what the engine runs: numbered collections, shared transforms, one scanner.
import type {
  Collection,
  Effect,
  Expression,
  Marker,
  Rule,
  RulePhase,
  Target,
  Test,
  Transform,
} from '../rule.ts'
import type { Requirement } from '../regex/requirement.ts'

/** A target of a test. */
export type TargetPlan = {
  readonly target: Target
  readonly collection: number
  /** Number of the pair of collection and transforms. */
  readonly view: number
}

/** A test with everything about it resolved to numbers. */
export type TestPlan = {
  readonly test: Test
  readonly targets: readonly TargetPlan[]
  /** Numbers of its transforms, in order. */
  readonly chain: readonly number[]
  /** Number of its requirement in the scanner; -1: it has none. */
  readonly bit: number
  /** Whether every matching value counts, not only the first. */
  readonly exhaustive: boolean
}

/** An expression of such tests. */
export type ExpressionPlan =
  | { readonly kind: 'all'; readonly parts: readonly ExpressionPlan[] }
  | { readonly kind: 'any'; readonly parts: readonly ExpressionPlan[] }
  | { readonly kind: 'not'; readonly part: ExpressionPlan }
  | { readonly kind: 'test'; readonly test: TestPlan }
  | { readonly kind: 'always'; readonly effects: readonly Effect[] }

/** A rule as the engine runs it. */
export type RulePlan = { readonly rule: Rule; readonly number: number; readonly when: ExpressionPlan }

/** The rules of one phase in order, and where its markers stand: the index of the rule that follows. */
export type PhasePlan = { readonly rules: readonly RulePlan[]; readonly markers: ReadonlyMap<string, number> }

/** A compiled list of rules. */
export type Plan = {
  readonly rules: readonly RulePlan[]
  readonly phases: Readonly<Record<RulePhase, PhasePlan>>
  readonly collections: readonly Collection[]
  readonly transforms: readonly Transform[]
  readonly requirements: readonly Requirement[]
  readonly views: number
}

/** Compiles steps; collections and transforms with equal ids are taken for the same. */
export function makePlan(steps: readonly (Rule | Marker)[]): Plan {
  const planner = new Planner()
  const rules: RulePlan[] = []
  const phases: Record<RulePhase, { rules: RulePlan[]; markers: Map<string, number> }> = {
    hello: { rules: [], markers: new Map() },
    head: { rules: [], markers: new Map() },
    body: { rules: [], markers: new Map() },
    message: { rules: [], markers: new Map() },
  }
  for (const step of steps) {
    if ('marker' in step) {
      for (const phase of Object.values(phases)) phase.markers.set(step.marker, phase.rules.length)
      continue
    }
    const exhaustive = readsMatches(step.when)
    const plan = { rule: step, number: rules.length, when: planner.expression(step.when, exhaustive) }
    rules.push(plan)
    phases[step.phase].rules.push(plan)
  }
  const { collections, transforms, requirements, views } = planner
  return { rules, phases, collections, transforms, requirements, views: views.size }
}

class Planner {
  readonly collections: Collection[] = []
  readonly transforms: Transform[] = []
  readonly requirements: Requirement[] = []
  readonly views = new Map<string, number>()
  readonly #collectionNumbers = new Map<string, number>()
  readonly #transformNumbers = new Map<string, number>()
  readonly #requirementNumbers = new Map<Requirement, number>()

  expression(expression: Expression, exhaustive: boolean): ExpressionPlan {
    switch (expression.kind) {
      case 'all':
      case 'any':
        return {
          kind: expression.kind,
          parts: expression.parts.map(part => this.expression(part, exhaustive)),
        }
      case 'not':
        return { kind: 'not', part: this.expression(expression.part, exhaustive) }
      case 'test':
        return { kind: 'test', test: this.#test(expression.test, exhaustive) }
      case 'always':
        return expression
    }
  }

  #test(test: Test, exhaustive: boolean): TestPlan {
    const chain = test.transforms.map(transform =>
      numbered(this.#transformNumbers, transform.id, this.transforms, transform),
    )
    const { requires } = test.operator
    const targets = test.targets.map(target => {
      const { collection } = target
      const number = numbered(this.#collectionNumbers, collection.id, this.collections, collection)
      const key = `${number} ${chain.join(' ')}`
      const view = this.views.get(key) ?? this.views.size
      this.views.set(key, view)
      return { target, collection: number, view }
    })
    return {
      test,
      targets,
      chain,
      bit: requires === null ? -1 : numbered(this.#requirementNumbers, requires, this.requirements, requires),
      exhaustive: exhaustive || test.effects.length > 0,
    }
  }
}

function numbered<Key, Item>(numbers: Map<Key, number>, key: Key, items: Item[], item: Item): number {
  const known = numbers.get(key)
  if (known !== undefined) return known
  const number = items.length
  numbers.set(key, number)
  items.push(item)
  return number
}

/** Whether any part reads state of the run, which may be what earlier parts matched. */
function readsMatches(expression: Expression): boolean {
  switch (expression.kind) {
    case 'all':
    case 'any':
      return expression.parts.some(readsMatches)
    case 'not':
      return readsMatches(expression.part)
    case 'test':
      return expression.test.targets.some(target => target.collection.volatile)
    case 'always':
      return expression.effects.length > 0
  }
}
