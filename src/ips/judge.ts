// Judges heads, bodies, messages and ClientHellos by compiled rules: asks those that can hold and turns what fires into hits.
import { AGENT_CLASSES } from '../policy/classes.ts'
import type { RequestFacts } from '../policy/facts.ts'
import type { CompiledRule } from './compiled-rule.ts'
import { toHeadRule, toRule } from './compiled-rule.ts'
import { Engine, newRun } from './engine/engine.ts'
import type { Pass } from './engine/pass.ts'
import { Weighing } from './hits.ts'
import { announcesBody, hasOpaqueBody, UNREADABLE } from './judged-body.ts'
import { KnownHeads, type KnownHead } from './known-heads.ts'
import { Judgement, reportFrom, type Report } from './judgement.ts'
import { modeIn } from './modes.ts'
import { INSPECTED_HELLO, withBody, withMessage } from './parts/inspect.ts'
import type { Inflate } from './parts/inspected.ts'
import { byPhase, pathIndex, type Candidates, type PathIndex } from './path-index.ts'
import type { RuleDocument, RuleProblem } from './rule-document.ts'
import type { HelloScope, RateQuestion, RuleCounter, RuleHit, RuleScope, RuleSet } from './rule-set.ts'
import type { Rule } from './rule.ts'
import { shortlistsOf, type Shortlists } from './shortlists.ts'
import type { SourceBits, Sources } from './sources.ts'

/** How a rule set judges. */
export type JudgeOptions = {
  readonly threshold: number
  readonly builtIn: readonly RuleDocument[]
  readonly prefilter: boolean
  readonly maxWork: number
}

type Judging = Pick<
  RuleSet,
  | 'matchHead'
  | 'wantsBody'
  | 'matchBody'
  | 'messagesWanted'
  | 'matchMessage'
  | 'matchHello'
  | 'ratesOf'
  | 'counters'
>

/** Makes the judging half of a rule set. */
export function makeJudge(
  compiled: readonly CompiledRule[],
  bits: SourceBits,
  options: JudgeOptions,
  problems: RuleProblem[],
): Judging {
  const judge = new Judge(compiled, bits, options, problems)
  return {
    matchHead: (facts, scope) => judge.head(judge.begin(facts, scope), scope),
    wantsBody: (facts, scope) => judge.wantsBody(judge.known(facts, scope), scope),
    matchBody: (facts, scope, body, complete, inflate) =>
      judge.body(judge.known(facts, scope), scope, body, complete, inflate),
    messagesWanted: (facts, scope) => judge.messagesWanted(judge.known(facts, scope), scope),
    ratesOf: (facts, scope, phase) => judge.rates(judge.known(facts, scope), scope, phase),
    matchMessage: (facts, scope, message) => {
      const judgement = judge.known(facts, scope)
      const pass = judge.engine.begin(withMessage(judgement.head, message), newRun(scope))
      return judge.rest(judge.messageRules(judgement, scope), pass, facts, scope)
    },
    matchHello: (hello, scope) =>
      judge.helloRules.length === 0
        ? NO_HITS
        : judge.rest(
            judge.helloRules,
            judge.engine.begin(INSPECTED_HELLO, newRun(scope, hello)),
            null,
            scope,
          ),
    counters: () => judge.counters(),
  }
}

/** A judging half that is made when it is asked first. */
export function judgeOnDemand(make: () => Judging): Judging {
  let made: Judging | undefined
  const judge = (): Judging => (made ??= make())
  return {
    matchHead: (...asked) => judge().matchHead(...asked),
    wantsBody: (...asked) => judge().wantsBody(...asked),
    matchBody: (...asked) => judge().matchBody(...asked),
    messagesWanted: (...asked) => judge().messagesWanted(...asked),
    ratesOf: (...asked) => judge().ratesOf(...asked),
    matchMessage: (...asked) => judge().matchMessage(...asked),
    matchHello: (...asked) => judge().matchHello(...asked),
    counters: () => judge().counters(),
  }
}

const NO_HITS: readonly RuleHit[] = []
const NO_RATES: readonly RateQuestion[] = []

function readsBeyondHead({ condition }: CompiledRule): boolean {
  return condition.phases.has('hello')
}

function isRate(rule: CompiledRule): boolean {
  return rule.rate !== null
}

