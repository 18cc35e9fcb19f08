// Runs rules of the internal form over a request: in order, with shared transforms, a prefilter and a work budget.
import type { HelloFacts } from '../../policy/facts.ts'
import type { Inspected } from '../parts/inspected.ts'
import type { Scanner } from '../regex/types.ts'
import type { HelloScope, RuleCounter, RuleScope } from '../rule-set.ts'
import type { FieldValue, Marker, Place, Rule, RulePhase, Run, Test } from '../rule.ts'
import { Agenda } from './agenda.ts'
import { Pass, type Cell, type Found } from './pass.ts'
import {
  makePlan,
  type ExpressionPlan,
  type Plan,
  type RulePlan,
  type TargetPlan,
  type TestPlan,
} from './plan.ts'
import { createScanner } from '../regex/scanner.ts'

/** How an engine works. */
export type EngineOptions = {
  /** False: every operator is asked, whatever a scan would say. The same rules fire. Default true. */
  readonly prefilter?: boolean
  /** Characters that scans, transforms and operators may look at for one request. */
  readonly maxWork?: number
}

/** A rule that fired, and where; `found` is null when it holds without a value (an absence, a control rule). */
export type Firing = { readonly rule: Rule; readonly number: number; readonly found: Found | null }

/** How a phase ended: all rules asked, stopped by the caller, or out of budget: then what came after is unknown. */
export type Ending = 'done' | 'stopped' | 'over-budget'

/** Default work budget of one request: some tens of milliseconds. */
export const MAX_WORK = 8_000_000

const NO_RULES: ReadonlySet<string> = new Set()

/** The state of a request that begins its way. */
export function newRun(scope: RuleScope | HelloScope | null = null, hello: HelloFacts | null = null): Run {
  return {
    scope,
    hello,
    inspected: null,
    tx: new Map(),
    removedRules: new Set(),
    silentRules: NO_RULES,
    removedTargets: new Map(),
    matched: null,
    matchedAll: [],
    work: 0,
  }
}

/** A compiled list of rules. */
export class Engine {
  readonly rules: readonly Rule[]
  readonly plan: Plan
  readonly #scanner: Scanner | null
  readonly #agendas: Partial<Record<RulePhase, Agenda>> = {}
  readonly #maxWork: number
  readonly #asked: Float64Array
  readonly #hits: Float64Array
  readonly #work: Float64Array

  constructor(steps: readonly (Rule | Marker)[], options: EngineOptions = {}) {
    this.plan = makePlan(steps)
    this.rules = this.plan.rules.map(({ rule }) => rule)
    this.#scanner = options.prefilter === false ? null : createScanner(this.plan.requirements)
    this.#maxWork = options.maxWork ?? MAX_WORK
    this.#asked = new Float64Array(this.rules.length)
    this.#hits = new Float64Array(this.rules.length)
    this.#work = new Float64Array(this.rules.length)
  }

