// Lowers the condition of a rule document to an expression of the engine, and finds out what it depends on.
import type { SourceLine } from '../policy/source-line.ts'
import { readField, type Field } from './fields/field.ts'
import {
  hasOperator,
  longerThanOperator,
  matchesOperator,
  numberOperator,
  oneOfOperator,
  present,
} from './operators.ts'
import { compilePattern, isPattern } from './regex/compile.ts'
import type { Pattern, PatternProblem } from './regex/types.ts'
import type { PatternPlace, RuleCondition, RuleProblem } from './rule-document.ts'
import type { Collection, Expression, Operator, RulePhase, Target, Test } from './rule.ts'
import { ALWAYS, neededByAll, neededByAny, type SourceBits, type Sources } from './sources.ts'

/** A compiled condition. */
export type Condition = {
  readonly expression: Expression
  /** Without which parts of a request it cannot hold: one of them must be there. */
  readonly needs: Sources
  /** Tests of the path of which one must hold; null: it may hold for any path. */
  readonly onPath: readonly PathTest[] | null
  /** Phases of the fields that it looks at; `hello` stands for what is known from the beginning as well. */
  readonly phases: ReadonlySet<RulePhase>
  readonly fields: readonly Field[]
  /** Whether a body can make it false. */
  readonly negatesBody: boolean
  /** Whether it ties the rule to certain paths. */
  readonly namesPath: boolean
}

/** A test of the path alone. */
export type PathTest = { readonly collection: Collection; readonly operator: Operator }

type FieldTest = Extract<RuleCondition, { readonly in: readonly string[] }>

/** Compiles a condition; null when it has problems, which are added to `problems`. */
export function compileCondition(
  ruleId: string,
  condition: RuleCondition,
  bits: SourceBits,
  problems: RuleProblem[],
): Condition | null {
  if ('all' in condition || 'any' in condition) {
    const list = 'all' in condition ? condition.all : condition.any
    const parts = list.map(part => compileCondition(ruleId, part, bits, problems))
    const ready = parts.filter(part => part !== null)
    if (ready.length < parts.length || ready.length === 0) return null
    return 'all' in condition ? allOf(ready) : anyOf(ready)
  }
  if ('not' in condition) {
    const inner = compileCondition(ruleId, condition.not, bits, problems)
    return inner === null ? null : negate(inner)
  }
  return compileFieldTest(ruleId, condition, bits, problems)
}

/** Whether the condition needs nothing but the head. */
export function isHeadOnly({ phases }: Pick<Condition, 'phases'>): boolean {
  return !phases.has('body') && !phases.has('message')
}

/** All of several conditions. */
export function allOf(parts: readonly Condition[]): Condition {
  const [only] = parts
  if (parts.length === 1 && only !== undefined) return only
  return {
    ...joined(parts),
    expression: { kind: 'all', parts: parts.map(part => part.expression) },
    needs: neededByAll(parts.map(part => part.needs)),
    onPath: fewest(parts.map(part => part.onPath)),
    namesPath: parts.some(part => part.namesPath),
  }
}

function anyOf(parts: readonly Condition[]): Condition {
  return {
    ...joined(parts),
    expression: { kind: 'any', parts: parts.map(part => part.expression) },
    needs: neededByAny(parts.map(part => part.needs)),
    onPath: parts.some(part => part.onPath === null) ? null : parts.flatMap(part => part.onPath ?? []),
    namesPath: parts.every(part => part.namesPath),
  }
}

function joined(parts: readonly Condition[]): Pick<Condition, 'phases' | 'fields' | 'negatesBody'> {
  return {
    phases: new Set(parts.flatMap(part => [...part.phases])),
    fields: parts.flatMap(part => part.fields),
    negatesBody: parts.some(part => part.negatesBody),
  }
}

function negate(inner: Condition): Condition {
  return {
    ...inner,
    expression: { kind: 'not', part: inner.expression },
    needs: ALWAYS,
    onPath: null,
    negatesBody: inner.phases.has('body'),
    namesPath: false,
  }
}

