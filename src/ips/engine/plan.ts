// Compiles rules of the internal form into what the engine runs: numbered collections, shared transforms, one scanner.
import type {
  Collection,
  Effect,
  Expression,
  Marker,
  Rule,
  RulePhase,
  Selector,
  Target,
  Test,
  Transform,
} from '../rule.ts'
import type { Requirement } from '../regex/requirement.ts'
import { Inertia } from './inert.ts'

/** Members of a collection that tests look at. */
export type SelectionPlan = {
  readonly collection: number
  readonly only: Selector | null
  readonly except: readonly Selector[]
  /** Whether it can change when a later phase begins. */
  readonly grows: boolean
}

/** A selection after a chain of transforms; chains are numbered. */
export type ViewPlan = {
  readonly selection: number
  readonly chain: number
  readonly transforms: readonly number[]
}

/** A target of a test. */
export type TargetPlan = {
  readonly target: Target
  readonly collection: number
  /** Number of its view after all transforms; -1: nothing about it may be remembered. */
  readonly view: number
}

/** A test with everything about it resolved to numbers. */
export type TestPlan = {
  readonly test: Test
  readonly targets: readonly TargetPlan[]
  /** Number of the group of all views that it asks; -1: not all of them may be remembered. */
  readonly group: number
  /** Numbers of its transforms, in order. */
  readonly transforms: readonly number[]
  /** Number of the whole list of them. */
  readonly chain: number
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
  readonly inertia: Inertia
  /** What `inertia` says of each transform, and of each chain of them. */
  readonly transformBits: Int32Array
  readonly chainBits: Int32Array
  readonly requirements: readonly Requirement[]
  readonly selections: readonly SelectionPlan[]
  readonly views: readonly ViewPlan[]
  /** Views that are asked together, by their numbers. */
  readonly groups: readonly (readonly number[])[]
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
  const { collections, transforms, chains, requirements, selections, views, groups } = planner
  const inertia = new Inertia(transforms)
  const transformBits = Int32Array.from(transforms, (_, number) => inertia.ofChain([number]))
  const chainBits = Int32Array.from(chains, chain => inertia.ofChain(chain))
  return {
    rules,
    phases,
    collections,
    transforms,
    inertia,
    transformBits,
    chainBits,
    requirements,
    selections,
    views,
    groups,
  }
}

class Planner {
  readonly collections: Collection[] = []
  readonly transforms: Transform[] = []
  readonly chains: (readonly number[])[] = []
  readonly requirements: Requirement[] = []
  readonly selections: SelectionPlan[] = []
  readonly views: ViewPlan[] = []
  readonly groups: (readonly number[])[] = []
  readonly #groupNumbers = new Map<string, number>()
  readonly #selectors = new Map<Selector, number>()
  readonly #selectionNumbers = new Map<string, number>()
  readonly #chainNumbers = new Map<string, number>()
  readonly #viewNumbers = new Map<string, number>()
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
    const transforms = test.transforms.map(transform =>
      numbered(this.#transformNumbers, transform.id, this.transforms, transform),
    )
    const { requires } = test.operator
    // After every transform, when every step is asked.
    const steps = test.multiMatch ? transforms.map((_, index) => transforms.slice(0, index)) : []
    const asked: number[] = []
    const targets = test.targets.map((target): TargetPlan => {
      const { collection } = target
      const number = numbered(this.#collectionNumbers, collection.id, this.collections, collection)
      if (collection.volatile || target.count) return { target, collection: number, view: -1 }
      const selection = this.#selection(number, target)
      const view = this.#view(selection, transforms)
      asked.push(...steps.map(chain => this.#view(selection, chain)), view)
      return { target, collection: number, view }
    })
    return {
      test,
      targets,
      group: targets.some(({ view }) => view < 0)
        ? -1
        : numbered(this.#groupNumbers, asked.join(' '), this.groups, asked),
      transforms,
      chain: this.#chain(transforms),
      bit: requires === null ? -1 : numbered(this.#requirementNumbers, requires, this.requirements, requires),
      exhaustive: exhaustive || test.effects.length > 0,
    }
  }

  #selection(collection: number, { only, except, collection: { phase } }: Target): number {
    const selectors = [...(only === null ? [] : [only]), ...except]
    const ids = selectors.map(selector => numberOf(this.#selectors, selector))
    const key = `${collection} ${only === null ? '' : 'only'} ${ids.join(' ')}`
    const grows = phase === 'body' || phase === 'message'
    return numbered(this.#selectionNumbers, key, this.selections, { collection, only, except, grows })
  }

  #view(selection: number, transforms: readonly number[]): number {
    const chain = this.#chain(transforms)
    return numbered(this.#viewNumbers, `${selection} ${chain}`, this.views, { selection, chain, transforms })
  }

  #chain(transforms: readonly number[]): number {
    return numbered(this.#chainNumbers, transforms.join(' '), this.chains, transforms)
  }
}

function numberOf<Key>(numbers: Map<Key, number>, key: Key): number {
  const known = numbers.get(key) ?? numbers.size
  numbers.set(key, known)
  return known
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
