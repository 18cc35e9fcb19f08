// Compiles one rule document: its condition, its phase, what the head alone decides of it, its exceptions.
import type { TrafficClass } from '../policy/classes.ts'
import { allOf, compileCondition, isHeadOnly, type Condition } from './condition.ts'
import { compileException, type Exception } from './exceptions.ts'
import { readField, type Field } from './fields/field.ts'
import { isEverActive } from './modes.ts'
import { rateRule, type RateRule } from './rate/rate-rule.ts'
import type { RuleCondition, RuleDocument, RuleProblem } from './rule-document.ts'
import type { Rule, RulePhase } from './rule.ts'
import type { SourceBits } from './sources.ts'

/** A compiled rule document. */
export type CompiledRule = {
  readonly document: RuleDocument
  readonly condition: Condition
  readonly phase: RulePhase
  /** Conditions that must all hold and that the head alone decides: a body is wanted only if they do. Null: there are none. */
  readonly onHead: Condition | null
  readonly classes: ReadonlySet<TrafficClass> | null
  readonly methods: ReadonlySet<string> | null
  readonly exceptions: readonly Exception[]
  /** How many messages of a WebSocket it wants to see; 0 for rules of other phases. */
  readonly messages: number
  /** What it counts; null: it acts on every hit. */
  readonly rate: CompiledRate | null
  readonly isActive: boolean
}

/** What a rule counts, and where the user is named whom it counts for. */
export type CompiledRate = { readonly rule: RateRule; readonly user: Field | null }

/** Compiles a document; null when it has problems, which are added to `problems`. */
export function compileRule(
  document: RuleDocument,
  bits: SourceBits,
  problems: RuleProblem[],
): CompiledRule | null {
  const before = problems.length
  const condition = compileCondition(document.id, document.when, bits, problems)
  if (condition === null) return null
  const rate = rateOf(document, problems)
  const phase = withUser(phaseOf(document, condition, problems), document, rate, problems)
  const exceptions = document.except.map(exception =>
    compileException(document.id, exception, condition.fields, problems),
  )
  if (problems.length > before) return null
  const unread: RuleProblem[] = []
  const onHead = conjuncts(document.when)
    .flatMap(part => compileCondition(document.id, part, bits, unread) ?? [])
    .filter(isHeadOnly)
  return {
    document,
    condition,
    phase,
    onHead: onHead.length === 0 ? null : allOf(onHead),
    classes: document.classes === null ? null : new Set(document.classes),
    methods: document.methods === null ? null : new Set(document.methods),
    exceptions,
    messages: phase === 'message' ? messagesOf(document.when) : 0,
    rate,
    isActive: isEverActive(document),
  }
}

/** The rule in the form that the engine runs. */
export function toRule({ document, condition, phase }: CompiledRule): Rule {
  const { id, title, severity, pack, tags, refs, action, at } = document
  return {
    id,
    title,
    severity,
    pack,
    tags,
    refs,
    phase,
    when: condition.expression,
    action,
    skipTo: null,
    at,
  }
}

/** What the head decides of a rule, as a rule of its own. */
export function toHeadRule(rule: CompiledRule, onHead: Condition): Rule {
  return { ...toRule(rule), phase: 'head', when: onHead.expression, action: 'control' }
}

function conjuncts(condition: RuleCondition): readonly RuleCondition[] {
  return 'all' in condition ? condition.all.flatMap(conjuncts) : [condition]
}

function phaseOf(document: RuleDocument, condition: Condition, problems: RuleProblem[]): RulePhase {
  const { phases, fields } = condition
  const problem = (message: string): void => {
    problems.push({ ruleId: document.id, message, at: document.at })
  }
  const isHello = fields.some(({ text }) => text.startsWith('hello.'))
  const bodyField = fields.find(({ source }) => source === 'body')
  let derived: RulePhase = phases.has('body') ? 'body' : 'head'
  if (phases.has('message')) {
    derived = 'message'
    if (bodyField !== undefined)
      problem(`looks at messages and at ${bodyField.text}: a WebSocket has no body`)
  }
  const late = fields.find(({ collection }) => collection.phase !== 'hello')
  if (isHello) {
    derived = 'hello'
    if (late !== undefined) problem(`looks at the ClientHello and at ${late.text}, which comes later`)
  }
  const stated = document.phase
  if (stated === null || stated === derived) return derived
  if (stated === 'head' && derived === 'body' && bodyField === undefined) return 'head'
  if (stated === 'hello' && late === undefined) return 'hello'
  problem(`phase is ${stated}, but its fields belong to phase ${derived}`)
  return derived
}

function rateOf({ id, rate, at }: RuleDocument, problems: RuleProblem[]): CompiledRate | null {
  if (rate === null) return null
  const { userField } = rate
  const user = userField === null ? null : (readField(userField) ?? null)
  if (userField !== null && user === null) {
    problems.push({ ruleId: id, message: `there is no field ${userField}`, at })
  }
  if ((rate.by === 'source+user') !== (userField !== null)) {
    const message = 'a rate by source+user names the field with the user, and no other rate does'
    problems.push({ ruleId: id, message, at })
  }
  return { rule: rateRule(id, rate), user }
}

/** A rule that counts waits for the field with the user. */
function withUser(
  phase: RulePhase,
  { id, at }: RuleDocument,
  rate: CompiledRate | null,
  problems: RuleProblem[],
): RulePhase {
  if (rate === null) return phase
  if (phase === 'hello' || phase === 'message') {
    problems.push({ ruleId: id, message: 'rules that count look at requests, not at streams', at })
  }
  return rate.user?.collection.phase === 'body' ? 'body' : phase
}

/** Messages that a rule wants to see when it does not say which. */
const USUAL_MESSAGES = 8
const MAX_MESSAGES = 64

function messagesOf(when: RuleCondition): number {
  for (const part of conjuncts(when)) {
    if (!('in' in part) || part.in.length !== 1 || part.in[0] !== 'message.number') continue
    const wanted = part.equals !== undefined ? Math.max(...part.equals.map(Number)) : (part.below ?? NaN) - 1
    if (wanted >= 1) return Math.min(wanted, MAX_MESSAGES)
  }
  return USUAL_MESSAGES
}