function compileFieldTest(
  ruleId: string,
  condition: FieldTest,
  bits: SourceBits,
  problems: RuleProblem[],
): Condition | null {
  const before = problems.length
  const problem = (message: string, at = condition.at): void => {
    problems.push({ ruleId, message, at })
  }
  const fields = condition.in.flatMap(text => readField(text) ?? (problem(`there is no field ${text}`), []))
  if (condition.in.length === 0) problem('`in` names no field')
  checkKind(condition, problem)
  const isAbsence = condition.missing === true
  // Texts are folded for decoded fields only, so that raw ones beside them are a test of their own.
  const asks = [fields.filter(field => field.raw), fields.filter(field => !field.raw)]
    .filter(group => group.length > 0)
    .flatMap(group =>
      operatorsOf(condition, group[0]?.raw === true, problem).map((operator): Ask => ({
        operator,
        fields: group,
      })),
    )
  if (problems.length > before) return null

  const parts = asks.flatMap(({ operator, fields: asked }): Expression[] => {
    const targets = asked.map(({ collection }): Target => ({
      collection,
      only: null,
      except: [],
      count: isAbsence,
    }))
    // Several fields are missing when each of them is.
    const lists = isAbsence ? targets.map(target => [target]) : [targets]
    return lists.map(list => ({ kind: 'test', test: testOf(list, operator, condition) }))
  })
  const [first] = parts
  const phases = new Set(fields.map(field => field.collection.phase))
  return {
    expression:
      parts.length === 1 && first !== undefined ? first : { kind: isAbsence ? 'all' : 'any', parts },
    needs: isAbsence ? ALWAYS : neededByAny(fields.map(field => bits.of(field.source))),
    onPath: isAbsence ? null : pathTests(asks),
    phases,
    fields,
    negatesBody: isAbsence && phases.has('body'),
    namesPath:
      condition.missing === undefined &&
      fields.every(({ text, aboutPath }) => aboutPath || text === 'target.raw'),
  }
}

type Ask = { readonly operator: Operator; readonly fields: readonly Field[] }

function testOf(targets: readonly Target[], operator: Operator, { at }: FieldTest): Test {
  return { targets, transforms: [], operator, negated: false, multiMatch: false, effects: [], at }
}

function pathTests(asks: readonly Ask[]): readonly PathTest[] | null {
  const tests: PathTest[] = []
  for (const { operator, fields } of asks) {
    for (const { aboutPath, collection } of fields) {
      if (!aboutPath) return null
      tests.push({ collection, operator })
    }
  }
  return tests
}

/** The list that leaves the fewest paths in play, as far as its length tells. */
function fewest(lists: readonly Condition['onPath'][]): Condition['onPath'] {
  let best: Condition['onPath'] = null
  for (const list of lists) if (list !== null && (best === null || list.length < best.length)) best = list
  return best
}

type Report = (message: string, at?: FieldTest['at']) => void

const KINDS = ['matches', 'has', 'equals', 'missing', 'longerThan', 'above', 'below'] as const

function checkKind(condition: FieldTest, problem: Report): void {
  const kinds = KINDS.filter(kind => condition[kind] !== undefined)
  if (kinds.length !== 1) problem(`needs exactly one of ${KINDS.join(', ')} beside \`in\``)
  if (condition.has?.length === 0 || condition.has?.includes('') === true)
    problem('`has` needs at least one text, none of them empty')
  if (condition.matches?.length === 0) problem('`matches` needs at least one pattern')
}

function operatorsOf(condition: FieldTest, isRaw: boolean, problem: Report): readonly Operator[] {
  const { matches, has, equals, missing, longerThan, above, below } = condition
  if (missing !== undefined) return [missing ? oneOfOperator(['0']) : present]
  if (longerThan !== undefined) return [longerThanOperator(longerThan)]
  if (above !== undefined || below !== undefined) return [numberOperator(above, below)]
  const folded = (text: string): string => (isRaw ? text : text.toLowerCase())
  if (equals !== undefined) return [oneOfOperator(equals.map(folded))]
  if (has !== undefined) return [hasOperator(has.map(folded))]
  return (matches ?? []).flatMap((source, index) => {
    const place = condition.patternsAt?.[index]
    const pattern = patternOf(source)
    if (!isPattern(pattern)) {
      const { message, column } = pattern
      problem(`pattern ${source}: ${message} (character ${column})`, placeIn(place, column))
      return []
    }
    const upper = isRaw ? -1 : upperCaseIn(source)
    if (upper >= 0) {
      problem(
        `pattern ${source} has upper-case letters, but the field is lower-case`,
        placeIn(place, upper + 1),
      )
      return []
    }
    return [matchesOperator(pattern)]
  })
}

// The same pattern is compiled for the rule, for what the head decides of it, and for its tests; and again at the next load.
const patterns = new Map<string, Pattern | PatternProblem>()
const MAX_PATTERNS = 10_000

function patternOf(source: string): Pattern | PatternProblem {
  let pattern = patterns.get(source)
  if (pattern === undefined) {
    pattern = compilePattern(source)
    if (patterns.size >= MAX_PATTERNS) patterns.clear()
    patterns.set(source, pattern)
  }
  return pattern
}

/** @returns the place of the first letter that could never match, -1 for none */
function upperCaseIn(source: string): number {
  if (/\(\?[a-z]*i/.test(source)) return -1
  // Escapes such as \S, \x4F and \p{Lu} mean something else, and so do names of groups.
  const meant = source.replaceAll(/\\(?:x[0-9A-Fa-f]{2}|[pP]\{[^}]*\}|.)|\(\?P?<\w{1,64}>/g, found =>
    ' '.repeat(found.length),
  )
  return meant.search(/[A-Z]/)
}

function placeIn(place: PatternPlace | undefined, column: number): SourceLine | undefined {
  if (place?.isExact !== true) return place?.at
  return { ...place.at, column: place.at.column + column - 1 }
}
