// Compiles files of the ModSecurity rule language into rules of the internal form.
import type { SourceLine } from '../../policy/source-line.ts'
import type { Effect, Expression, Marker, Operator, Rule, Selector, Test, Transform } from '../rule.ts'
import { transformNamed } from '../transform/table.ts'
import { chainsOf, DISRUPTIVE, hasAction, lastValue, type SecChain, type SecLink } from './chains.ts'
import type { SecActionItem, SecProblem } from './document.ts'
import {
  actionValues,
  captureEffect,
  control,
  setVariable,
  type EffectContext,
  type NamedRule,
} from './effects.ts'
import { compileMacro, type Macro, type MacroReader } from './macro.ts'
import { operatorOf, type OperatorContext, type OperatorServices } from './operators.ts'
import { matchingFiles, parseSecLang, type SecFiles } from './parse.ts'
import { KEPT_COLLECTIONS, plainCollection, stateKey, targetsOf } from './variables.ts'

/** An imported rule. */
export type SecRule = Rule & {
  /** Number of the rule in its files, for example 942100. */
  readonly number: number
  /** What it says of a request; `%{...}` stands for values of the run. */
  readonly message: Macro
  readonly logData: Macro | null
  /** Whether a match is to be recorded. */
  readonly isLogged: boolean
}

/** A rule that is listed and never asked. */
export type UnaskedRule = {
  readonly id: string
  readonly title: string
  readonly reason: string
  readonly at: SourceLine
}

/** What came of the files. */
export type SecCompiled = {
  readonly steps: readonly (SecRule | Marker)[]
  readonly rules: readonly SecRule[]
  readonly unasked: readonly UnaskedRule[]
  readonly problems: readonly SecProblem[]
}

/** How to compile. */
export type SecOptions = OperatorServices & {
  /** Name of the rules: ids begin with it (`crs-942100`), and it is their pack. */
  readonly name: string
}

/**
 * Compiles files. Rules that cannot be run as they are meant are left out as a whole and said to be: half a chain would match
 * what it should not.
 */
export function compileSecLang(
  files: SecFiles,
  entries: readonly string[],
  options: SecOptions,
): SecCompiled {
  const document = parseSecLang(files, entries)
  const problems: SecProblem[] = [...document.problems]
  const steps: (SecRule | Marker)[] = []
  const unasked: UnaskedRule[] = []
  const named: NamedRule[] = []
  const compiler = new Compiler(files, options, named, problems)
  const seen = new Map<number, SourceLine>()
  for (const entry of chainsOf(document, problems)) {
    if ('marker' in entry) {
      steps.push(entry)
      continue
    }
    const at = entry.links[0]?.at ?? { file: '', line: 0, column: 0 }
    if (entry.number === null) {
      problems.push({
        level: 'note',
        message: 'the rule has no id, so that nothing can name it: it is left out',
        at,
      })
      continue
    }
    const before = seen.get(entry.number)
    if (before !== undefined) {
      const place = `${before.file}:${before.line}`
      problems.push({
        level: 'error',
        message: `id ${entry.number} is used already at ${place}: this rule is left out`,
        at,
      })
      continue
    }
    seen.set(entry.number, at)
    const result = compiler.rule(entry, entry.number)
    if ('reason' in result) unasked.push(result)
    else {
      steps.push(result)
      named.push({ number: result.number, id: result.id, tags: result.tags, message: result.title })
    }
  }
  return { steps, rules: steps.filter(step => 'when' in step), unasked, problems }
}

const SEVERITIES: Readonly<Record<string, Rule['severity']>> = {
  emergency: 'critical',
  alert: 'critical',
  critical: 'critical',
  error: 'high',
  warning: 'medium',
  notice: 'low',
  info: 'low',
  debug: 'low',
}
const SEVERITY_NUMBERS = ['emergency', 'alert', 'critical', 'error', 'warning', 'notice', 'info', 'debug']

