// Imported rules as a rule set: their own scoring decides, hits look like those of other rules.
import { AGENT_CLASSES } from '../../policy/classes.ts'
import type { RequestFacts } from '../../policy/facts.ts'
import { BUILT_IN_RULES } from '../built-in.ts'
import { Engine, newRun, type Firing } from '../engine/engine.ts'
import type { Pass } from '../engine/pass.ts'
import type { Inflate } from '../parts/inspected.ts'
import { inspectRequest, withBody } from '../parts/inspect.ts'
import { announcesBody, hasOpaqueBody } from '../judged-body.ts'
import { showValue } from '../redact.ts'
import type { RuleHit, RuleInfo, RuleMode, RuleScope, RuleSet } from '../rule-set.ts'
import type { Rule, Run } from '../rule.ts'
import type { SourceLine } from '../../policy/source-line.ts'
import type { SecCompiled, SecRule, UnaskedRule } from './compile.ts'
import { fieldOfVariable } from './fields.ts'
import { leadingNumber } from './operators.ts'
import { RuleUses, type Place, type RuleUse } from './rule-use.ts'

/** How imported rules are used. */
export type ImportedUse = {
  readonly mode: RuleMode
  /** Numbers of rules that are not asked. */
  readonly without: readonly number[]
  /** What the policy says of single rules, by id; left out: `mode` holds for all. */
  readonly rules?: ReadonlyMap<string, RuleUse>
  readonly prefilter?: boolean
  readonly maxWork?: number
}

const NO_HITS: readonly RuleHit[] = []
const MAX_FIELD = 64
const MAX_FIELDS = 8
const MAX_MATCHES = 100
const NO_FIELDS: readonly string[] = []
const MAX_SHOWN = 120
/** A request that matches everything must not fill the log: what comes after is counted by the score all the same. */
const MAX_HITS = 50

function usualUse(id: string, mode: RuleMode): RuleUse {
  return { id, mode, overrides: [], enforceAfterDays: null, digest: '', except: [] }
}

