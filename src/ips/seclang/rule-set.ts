// Imported rules as a rule set: their own scoring decides, hits look like those of other rules.
import { AGENT_CLASSES } from '../../policy/classes.ts'
import type { RequestFacts } from '../../policy/facts.ts'
import { BUILT_IN_RULES } from '../built-in.ts'
import { Engine, newRun, type Firing } from '../engine/engine.ts'
import type { Pass } from '../engine/pass.ts'
import type { Inflate } from '../parts/inspected.ts'
import { inspectRequest, withBody } from '../parts/inspect.ts'
import { announcesBody, hasOpaqueBody } from '../judge.ts'
import { showValue } from '../redact.ts'
import type { RuleHit, RuleInfo, RuleMode, RuleScope, RuleSet } from '../rule-set.ts'
import type { Rule } from '../rule.ts'
import type { SecCompiled, SecRule, UnaskedRule } from './compile.ts'

/** How imported rules are used. */
export type ImportedUse = {
  readonly mode: RuleMode
  /** Numbers of rules that are not asked. */
  readonly without: readonly number[]
  readonly prefilter?: boolean
  readonly maxWork?: number
}

const NO_HITS: readonly RuleHit[] = []
const MAX_FIELD = 64
/** A request that matches everything must not fill the log: what comes after is counted by the score all the same. */
const MAX_HITS = 50

/** Makes a rule set of compiled rules. */
export function importedRuleSet(compiled: SecCompiled, use: ImportedUse): RuleSet {
  const judge = new ImportedJudge(compiled, use)
  return {
    size: compiled.rules.length,
    rules: [
      ...compiled.rules.filter(rule => rule.isLogged).map(rule => infoOf(rule, use)),
      ...compiled.unasked.map(unaskedInfo),
    ],
    matchHead: (facts, scope) => judge.head(facts, scope),
    wantsBody: (facts, scope) => judge.wantsBody(facts, scope),
    matchBody: (facts, scope, body, complete, inflate) => judge.body(facts, scope, body, complete, inflate),
    messagesWanted: () => 0,
    matchMessage: () => NO_HITS,
    matchHello: () => NO_HITS,
    ratesOf: () => [],
    counters: () => judge.engine.counters(),
  }
}

class ImportedJudge {
  readonly engine: Engine
  readonly #use: ImportedUse
  readonly #rules: ReadonlyMap<string, SecRule>
  readonly #without: readonly string[]
  /** Passes of requests whose head was judged and whose body is still to come. */
  readonly #open = new WeakMap<RequestFacts, Pass>()

  constructor(compiled: SecCompiled, use: ImportedUse) {
    this.#use = use
    this.engine = new Engine(compiled.steps, {
      ...(use.prefilter === undefined ? {} : { prefilter: use.prefilter }),
      ...(use.maxWork === undefined ? {} : { maxWork: use.maxWork }),
    })
    this.#rules = new Map(compiled.rules.map(rule => [rule.id, rule]))
    this.#without = compiled.rules.filter(({ number }) => use.without.includes(number)).map(({ id }) => id)
  }