// Actions that only say how ModSecurity writes, keeps or answers, and those that are read elsewhere in this file.
const KNOWN_ACTIONS = new Set([
  ...DISRUPTIVE,
  ...'id phase msg logdata tag rev ver severity maturity accuracy status log nolog auditlog noauditlog'.split(
    ' ',
  ),
  ...'sanitisearg sanitisematched sanitiserequestheader sanitiseresponseheader sanitisematchedbytes'.split(
    ' ',
  ),
  ...'capture chain multimatch t setvar ctl skipafter initcol setsid setuid setrsc expirevar deprecatevar'.split(
    ' ',
  ),
  ...'setenv xmlns append prepend pause'.split(' '),
])

class Compiler {
  readonly #files: SecFiles
  readonly #options: SecOptions
  readonly #problems: SecProblem[]
  readonly #effects: EffectContext
  readonly #selectors = new Map<string, Selector | null | string>()

  constructor(files: SecFiles, options: SecOptions, named: readonly NamedRule[], problems: SecProblem[]) {
    this.#files = files
    this.#options = options
    this.#problems = problems
    this.#effects = {
      macro: text => compileMacro(text, readMacro),
      compilePattern: options.compilePattern,
      rules: () => named,
    }
  }

  rule(chain: SecChain, number: number): SecRule | UnaskedRule {
    const first = chain.links[0] as SecLink
    const { actions, at } = first
    const id = `${this.#options.name}-${number}`
    const message = lastValue(actions, 'msg') ?? ''
    const title = message.replaceAll(/%\{[^}]*\}/g, '...').slice(0, 120) || `rule ${number}`
    const leftOut = (reason: string): UnaskedRule => ({ id, title, reason, at })
    if (chain.phase > 2) {
      return leftOut(chain.phase === 5 ? 'it only sums up for the log' : 'it looks at responses')
    }
    const parts: Expression[] = []
    for (const link of chain.links) {
      const part = this.#link(link, chain, id)
      if (typeof part === 'string') {
        this.#problems.push({
          level: 'note',
          message: `rule ${number}: ${part}: the rule is left out`,
          at: link.at,
        })
        return leftOut(part)
      }
      parts.push(part)
    }
    const disruption = disruptionOf(actions, chain.defaults)
    const isLogged = !actions.some(({ name }) => name === 'nolog')
    const written = (lastValue(actions, 'severity') ?? '').toLowerCase()
    const severity = SEVERITIES[SEVERITY_NUMBERS[Number(written || 'x')] ?? written] ?? 'medium'
    const logData = lastValue(actions, 'logdata')
    const allowsPhase = disruption === 'allow' && lastValue(actions, 'allow') === 'phase'
    if (disruption === 'allow' && !allowsPhase) parts.push({ kind: 'always', effects: [this.#stop()] })
    return {
      id,
      number,
      title,
      message: this.#macro(message, number, chain),
      logData: logData === null ? null : this.#macro(logData, number, chain),
      isLogged,
      severity,
      pack: this.#options.name,
      tags: actionValues(actions, 'tag'),
      refs: referencesOf(actions),
      phase: chain.phase === 1 ? 'head' : 'body',
      when: parts.length === 1 ? (parts[0] as Expression) : { kind: 'all', parts },
      action: disruption === 'deny' ? 'block' : isLogged ? 'score' : 'control',
      skipTo: lastValue(actions, 'skipafter') ?? (disruption === 'allow' ? END : null),
      at,
    }
  }

  #macro(text: string, number: number, chain: SecChain): Macro {
    const own: Readonly<Record<string, string>> = {
      id: String(number),
      msg: lastValue(chain.links[0]?.actions ?? [], 'msg') ?? '',
      severity: lastValue(chain.links[0]?.actions ?? [], 'severity') ?? '',
    }
    return compileMacro(text, (name, member, run) =>
      name === 'RULE' ? own[(member ?? '').toLowerCase()] : readMacro(name, member, run),
    )
  }

  #stop(): Effect {
    const { rules } = this.#effects
    return run => {
      for (const { id } of rules()) run.removedRules.add(id)
    }
  }

  #link(link: SecLink, chain: SecChain, id: string): Expression | string {
    const effects = this.#linkEffects(link, id)
    if (typeof effects === 'string') return effects
    if (link.operator === null) return { kind: 'always', effects }
    const operator = this.#operator(link)
    if (typeof operator === 'string') return operator
    const { targets, problems } = targetsOf(link.variables, this.#options.compilePattern, this.#selectors)
    if (targets.length === 0) return problems[0] ?? 'it looks at nothing'
    for (const problem of problems) {
      this.#problems.push({
        level: 'note',
        message: `${problem}: the rule looks at its other variables`,
        at: link.at,
      })
    }
    const transforms = this.#linkTransforms(link, chain)
    if (typeof transforms === 'string') return transforms
    const test: Test = {
      targets,
      transforms,
      operator,
      negated: link.operator.isNegated,
      multiMatch: hasAction(link.actions, 'multimatch'),
      effects,
      at: link.at,
    }
    return { kind: 'test', test }
  }

  #operator(link: SecLink): Operator | string {
    const context: OperatorContext = {
      ...this.#options,
      macro: this.#effects.macro,
      dataFile: name => {
        const [found] = matchingFiles(this.#files, name, link.at.file)
        return found === undefined ? undefined : this.#files.get(found)
      },
    }
    return link.operator === null ? 'it has no operator' : operatorOf(link.operator, context)
  }

  #linkTransforms(link: SecLink, chain: SecChain): readonly Transform[] | string {
    let out: Transform[] = []
    for (const name of [...actionValues(chain.defaults, 't'), ...actionValues(link.actions, 't')]) {
      if (name.toLowerCase() === 'none') {
        out = []
        continue
      }
      const transform = transformNamed(name)
      if (transform === undefined) return `there is no transform ${name.slice(0, 40)}`
      out.push(transform)
    }
    return out
  }

  #linkEffects(link: SecLink, id: string): readonly Effect[] | string {
    const out: Effect[] = []
    if (hasAction(link.actions, 'capture')) out.push(captureEffect)
    for (const { name, value } of link.actions) {
      if (name === 'setvar' || name === 'ctl') {
        const effect =
          name === 'setvar' ? setVariable(value ?? '', this.#effects) : control(value ?? '', this.#effects)
        if (typeof effect === 'string') return effect
        if (effect !== null)
          out.push(name === 'setvar' && addsUp(value ?? '') ? unlessSilent(id, effect) : effect)
      } else if (name === 'skip' || name === 'exec' || name === 'proxy' || name === 'redirect') {
        return `the action ${name} is not offered`
      } else if (!KNOWN_ACTIONS.has(name)) {
        this.#problems.push({
          level: 'note',
          message: `there is no action ${name.slice(0, 40)}: it has no effect`,
          at: link.at,
        })
      }
    }
    return out
  }
}

