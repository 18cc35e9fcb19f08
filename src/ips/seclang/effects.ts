// What rules change when they match: variables, captures, and other rules.
import type { Effect, Run, Selector } from '../rule.ts'
import type { SecActionItem } from './document.ts'
import { parseIds, parseVariables } from './parse-parts.ts'
import type { Macro } from './macro.ts'
import { leadingNumber } from './operators.ts'
import { PROCESSOR } from './state.ts'
import { collectionOf, KEPT_COLLECTIONS, selectorOf, stateKey, type CompilePattern } from './variables.ts'

/** A rule as others can name it. */
export type NamedRule = {
  readonly number: number
  readonly id: string
  readonly tags: readonly string[]
  readonly message: string
}

/** What effects need to be compiled. */
export type EffectContext = {
  readonly macro: (text: string) => Macro
  readonly compilePattern: CompilePattern
  /** All rules of the files. */
  readonly rules: () => readonly NamedRule[]
}

/** Most members that a run may hold: rules write one per header or argument. */
const MAX_TX = 2_000
const MAX_VALUE = 20_000

function write(run: Run, key: string, value: string): void {
  if (run.tx.size < MAX_TX || run.tx.has(key))
    run.tx.set(key, value.length > MAX_VALUE ? value.slice(0, MAX_VALUE) : value)
}

const DIGITS = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9']

/** Keeps what was found as TX:0, and captured groups as TX:1 to TX:9. */
export const captureEffect: Effect = (run, matched, place) => {
  if (place === null || matched === null) return
  const groups = place.groups ?? [matched.value.slice(place.at, place.at + place.length)]
  for (const [index, digit] of DIGITS.entries()) {
    const text = groups[index]
    if (text === undefined) run.tx.delete(digit)
    else write(run, digit, text)
  }
}

/** Compiles a `setvar` action: `tx.a=1`, `tx.a=+%{tx.b}`, `!tx.a`, `tx.a`; a text: why it cannot be run. */
export function setVariable(text: string, context: EffectContext): Effect | string {
  const read = /^(!?)([A-Za-z]+)[.:]([^=]+)(?:=([+-]?)(.*))?$/s.exec(text.trim())
  if (read === null) return `${JSON.stringify(text.slice(0, 60))} sets no variable`
  const collection = (read[2] ?? '').toUpperCase()
  if (collection !== 'TX' && !KEPT_COLLECTIONS.has(collection)) return `${collection} cannot be written`
  const member = context.macro(read[3] ?? '')
  const value = context.macro((read[5] ?? '1').trim())
  const sign = read[4] ?? ''
  const fixed = member.fixed === null ? null : stateKey(collection, member.fixed)
  const key = (run: Run): string => fixed ?? stateKey(collection, member.expand(run))
  if (read[1] === '!') return run => void run.tx.delete(key(run))
  if (sign === '') return run => write(run, key(run), value.expand(run))
  const factor = sign === '-' ? -1 : 1
  return run => {
    const name = key(run)
    write(
      run,
      name,
      String(leadingNumber(run.tx.get(name) ?? '0') + factor * leadingNumber(value.expand(run))),
    )
  }
}

/** Control settings that only concern what ModSecurity logs or keeps. */
const IDLE_CONTROLS = new Set([
  'auditengine',
  'auditlogparts',
  'debugloglevel',
  'forcerequestbodyvariable',
  'requestbodyaccess',
  'requestbodylimit',
  'responsebodyaccess',
  'responsebodylimit',
  'hashengine',
  'hashenforcement',
])

/** Compiles a `ctl` action; null: it has no meaning here; a text: why it cannot be run. */
export function control(text: string, context: EffectContext): Effect | null | string {
  const mark = text.indexOf('=')
  const name = text
    .slice(0, mark < 0 ? text.length : mark)
    .trim()
    .toLowerCase()
  const value = mark < 0 ? '' : text.slice(mark + 1).trim()
  if (IDLE_CONTROLS.has(name)) return null
  switch (name) {
    case 'ruleengine':
      // Watching only is how the policy uses imported rules anyway, so that rules may not ask for less than that.
      return value.toLowerCase() === 'off' ? removing(context, () => true) : null
    case 'requestbodyprocessor': {
      const processor = value.toUpperCase()
      return run => void run.tx.set(PROCESSOR, processor)
    }
    case 'ruleremovebyid': {
      const ids = parseIds([value])
      return typeof ids === 'string'
        ? ids
        : removing(context, rule =>
            ids.some(id => id.by === 'id' && rule.number >= id.from && rule.number <= id.to),
          )
    }
    case 'ruleremovebytag':
    case 'ruleremovebymsg': {
      const matches = textMatcher(value, context.compilePattern)
      if (typeof matches === 'string') return matches
      return removing(context, rule =>
        (name === 'ruleremovebytag' ? rule.tags : [rule.message]).some(matches),
      )
    }
    case 'ruleremovetargetbyid':
    case 'ruleremovetargetbytag':
    case 'ruleremovetargetbymsg':
      return removingTarget(name, value, context)
    default:
      return `there is no control ${name.slice(0, 40)}`
  }
}

/** Tags and messages are named by a pattern that may match anywhere in them. */
function textMatcher(text: string, compile: CompilePattern): Selector | string {
  const pattern = compile(text, { dotAll: true })
  return 'message' in pattern ? `${text}: ${pattern.message}` : candidate => pattern.test(candidate)
}

/** Which rules are meant is worked out at first use, when all files are known. */
function chosen(context: EffectContext, matches: (rule: NamedRule) => boolean): () => readonly string[] {
  let ids: readonly string[] | null = null
  return () => {
    ids ??= context
      .rules()
      .filter(matches)
      .map(rule => rule.id)
    return ids
  }
}

function removing(context: EffectContext, matches: (rule: NamedRule) => boolean): Effect {
  const ids = chosen(context, matches)
  return run => {
    for (const id of ids()) run.removedRules.add(id)
  }
}

function removingTarget(name: string, value: string, context: EffectContext): Effect | string {
  const mark = value.indexOf(';')
  const which = value.slice(0, mark).trim()
  const variables = parseVariables(value.slice(mark + 1))
  if (mark < 0 || typeof variables === 'string')
    return `${JSON.stringify(value.slice(0, 60))} names no rules and variable`
  const removed: { collection: string; only: Selector | null }[] = []
  for (const variable of variables) {
    const from = collectionOf(variable)
    if (typeof from === 'string') return from
    const only = selectorOf(variable, context.compilePattern)
    if (typeof only === 'string') return only
    removed.push({ collection: from.id, only })
  }
  let matches: (rule: NamedRule) => boolean
  if (name.endsWith('byid')) {
    const ids = parseIds([which])
    if (typeof ids === 'string') return ids
    matches = rule => ids.some(id => id.by === 'id' && rule.number >= id.from && rule.number <= id.to)
  } else {
    const matcher = textMatcher(which, context.compilePattern)
    if (typeof matcher === 'string') return matcher
    matches = rule => (name.endsWith('bytag') ? rule.tags : [rule.message]).some(matcher)
  }
  const ids = chosen(context, matches)
  return run => {
    for (const id of ids()) {
      const list = run.removedTargets.get(id) ?? []
      // The same control rule may match many values: its entries count once.
      if (!removed.every(entry => list.includes(entry))) run.removedTargets.set(id, [...list, ...removed])
    }
  }
}

/** Values of all actions of a name. */
export function actionValues(actions: readonly SecActionItem[], name: string): readonly string[] {
  return actions.filter(action => action.name === name).map(action => action.value ?? '')
}