  wantsBody(facts: RequestFacts, scope: RuleScope): boolean {
    if (this.#use.mode === 'off' || !announcesBody(facts)) return false
    // Agents post all day, and imported rules know nothing of what they post.
    return !AGENT_CLASSES.includes(scope.class) && !hasOpaqueBody(facts)
  }

  head(facts: RequestFacts, scope: RuleScope): readonly RuleHit[] {
    if (this.#use.mode === 'off') return NO_HITS
    const pass = this.#begin(facts, scope)
    const hits: RuleHit[] = []
    if (this.#phase('head', pass, hits)) return hits
    if (this.wantsBody(facts, scope)) this.#open.set(facts, pass)
    else this.#phase('body', pass, hits)
    return hits
  }

  body(
    facts: RequestFacts,
    scope: RuleScope,
    body: Uint8Array,
    complete: boolean,
    inflate: Inflate | undefined,
  ): readonly RuleHit[] {
    if (this.#use.mode === 'off') return NO_HITS
    let pass = this.#open.get(facts)
    if (pass === undefined) {
      pass = this.#begin(facts, scope)
      this.#phase('head', pass, [])
    }
    this.#open.delete(facts)
    pass.advance(withBody(pass.inspected, body, complete, inflate === undefined ? {} : { inflate }))
    const hits: RuleHit[] = []
    this.#phase('body', pass, hits)
    return hits
  }

  #begin(facts: RequestFacts, scope: RuleScope): Pass {
    const run = newRun(scope)
    for (const id of this.#without) run.removedRules.add(id)
    return this.engine.begin(inspectRequest(facts, null, true), run)
  }

  /** Runs a phase; true when it ended with a refusal. */
  #phase(phase: 'head' | 'body', pass: Pass, hits: RuleHit[]): boolean {
    const ending = this.engine.run(phase, pass, firing => {
      const rule = this.#rules.get(firing.rule.id)
      if (rule === undefined || !rule.isLogged) return false
      const refuses = rule.action === 'block' && this.#use.mode === 'enforce'
      if (refuses || rule.action === 'block' || hits.length < MAX_HITS)
        hits.push(hitOf(rule, firing, pass, refuses))
      return refuses
    })
    if (ending !== 'over-budget') return ending === 'stopped'
    const budget = BUILT_IN_RULES.find(({ id }) => id === 'work-budget')
    if (budget === undefined) return false
    const { id: ruleId, title, severity, at } = budget
    const mode = this.#use.mode
    const value = 'the rest of the imported rules was not asked'
    hits.push({
      ruleId,
      title,
      severity,
      mode,
      field: 'request',
      value,
      steps: [],
      score: 0,
      exception: null,
      at,
    })
    return mode === 'enforce'
  }
}

function hitOf(rule: SecRule, { found }: Firing, pass: Pass, refuses: boolean): RuleHit {
  const { id, severity, at } = rule
  const common = {
    ruleId: id,
    severity,
    mode: refuses ? 'enforce' : 'detect',
    steps: [],
    score: 0,
    exception: null,
    at,
  } as const
  // What rules that sum up say holds the sum; what others say may hold secrets, so that they get their plain title.
  const title = rule.action === 'block' ? rule.message.expand(pass.run).slice(0, 200) : rule.title
  if (found === null || found.value.field.startsWith('&'))
    return { ...common, title, field: 'request', value: '' }
  const { value, text, place } = found
  return {
    ...common,
    title,
    field: value.field.slice(0, MAX_FIELD),
    value: showValue(text, place?.at ?? 0, place?.length ?? 0, value.secret),
  }
}

function infoBase({
  id,
  title,
  severity,
  tags,
  refs,
  at,
  pack,
}: Pick<Rule, 'id' | 'title' | 'severity' | 'tags' | 'refs' | 'at' | 'pack'>): Omit<
  RuleInfo,
  'mode' | 'phase' | 'action'
> {
  const unused = { overrides: [], rate: null, enforceAfterDays: null, digest: '', exceptions: [] }
  return { id, title, severity, pack, tags, refs, at, ...unused }
}

function infoOf(rule: SecRule, use: ImportedUse): RuleInfo {
  const mode = use.without.includes(rule.number)
    ? 'off'
    : rule.action === 'block'
      ? use.mode
      : use.mode === 'off'
        ? 'off'
        : 'detect'
  return { ...infoBase(rule), mode, phase: rule.phase, action: rule.action === 'block' ? 'block' : 'score' }
}

function unaskedInfo({ id, title, reason, at }: UnaskedRule): RuleInfo {
  const pack = id.slice(0, id.lastIndexOf('-'))
  const base = infoBase({
    id,
    title: `${title} (not asked: ${reason})`,
    severity: 'low',
    tags: [],
    refs: [],
    at,
    pack,
  })
  return { ...base, mode: 'off', phase: 'body', action: 'score' }
}

/** Several rule sets as one: they are asked in order, and a refusal of one spares the others. */
export function joinRuleSets(sets: readonly RuleSet[]): RuleSet {
  const [only] = sets
  if (only !== undefined && sets.length === 1) return only
  const all = (ask: (set: RuleSet) => readonly RuleHit[]): readonly RuleHit[] => {
    const hits: RuleHit[] = []
    for (const set of sets) {
      const more = ask(set)
      hits.push(...more)
      if (more.some(hit => hit.mode === 'enforce' && hit.exception === null)) break
    }
    return hits
  }
  return {
    size: sets.reduce((sum, { size }) => sum + size, 0),
    rules: sets.flatMap(({ rules }) => rules),
    matchHead: (facts, scope) => all(set => set.matchHead(facts, scope)),
    wantsBody: (facts, scope) => sets.some(set => set.wantsBody(facts, scope)),
    matchBody: (facts, scope, body, complete, inflate) =>
      all(set =>
        set.wantsBody(facts, scope) ? set.matchBody(facts, scope, body, complete, inflate) : NO_HITS,
      ),
    messagesWanted: (facts, scope) => Math.max(0, ...sets.map(set => set.messagesWanted(facts, scope))),
    matchMessage: (facts, scope, message) => all(set => set.matchMessage(facts, scope, message)),
    matchHello: (hello, scope) => all(set => set.matchHello(hello, scope)),
    ratesOf: (facts, scope, phase) => sets.flatMap(set => set.ratesOf(facts, scope, phase)),
    counters: () => sets.flatMap(set => set.counters()),
  }
}