/** Whether a `setvar` action adds to a score rather than noting something. */
function addsUp(value: string): boolean {
  return /=\s*\+/.test(value)
}

/** What a rule adds counts only where the policy lets it. */
function unlessSilent(id: string, effect: Effect): Effect {
  return (run, matched, place) => {
    if (!run.silentRules.has(id)) effect(run, matched, place)
  }
}

/** A marker that stands nowhere: a jump to it ends the phase. */
const END = '\0end'

function disruptionOf(
  actions: readonly SecActionItem[],
  defaults: readonly SecActionItem[],
): 'deny' | 'allow' | 'pass' {
  const last = actions.findLast(({ name }) => DISRUPTIVE.has(name))?.name ?? 'block'
  const name =
    last === 'block' ? (defaults.findLast(item => DISRUPTIVE.has(item.name))?.name ?? 'pass') : last
  return name === 'deny' || name === 'drop' ? 'deny' : name === 'allow' ? 'allow' : 'pass'
}

function referencesOf(actions: readonly SecActionItem[]): readonly string[] {
  return actionValues(actions, 'tag').flatMap(tag => {
    const capec = /^capec\/(?:\d+\/)*(\d+)$/.exec(tag)?.[1]
    return capec === undefined ? [] : [`CAPEC-${capec}`]
  })
}

const readMacro: MacroReader = (name, member, run) => {
  if ((name === 'TX' || KEPT_COLLECTIONS.has(name)) && member !== null)
    return run.tx.get(stateKey(name, member))
  const { inspected } = run
  if (inspected === null) return undefined
  const collection = plainCollection(name)
  if (collection === undefined) return undefined
  const values = collection.read(inspected, run)
  if (member === null) return values[0]?.value
  const folded = member.toLowerCase()
  return values.find(value => value.name.toLowerCase() === folded)?.value
}
