// Compiles the condition of a rule into a function over a request view, with a literal gate before every pattern.
import { readField, readsBody, readsPath, type Field, type RequestView } from './fields.ts'
import { readPattern } from './pattern.ts'
import type { RuleCondition, RuleProblem } from './rule-document.ts'
import { ALWAYS, neededByAll, neededByAny, NEVER, SourceBits, type Sources } from './sources.ts'

/** Where a condition held. `length` 0: the value as a whole. */
export type Match = {
  readonly field: string
  readonly value: string
  readonly at: number
  readonly length: number
  readonly secret: boolean
}

/** A request under judgement: its decoded fields, what gates said, and fields that an exception takes out. */
export type Judgement = {
  readonly view: RequestView
  /** Results of gates by number; undefined: not asked yet. */
  readonly gates: (boolean | undefined)[]
  readonly ignored: ReadonlySet<string> | null
}

/** A compiled condition. */
export type Condition = {
  readonly test: (judgement: Judgement) => Match | null
  /**
   * Without which parts it cannot hold for a request with this path: one of them must be there. NEVER: the path alone rules
   * it out. The same for all requests with the same raw path.
   */
  readonly needs: (judgement: Judgement) => Sources
  /** Whether it needs nothing but the head. */
  readonly headOnly: boolean
  /** Whether a body can make it false. */
  readonly negatesBody: boolean
  /** Whether it ties the rule to certain paths. */
  readonly namesPath: boolean
}

type FieldTest = Extract<RuleCondition, { readonly in: readonly string[] }>

/** Collects what must be in a field before any pattern over it can match; one scan then answers for all rules. */
export class Gates {
  readonly bits = new SourceBits()
  readonly #literals = new Map<string, { number: number; texts: Set<string>; open: boolean }>()
  #compiled: (RegExp | null)[] = []

  /** Registers the texts that a test over a field needs (null: it cannot say) and returns the number of the gate. */
  add(field: Field, required: readonly string[] | null): number {
    let gate = this.#literals.get(field.text)
    if (gate === undefined) {
      gate = { number: this.#literals.size, texts: new Set(), open: false }
      this.#literals.set(field.text, gate)
    }
    if (required === null) gate.open = true
    else for (const text of required) gate.texts.add(text)
    return gate.number
  }

  /** Call once after the last `add`. */
  close(): void {
    this.#compiled = [...this.#literals.values()].map(gate =>
      gate.open || gate.texts.size === 0 ? null : anyText(gate.texts),
    )
  }

  /** Whether any rule can match in the field at all. */
  isOpen(number: number, field: Field, judgement: Judgement): boolean {
    let open = judgement.gates[number]
    if (open === undefined) {
      const expression = this.#compiled[number] ?? null
      open =
        expression === null
          ? judgement.view.values(field).length > 0
          : judgement.view.mayContain(field, expression)
      judgement.gates[number] = open
    }
    return open
  }
}

/** Compiles a condition; null when it has problems, which are added to `problems`. */
export function compileCondition(
  ruleId: string,
  condition: RuleCondition,
  gates: Gates,
  problems: RuleProblem[],
): Condition | null {
  if ('all' in condition || 'any' in condition) {
    const list = 'all' in condition ? condition.all : condition.any
    const parts = list.map(part => compileCondition(ruleId, part, gates, problems))
    const ready = parts.filter(part => part !== null)
    if (ready.length < parts.length || ready.length === 0) return null
    return 'all' in condition ? allOf(ready) : anyOf(ready)
  }
  if ('not' in condition) {
    const inner = compileCondition(ruleId, condition.not, gates, problems)
    return inner === null ? null : negate(inner)
  }
  return compileFieldTest(ruleId, condition, gates, problems)
}

function allOf(parts: readonly Condition[]): Condition {
  return {
    test: judgement => {
      let best: Match | null = null
      for (const part of parts) {
        const match = part.test(judgement)
        if (match === null) return null
        // The last match with a place in it says most: paths and methods come first in most rules.
        if (best === null || match.length > 0) best = match
      }
      return best
    },
    needs: judgement => neededByAll(parts.map(part => part.needs(judgement))),
    headOnly: parts.every(part => part.headOnly),
    negatesBody: parts.some(part => part.negatesBody),
    namesPath: parts.some(part => part.namesPath),
  }
}

function anyOf(parts: readonly Condition[]): Condition {
  return {
    test: judgement => {
      for (const part of parts) {
        const match = part.test(judgement)
        if (match !== null) return match
      }
      return null
    },
    needs: judgement => neededByAny(parts.map(part => part.needs(judgement))),
    headOnly: parts.every(part => part.headOnly),
    negatesBody: parts.some(part => part.negatesBody),
    namesPath: parts.every(part => part.namesPath),
  }
}

const ABSENCE: Match = { field: 'request', value: '', at: 0, length: 0, secret: false }

function negate(inner: Condition): Condition {
  return {
    test: judgement => (inner.test(judgement) === null ? ABSENCE : null),
    needs: () => ALWAYS,
    headOnly: inner.headOnly,
    negatesBody: !inner.headOnly,
    namesPath: false,
  }
}