/** Makes a rule set of compiled rules. */
export function importedRuleSet(compiled: SecCompiled, use: ImportedUse): RuleSet {
  const uses = new Map(compiled.rules.map(({ id }) => [id, use.rules?.get(id) ?? usualUse(id, use.mode)]))
  const judge = new ImportedJudge(compiled, use, uses)
  return {
    size: compiled.rules.length,
    rules: [
      ...compiled.rules
        .filter(rule => rule.isLogged)
        .map(rule =>
          infoOf(rule, uses.get(rule.id) ?? usualUse(rule.id, use.mode), use.without.includes(rule.number)),
        ),
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

/** A request on its way: its pass, where it stands, what is excepted for it, and what rules added so far. */
type Judged = {
  readonly pass: Pass
  readonly place: Place
  readonly excepted: ReadonlyMap<string, SourceLine>
  readonly parts: { readonly ruleId: string; readonly points: number }[]
}

class ImportedJudge {
  readonly engine: Engine
  readonly #uses: RuleUses
  readonly #rules: ReadonlyMap<string, SecRule>
  /** Requests whose head was judged and whose body is still to come. */
  readonly #open = new WeakMap<RequestFacts, Judged>()

  constructor(compiled: SecCompiled, use: ImportedUse, uses: ReadonlyMap<string, RuleUse>) {
    this.engine = new Engine(compiled.steps, {
      ...(use.prefilter === undefined ? {} : { prefilter: use.prefilter }),
      ...(use.maxWork === undefined ? {} : { maxWork: use.maxWork }),
    })
    this.#rules = new Map(compiled.rules.map(rule => [rule.id, rule]))
    const without = compiled.rules.filter(({ number }) => use.without.includes(number)).map(({ id }) => id)
    this.#uses = new RuleUses(compiled.rules, uses, without)
  }

  wantsBody(facts: RequestFacts, scope: RuleScope): boolean {
    // Agents post all day, and imported rules know nothing of what they post.
    if (!announcesBody(facts) || AGENT_CLASSES.includes(scope.class) || hasOpaqueBody(facts)) return false
    return this.#uses.at(scope).mode !== 'off'
  }

  head(facts: RequestFacts, scope: RuleScope): readonly RuleHit[] {
    const judged = this.#begin(facts, scope)
    if (judged === null) return NO_HITS
    const hits: RuleHit[] = []
    if (this.#phase('head', judged, hits)) return hits
    if (this.wantsBody(facts, scope)) this.#open.set(facts, judged)
    else this.#phase('body', judged, hits)
    return hits
  }

  body(
    facts: RequestFacts,
    scope: RuleScope,
    body: Uint8Array,
    complete: boolean,
    inflate: Inflate | undefined,
  ): readonly RuleHit[] {
    let judged = this.#open.get(facts) ?? null
    if (judged === null) {
      judged = this.#begin(facts, scope)
      if (judged === null) return NO_HITS
      this.#phase('head', judged, [])
    }
    this.#open.delete(facts)
    const { pass } = judged
    pass.advance(withBody(pass.inspected, body, complete, inflate === undefined ? {} : { inflate }))
    const hits: RuleHit[] = []
    this.#phase('body', judged, hits)
    return hits
  }

  /** Null: no rule is asked where the request stands. */
  #begin(facts: RequestFacts, scope: RuleScope): Judged | null {
    const place = this.#uses.at(scope)
    if (place.mode === 'off') return null
    const run = newRun(scope)
    const excepted = this.#uses.prepare(run, place, facts, scope)
    return { pass: this.engine.begin(inspectRequest(facts, null, true), run), place, excepted, parts: [] }
  }

  /** Runs a phase; true when it ended with a refusal. */
  #phase(phase: 'head' | 'body', judged: Judged, hits: RuleHit[]): boolean {
    const { pass, place, excepted, parts } = judged
    let total = pointsOf(pass.run)
    const ending = this.engine.run(phase, pass, firing => {
      const { id } = firing.rule
      const rule = this.#rules.get(id)
      if (rule === undefined || !rule.isLogged) return false
      const exception = excepted.get(id) ?? null
      const refuses = exception === null && place.refusing.has(id)
      const before = total
      total = pointsOf(pass.run)
      const points = Math.max(0, total - before)
      if (points > 0) parts.push({ ruleId: id, points })
      if (refuses || rule.action === 'block' || hits.length < MAX_HITS) {
        const hit = hitOf(rule, firing, pass, refuses || place.refusing.has(id))
        hits.push({ ...hit, exception, ...(refuses ? sumOf(hit, parts) : { score: points }) })
      }
      return refuses
    })
    if (ending !== 'over-budget') return ending === 'stopped'
    const budget = BUILT_IN_RULES.find(({ id }) => id === 'work-budget')
    if (budget === undefined) return false
    const { id: ruleId, title, severity, at } = budget
    const { mode } = place
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

// The scores of the OWASP Core Rule Set, by paranoia level; version 3 leaves out `inbound`. Other sets count in other places.
const SCORES = [1, 2, 3, 4].flatMap(level => [`inbound_anomaly_score_pl${level}`, `anomaly_score_pl${level}`])

function pointsOf({ tx }: Run): number {
  let total = 0
  for (const name of SCORES) {
    const value = tx.get(name)
    if (value !== undefined) total += leadingNumber(value)
  }
  return total
}

/** A rule that refuses because of what others added names them. */
function sumOf(
  { field, value }: RuleHit,
  parts: Judged['parts'],
): { readonly score: number; readonly value: string } {
  if (field !== 'request' || parts.length === 0) return { score: 0, value }
  const score = parts.reduce((sum, { points }) => sum + points, 0)
  const words = parts.map(({ ruleId, points }) => `${ruleId} ${points}`).join(', ')
  return { score, value: `${score} points: ${words}`.slice(0, MAX_SHOWN) }
}

/** Where else the rule held: it counts every value that matches, and an exception has to name them all. */
function otherFields({ matchedAll }: Run, field: string): readonly string[] {
  if (matchedAll.length < 2) return NO_FIELDS
  const seen = matchedAll.slice(0, MAX_MATCHES).map(value => fieldOfVariable(value.field).slice(0, MAX_FIELD))
  return [...new Set(seen)].filter(name => name !== field).slice(0, MAX_FIELDS)
}

function hitOf(rule: SecRule, { found }: Firing, pass: Pass, isEnforced: boolean): RuleHit {
  const { id, severity, at } = rule
  const common = {
    ruleId: id,
    severity,
    mode: isEnforced ? 'enforce' : 'detect',
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
  const field = fieldOfVariable(value.field).slice(0, MAX_FIELD)
  const alsoIn = rule.when.kind === 'test' ? otherFields(pass.run, field) : []
  return {
    ...common,
    title,
    field,
    ...(alsoIn.length === 0 ? {} : { alsoIn }),
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

function infoOf(rule: SecRule, use: RuleUse, isLeftOut: boolean): RuleInfo {
  const { overrides, enforceAfterDays, digest, except } = use
  const base = {
    ...infoBase(rule),
    phase: rule.phase,
    action: rule.action === 'block' ? 'block' : 'score',
  } as const
  if (isLeftOut) return { ...base, mode: 'off' }
  const exceptions = except.map(({ reason, owner, at, expiresMs }) => ({ reason, owner, at, expiresMs }))
  return { ...base, mode: use.mode, overrides, enforceAfterDays, digest, exceptions }
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