  /** Begins with a request. Go on to later phases with `Pass.advance`. */
  begin(inspected: Inspected, run: Run): Pass {
    return new Pass(this.plan, this.#scanner, this.#maxWork, inspected, run)
  }

  /**
   * Asks the rules of a phase in order.
   * @param onFire told of every rule that fires; true stops
   */
  run(phase: RulePhase, pass: Pass, onFire: (firing: Firing) => boolean): Ending {
    const { rules, markers } = this.plan.phases[phase]
    // Made at first use: rule sets that are asked rule by rule have no need of it.
    const agenda = (this.#agendas[phase] ??= new Agenda(this.plan, this.plan.phases[phase]))
    let at = 0
    for (let stretch = agenda.at(at); stretch !== undefined; stretch = agenda.at(at)) {
      const due = stretch.due(pass)
      if (pass.exhausted) return 'over-budget'
      let next = stretch.to
      for (let place = at; place < stretch.to; place++) {
        const bit = place - stretch.from
        const rest = (due[bit >> 5] as number) >>> (bit & 31)
        if (rest === 0) {
          place += 31 - (bit & 31)
          continue
        }
        place += 31 - Math.clz32(rest & -rest)
        const plan = rules[place] as RulePlan
        const firing = this.ask(plan.number, pass)
        if (pass.exhausted) return 'over-budget'
        if (firing === null) continue
        if (onFire(firing)) return 'stopped'
        const { skipTo } = plan.rule
        // A marker that stands before the rule, or nowhere, ends the phase: rules never run in circles.
        if (skipTo !== null) next = Math.max(place + 1, markers.get(skipTo) ?? rules.length)
      }
      at = next
    }
    return 'done'
  }

  /** Asks one rule by its number; null: it does not hold, was taken out by a control rule, or the budget is used up. */
  ask(number: number, pass: Pass): Firing | null {
    const plan = this.plan.rules[number]
    if (plan === undefined) return null
    const { rule, when } = plan
    const { run } = pass
    if (run.removedRules.size > 0 && run.removedRules.has(rule.id)) return null
    const before = run.work
    pass.found = null
    if (run.matchedAll.length > 0) run.matchedAll = []
    run.matched = null
    const holds = evaluate(when, rule, pass) && !pass.exhausted
    this.#asked[number] = (this.#asked[number] as number) + 1
    if (run.work !== before) this.#work[number] = (this.#work[number] as number) + run.work - before
    if (!holds) return null
    this.#hits[number] = (this.#hits[number] as number) + 1
    return { rule, number, found: pass.found }
  }

  /** Counts a question whose answer was known. */
  countAsked(number: number): void {
    this.#asked[number] = (this.#asked[number] as number) + 1
  }

  /** What each rule cost since the engine was made. */
  counters(): readonly RuleCounter[] {
    return this.rules.map(({ id }, number) => ({
      id,
      asked: this.#asked[number] as number,
      hits: this.#hits[number] as number,
      work: this.#work[number] as number,
    }))
  }
}

function evaluate(expression: ExpressionPlan, rule: Rule, pass: Pass): boolean {
  switch (expression.kind) {
    case 'all':
      for (const part of expression.parts) if (!evaluate(part, rule, pass)) return false
      return true
    case 'any':
      for (const part of expression.parts) if (evaluate(part, rule, pass)) return true
      return false
    case 'not': {
      const { found } = pass
      const holds = !evaluate(expression.part, rule, pass)
      pass.found = found
      return holds && !pass.exhausted
    }
    case 'test':
      return holdsTest(expression.test, rule, pass)
    case 'always':
      for (const effect of expression.effects) effect(pass.run, null, null)
      return true
  }
}

function holdsTest(plan: TestPlan, rule: Rule, pass: Pass): boolean {
  const { test } = plan
  const { removedTargets } = pass.run
  const removed = removedTargets.size === 0 ? undefined : removedTargets.get(rule.id)
  let holds = false
  for (const target of plan.targets) {
    const { collection, only, except, count } = target.target
    const kept = removed === undefined ? except : [...except, ...removedFrom(removed, collection.id)]
    if (count) {
      const total = countOf(pass.values(target.collection), only, kept)
      if (!askCount(test, collection.id, total, pass)) continue
      holds = true
      if (!plan.exhaustive) return true
      continue
    }
    if (askValues(plan, target, kept, removed === undefined, pass)) {
      holds = true
      if (!plan.exhaustive) return true
    }
    if (pass.exhausted) return false
  }
  return holds
}

type Removed = { readonly collection: string; readonly only: ((name: string) => boolean) | null }

function removedFrom(removed: readonly Removed[], id: string): ((name: string) => boolean)[] {
  return removed.filter(entry => entry.collection === id).map(entry => entry.only ?? everything)
}

const everything = (): boolean => true

type Selectors = readonly ((name: string) => boolean)[]

function isSelected(name: string, only: ((name: string) => boolean) | null, except: Selectors): boolean {
  if (only !== null && !only(name)) return false
  for (const selector of except) if (selector(name)) return false
  return true
}

function countOf(
  values: readonly FieldValue[],
  only: ((name: string) => boolean) | null,
  except: Selectors,
): number {
  let total = 0
  for (const { name } of values) if (isSelected(name, only, except)) total++
  return total
}

function askCount(test: Test, id: string, total: number, pass: Pass): boolean {
  pass.spend(1)
  const text = String(total)
  const place = test.operator.find(text, pass.run)
  if ((place !== null) === test.negated) return false
  note(test, { field: `&${id}`, name: '', value: text, secret: false }, text, place, pass)
  return true
}

function askValues(
  plan: TestPlan,
  target: TargetPlan,
  except: Selectors,
  isWhole: boolean,
  pass: Pass,
): boolean {
  const { test, chain, transforms, bit, exhaustive } = plan
  const view = target.view < 0 ? null : pass.view(target.view)
  const isPlain = !test.multiMatch
  if (view !== null && isPlain && bit >= 0 && !test.negated && !pass.anyMeets(view, bit)) return false
  const values = view?.selection.values ?? pass.values(target.collection)
  if (values.length === 0) return false
  const cells = view !== null && isPlain && !pass.isUntransformed ? pass.cellsOf(view) : null
  const { only } = target.target
  // What a view holds has been selected, unless a control rule took out more.
  const isSelection = view !== null && isWhole
  let holds = false
  // What is read may grow while it is asked: every match adds to the matched values.
  const count = values.length
  for (let index = 0; index < count; index++) {
    const value = values[index] as FieldValue
    if (!isSelection && !isSelected(value.name, only, except)) continue
    if (!isPlain) {
      if (!askEveryStep(plan, value, pass)) continue
    } else if (view !== null && pass.isUntransformed) {
      const isWorthIt = bit < 0 || pass.meetsAt(view, index, bit)
      if (
        !(isWorthIt ? askText(test, value, value.value, pass) : holdsWithout(test, value, value.value, pass))
      )
        continue
    } else if (cells === null && bit < 0 && transforms.length === 0) {
      // State of the run changes all the time: nothing about it is worth remembering.
      if (!askText(test, value, value.value, pass)) continue
    } else {
      const cell = cells?.[index] ?? pass.through(pass.cell(value.value), chain, transforms)
      if (!askCell(test, bit, value, cell, pass)) continue
    }
    if (pass.exhausted) return false
    holds = true
    if (!exhaustive) return true
  }
  return holds
}

/** Asks of the value as it is and after every transform that changes it. */
function askEveryStep(
  { test, transforms, bit, exhaustive }: TestPlan,
  value: FieldValue,
  pass: Pass,
): boolean {
  let cell = pass.cell(value.value)
  let holds = askCell(test, bit, value, cell, pass)
  for (const transform of transforms) {
    if (holds && !exhaustive) return true
    const next = pass.transformed(cell, transform)
    if (next === cell) continue
    cell = next
    if (askCell(test, bit, value, cell, pass)) holds = true
  }
  return holds
}

function askCell(test: Test, bit: number, value: FieldValue, cell: Cell, pass: Pass): boolean {
  if (bit < 0 || pass.meets(cell, bit)) return askText(test, value, cell.value, pass)
  return holdsWithout(test, value, cell.value, pass)
}

/** What comes of a test when the text cannot hold what its operator looks for. */
function holdsWithout(test: Test, value: FieldValue, text: string, pass: Pass): boolean {
  if (pass.exhausted || !test.negated) return false
  note(test, value, text, null, pass)
  return true
}

function askText(test: Test, value: FieldValue, text: string, pass: Pass): boolean {
  if (pass.exhausted) return false
  const { operator } = test
  pass.spend(1 + text.length * operator.cost)
  if (test.negated && operator.holds !== undefined) {
    if (operator.holds(text, pass.run)) return false
    note(test, value, text, null, pass)
    return true
  }
  const place = operator.find(text, pass.run)
  if ((place !== null) === test.negated) return false
  note(test, value, text, place, pass)
  return true
}

function note(test: Test, value: FieldValue, text: string, place: Place | null, pass: Pass): void {
  const { run } = pass
  // The last match with a place in it says most: paths and methods come first in most rules.
  if (pass.found === null || (place !== null && place.length > 0)) pass.found = { value, text, place }
  const { field, name, secret } = value
  const matched = value.value === text ? value : { field, name, value: text, secret }
  run.matched = matched
  run.matchedAll.push(matched)
  for (const effect of test.effects) effect(run, matched, place)
}