function compileFieldTest(
  ruleId: string,
  condition: FieldTest,
  gates: Gates,
  problems: RuleProblem[],
): Condition | null {
  const { at } = condition
  const before = problems.length
  const problem = (message: string): void => {
    problems.push({ ruleId, message, at })
  }
  const kinds = (['matches', 'has', 'equals', 'missing', 'longerThan'] as const).filter(
    kind => condition[kind] !== undefined,
  )
  if (kinds.length !== 1)
    problem('needs exactly one of matches, has, equals, missing, longerThan beside `in`')
  const fields = condition.in.flatMap(text => readField(text) ?? (problem(`there is no field ${text}`), []))
  if (condition.in.length === 0) problem('`in` names no field')
  const { missing } = condition
  const valued = kinds.length === 1 && missing === undefined
  const checks = valued ? fields.map(field => compileCheck(field, condition, gates, problem)) : []
  if (problems.length > before) return null

  const test =
    missing === undefined
      ? (judgement: Judgement): Match | null => {
          for (const check of checks) {
            const match = check(judgement)
            if (match !== null) return match
          }
          return null
        }
      : (judgement: Judgement): Match | null => {
          const found = fields.flatMap(field => visible(field, judgement))[0]
          if (missing) return found === undefined ? ABSENCE : null
          return found === undefined ? null : { ...found, at: 0, length: 0 }
        }
  const body = fields.some(readsBody)
  const needs = fields.map((field, index) => {
    const check = checks[index]
    if (missing === true) return () => ALWAYS
    const source = gates.bits.of(field)
    if (check === undefined || !isPath(field)) return () => source
    return (judgement: Judgement) => (check(judgement) === null ? NEVER : ALWAYS)
  })
  return {
    test,
    needs: judgement => neededByAny(needs.map(need => need(judgement))),
    headOnly: !body,
    negatesBody: body && missing === true,
    namesPath: missing === undefined && fields.every(readsPath),
  }
}

function isPath(field: Field): boolean {
  return field.family === 'path' || field.family === 'path.raw'
}

type Check = (judgement: Judgement) => Match | null

function visible(field: Field, { view, ignored }: Judgement): ReturnType<RequestView['values']> {
  const values = view.values(field)
  if (ignored === null || ignored.size === 0) return values
  return values.filter(
    value => !ignored.has(value.field) && !ignored.has(field.text) && !ignored.has(family(value.field)),
  )
}

/** `args` for `args.name`, and so on; header fields belong to `headers`. */
function family(field: string): string {
  const head = field.split('.', 1)[0] ?? field
  return head === 'header' ? 'headers' : head
}

function compileCheck(
  field: Field,
  condition: FieldTest,
  gates: Gates,
  problem: (message: string) => void,
): Check {
  const { longerThan, equals, has, matches } = condition
  if (longerThan !== undefined) {
    return judgement => firstValue(field, judgement, value => (value.length > longerThan ? [0, 0] : null))
  }
  if (equals !== undefined) {
    const texts = new Set(equals.map(text => folded(field, text)))
    return judgement => firstValue(field, judgement, value => (texts.has(value) ? [0, value.length] : null))
  }
  if (has !== undefined) return compileHas(field, has, gates, problem)
  return compileMatches(field, matches ?? [], gates, problem)
}

function compileHas(
  field: Field,
  has: readonly string[],
  gates: Gates,
  problem: (message: string) => void,
): Check {
  const texts = has.map(text => folded(field, text))
  if (texts.length === 0 || texts.includes('')) problem('`has` needs at least one text, none of them empty')
  const gate = gates.add(field, texts)
  const find = (value: string): Place | null => {
    for (const text of texts) {
      const at = value.indexOf(text)
      if (at >= 0) return [at, text.length]
    }
    return null
  }
  return judgement => (gates.isOpen(gate, field, judgement) ? firstValue(field, judgement, find) : null)
}

function compileMatches(
  field: Field,
  matches: readonly string[],
  gates: Gates,
  problem: (message: string) => void,
): Check {
  const patterns: { expression: RegExp; required: readonly string[] | null }[] = []
  if (matches.length === 0) problem('`matches` needs at least one pattern')
  for (const source of matches) {
    const facts = readPattern(source)
    if (typeof facts === 'string') problem(`pattern ${source} ${facts}`)
    else if (!isRaw(field) && /(?<!\\)[A-Z]/.test(source.replaceAll(/\\x[0-9A-F]{2}/gi, ''))) {
      problem(`pattern ${source} has upper-case letters, but the field is lower-case`)
    } else patterns.push({ expression: new RegExp(source), required: facts.required })
  }
  const required = patterns.some(pattern => pattern.required === null)
    ? null
    : patterns.flatMap(pattern => pattern.required ?? [])
  const gate = gates.add(field, required)
  // The gate is shared by all rules over the field; what this rule needs is looked for once, not pattern by pattern.
  const own = required === null || required.length === 0 ? null : anyText(new Set(required))
  const find = (value: string): Place | null => {
    if (own !== null && !own.test(value)) return null
    for (const { expression, required } of patterns) {
      if (required !== null && !required.some(text => value.includes(text))) continue
      const found = expression.exec(value)
      if (found !== null) return [found.index, found[0].length]
    }
    return null
  }
  return judgement => (gates.isOpen(gate, field, judgement) ? firstValue(field, judgement, find) : null)
}

type Place = readonly [at: number, length: number]

function firstValue(field: Field, judgement: Judgement, find: (value: string) => Place | null): Match | null {
  for (const { field: text, value, secret } of visible(field, judgement)) {
    const place = find(value)
    if (place !== null) return { field: text, value, secret, at: place[0], length: place[1] }
  }
  return null
}

function isRaw(field: Field): boolean {
  return field.text.endsWith('.raw')
}

function folded(field: Field, text: string): string {
  return isRaw(field) ? text : text.toLowerCase()
}

function anyText(texts: ReadonlySet<string>): RegExp {
  return new RegExp([...texts].map(escape).join('|'))
}

function escape(text: string): string {
  return text.replaceAll(/[\\^$.*+?()[\]{}|/-]/g, String.raw`\$&`)
}