class Judge {
  readonly engine: Engine
  readonly helloRules: readonly CompiledRule[]
  readonly #bits: SourceBits
  readonly #weighing: Weighing
  readonly #index: PathIndex
  /** Rules that may fire on any path, and shortlists of them for heads and bodies. */
  readonly #anywhere: Candidates
  readonly #shortlists: Shortlists
  readonly #heads = new KnownHeads()
  readonly #hasMessageRules: boolean
  readonly #hasRateRules: boolean
  /** Rules that count and may hold on any path; those tied to paths come from the index. */
  readonly #anywhereRates: readonly CompiledRule[]
  readonly #rules: readonly CompiledRule[]
  /** Numbers of rules, and of what the head decides of them, in the engine. */
  readonly #numbers = new Map<CompiledRule, { readonly rule: number; readonly onHead: number | null }>()
  readonly #numberOf = (rule: CompiledRule): number => this.#numbers.get(rule)?.rule ?? -1
  readonly #isPrefiltered: boolean
  /** Judgements that a body or messages will ask for again. Few: an entry for every request costs the collector too much. */
  readonly #judgements = new WeakMap<RequestFacts, Judgement>()
  /** The judgement of the request that was asked about last: questions about one head follow at once. */
  #last: Judgement | null = null

  constructor(
    compiled: readonly CompiledRule[],
    bits: SourceBits,
    options: JudgeOptions,
    problems: RuleProblem[],
  ) {
    const steps: Rule[] = []
    this.#rules = compiled.filter(rule => rule.isActive)
    for (const rule of this.#rules) {
      const number = steps.push(toRule(rule)) - 1
      const { onHead } = rule
      const isAskedFor = onHead !== null && (rule.phase === 'body' || rule.phase === 'message')
      this.#numbers.set(rule, {
        rule: number,
        onHead: isAskedFor ? steps.push(toHeadRule(rule, onHead)) - 1 : null,
      })
    }
    this.engine = new Engine(steps, options)
    this.helloRules = this.#rules.filter(rule => rule.phase === 'hello')
    this.#hasRateRules = this.#rules.some(isRate)
    this.#hasMessageRules = this.#rules.some(rule => rule.phase === 'message')
    this.#bits = bits
    const others = this.#rules.filter(rule => rule.phase !== 'hello')
    const isTied = (rule: CompiledRule): boolean => options.prefilter && rule.condition.onPath !== null
    this.#index = pathIndex(others.filter(isTied))
    this.#anywhere = byPhase(others.filter(rule => !isTied(rule)))
    this.#anywhereRates = this.#anywhere.head.filter(isRate)
    this.#shortlists = shortlistsOf(this.#anywhere, this.engine, bits, this.#numberOf)
    this.#isPrefiltered = options.prefilter
    this.#weighing = new Weighing(this.engine, options.threshold, options.builtIn, problems)
  }

  begin(facts: RequestFacts, scope: RuleScope): Judgement {
    const judgement = new Judgement(facts, scope, this.engine, this.#index)
    this.#last = judgement
    return judgement
  }

  /** The judgement of a request whose head was judged; else it is judged now, so that the body does not repeat its hits. */
  known(facts: RequestFacts, scope: RuleScope): Judgement {
    if (this.#last?.facts === facts) return this.#last
    const known = this.#judgements.get(facts)
    if (known !== undefined) return known
    const judgement = this.begin(facts, scope)
    this.head(judgement, scope)
    return judgement
  }

  head(judgement: Judgement, scope: RuleScope): readonly RuleHit[] {
    const { facts, pass, run } = judgement
    const present = this.#bits.present(facts.query, facts.headers, false)
    const report = reportFrom(judgement.headScore)
    const known = this.#isPrefiltered ? this.#heads.of(facts) : null
    for (const rule of this.#onHead(judgement, present, known)) {
      if ((rule.condition.needs & present) === 0 && this.#isPrefiltered) continue
      if (rule.rate !== null || !applies(rule, facts, scope)) continue
      const mode = modeIn(rule.document, scope)
      if (mode === 'off') continue
      const number = this.#numberOf(rule)
      if (known?.quiet.has(number) === true) {
        this.engine.countAsked(number)
        continue
      }
      const firing = this.engine.ask(number, pass)
      if (pass.exhausted) break
      if (firing === null && !readsBeyondHead(rule)) known?.quiet.add(number)
      if (firing === null || this.#isDecidedByBody(rule, judgement, scope)) continue
      judgement.firedOnHead.add(number)
      if (this.#weighing.add(rule, firing, mode, pass, facts, scope, report)) break
    }
    this.#reportBudget(judgement, scope, report)
    judgement.headScore = report.score
    judgement.headWork = run.work
    return report.hits
  }

  /** Rules that can fire on a head, in their order; what more than the head decides is not left out of what is remembered. */
  #onHead(judgement: Judgement, present: Sources, known: KnownHead | null): readonly CompiledRule[] {
    if (known !== null && known.inPlay !== null) return known.inPlay
    const picked = this.#inPlay(judgement, 'head', present)
    if (known === null) return picked
    const others = this.#shortlists.head.beyondRequest.flatMap(place => this.#anywhere.head[place] ?? [])
    const all = [...new Set([...picked, ...others])]
    known.inPlay = all.sort((a, b) => this.#numberOf(a) - this.#numberOf(b))
    return known.inPlay
  }

  /** Rules that can fire, in their order. */
  #inPlay(
    { candidates, pass }: Judgement,
    phase: 'head' | 'body',
    present: Sources,
  ): readonly CompiledRule[] {
    const tied = candidates[phase]
    const anywhere = this.#anywhere[phase]
    if (!this.#isPrefiltered) return anywhere
    const places = this.#shortlists[phase].select(pass, present)
    if (places.length === 0) return tied
    const picked = places.flatMap(place => anywhere[place] ?? [])
    return [...tied, ...picked].sort((a, b) => this.#numberOf(a) - this.#numberOf(b))
  }

  /** Whether any rule reads the body of a request. */
  wantsBody(judgement: Judgement, scope: RuleScope): boolean {
    const { facts, candidates } = judgement
    if (!announcesBody(facts)) return false
    const wants = (rule: CompiledRule): boolean =>
      applies(rule, facts, scope) && this.#readsBody(rule, judgement, scope)
    const isWanted = candidates.body.some(wants) || this.#anywhere.body.some(wants)
    if (isWanted) this.#judgements.set(facts, judgement)
    return isWanted
  }

  body(
    judgement: Judgement,
    scope: RuleScope,
    bytes: Uint8Array,
    complete: boolean,
    inflate: Inflate | undefined,
  ): readonly RuleHit[] {
    const { facts, pass, run, firedOnHead } = judgement
    const report = reportFrom(judgement.headScore)
    const wantsForm = (rule: CompiledRule): boolean =>
      rule.onHead?.namesPath === true &&
      applies(rule, facts, scope) &&
      this.#readsBody(rule, judgement, scope)
    const isFormWanted = judgement.candidates.body.some(wantsForm) || this.#anywhere.body.some(wantsForm)
    const options = inflate === undefined ? { isFormWanted } : { isFormWanted, inflate }
    const inspected = withBody(judgement.head, bytes, complete, options)
    pass.advance(inspected)
    pass.exhausted = false
    run.work = judgement.headWork
    const present = this.#bits.present(facts.query, facts.headers, true)
    // A body that came whole and is cut off nevertheless unpacks to more than rules see.
    const unreadable = (inspected.body?.problems ?? []).filter(
      problem => UNREADABLE.has(problem) || (problem === 'cut-off' && complete),
    )
    if (unreadable.length > 0) {
      const value = unreadable.join(', ')
      if (this.#weighing.addBuiltIn('body-unreadable', value, 0, facts, scope, report)) return report.hits
    }
    for (const rule of this.#inPlay(judgement, 'body', present)) {
      if ((rule.condition.needs & present) === 0 && this.#isPrefiltered) continue
      if (rule.rate !== null || !applies(rule, facts, scope)) continue
      if (!this.#readsBody(rule, judgement, scope)) continue
      const mode = modeIn(rule.document, scope)
      if (mode === 'off') continue
      const number = this.#numberOf(rule)
      // What the head alone showed has been reported already.
      if (firedOnHead.has(number)) continue
      const firing = this.engine.ask(number, pass)
      if (pass.exhausted) break
      if (firing !== null && this.#weighing.add(rule, firing, mode, pass, facts, scope, report)) break
    }
    this.#reportBudget(judgement, scope, report)
    return report.hits
  }

  /** Rules that count the request and whose condition holds. */
  rates(judgement: Judgement, scope: RuleScope, phase: 'head' | 'body'): readonly RateQuestion[] {
    if (!this.#hasRateRules) return NO_RATES
    const { facts, pass, run, candidates } = judgement
    const questions: RateQuestion[] = []
    for (const rule of candidates.head.some(isRate)
      ? [...candidates.head, ...this.#anywhereRates]
      : this.#anywhereRates) {
      if (rule.rate === null) continue
      // Without a body, rules that would read it count what the head shows.
      if ((rule.phase === 'body' && announcesBody(facts) ? 'body' : 'head') !== phase) continue
      const mode = modeIn(rule.document, scope)
      if (mode === 'off' || !applies(rule, facts, scope)) continue
      const firing = this.engine.ask(this.#numberOf(rule), pass)
      if (firing === null) continue
      const { user } = rule.rate
      questions.push({
        rule: rule.rate.rule,
        user: user?.collection.read(pass.inspected, run)[0]?.value ?? null,
        hit: this.#weighing.hitOf(rule, firing, mode, pass, facts, scope),
      })
    }
    return questions
  }

  messageRules(judgement: Judgement, scope: RuleScope): readonly CompiledRule[] {
    if (!this.#hasMessageRules || !judgement.facts.webSocket) return []
    const { facts, candidates, pass } = judgement
    return [...candidates.message, ...this.#anywhere.message].filter(
      rule =>
        applies(rule, facts, scope) &&
        modeIn(rule.document, scope) !== 'off' &&
        this.#holdsOnHead(rule, pass) &&
        (rule.onHead?.namesPath === true || !AGENT_CLASSES.includes(scope.class)),
    )
  }

  messagesWanted(judgement: Judgement, scope: RuleScope): number {
    const wanted = Math.max(0, ...this.messageRules(judgement, scope).map(rule => rule.messages))
    if (wanted > 0) this.#judgements.set(judgement.facts, judgement)
    return wanted
  }

  /** Asks rules whose place is known to fit, one after the other. */
  rest(
    rules: readonly CompiledRule[],
    pass: Pass,
    facts: RequestFacts | null,
    scope: RuleScope | HelloScope,
  ): readonly RuleHit[] {
    const report = reportFrom({ total: 0, parts: [], isReached: false })
    for (const rule of rules) {
      const mode = modeIn(rule.document, scope)
      if (mode === 'off') continue
      const firing = this.engine.ask(this.#numberOf(rule), pass)
      if (pass.exhausted) {
        this.#overBudget(facts, scope, report)
        break
      }
      if (firing !== null && this.#weighing.add(rule, firing, mode, pass, facts, scope, report)) break
    }
    return report.hits
  }

  counters(): readonly RuleCounter[] {
    const counted = this.engine.counters()
    return this.#rules.flatMap(rule => counted[this.#numberOf(rule)] ?? [])
  }

  #reportBudget({ facts, pass }: Judgement, scope: RuleScope, report: Report): void {
    if (pass.exhausted) this.#overBudget(facts, scope, report)
  }

  #overBudget(facts: RequestFacts | null, scope: RuleScope | HelloScope, report: Report): void {
    this.#weighing.addBuiltIn('work-budget', 'the rest of the rules was not asked', 0, facts, scope, report)
  }

  /** A rule that a body can prove wrong waits for the body, if it gets one. */
  #isDecidedByBody(rule: CompiledRule, judgement: Judgement, scope: RuleScope): boolean {
    return (
      rule.phase === 'body' &&
      rule.condition.negatesBody &&
      announcesBody(judgement.facts) &&
      this.#readsBody(rule, judgement, scope)
    )
  }

  #readsBody(rule: CompiledRule, judgement: Judgement, scope: RuleScope): boolean {
    if (rule.onHead?.namesPath !== true) {
      // Agents post all day: their bodies are held only where a rule names the very path.
      if (AGENT_CLASSES.includes(scope.class)) return false
      judgement.isOpaque ??= hasOpaqueBody(judgement.facts)
      if (judgement.isOpaque) return false
    }
    return this.#holdsOnHead(rule, judgement.pass)
  }

  #holdsOnHead(rule: CompiledRule, pass: Pass): boolean {
    const number = this.#numbers.get(rule)?.onHead ?? null
    return number === null || this.engine.ask(number, pass) !== null
  }
}

function applies({ methods, classes }: CompiledRule, facts: RequestFacts, scope: RuleScope): boolean {
  return (methods === null || methods.has(facts.method)) && (classes === null || classes.has(scope.class))
}
