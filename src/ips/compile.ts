// Compiles rule documents into a rule set: which rules to ask for a request, when to hold a body, and which exceptions hold.
import { parseAddress } from '../net/address.ts'
import { cidrContains, parseCidr, type Cidr } from '../net/cidr.ts'
import { AGENT_CLASSES, type TrafficClass } from '../policy/classes.ts'
import type { RequestFacts } from '../policy/facts.ts'
import { matchesPath } from '../policy/path-pattern.ts'
import { compileCondition, Gates, type Condition, type Judgement, type Match } from './condition.ts'
import { contentTypes, readField, RequestView } from './fields.ts'
import { showValue } from './redact.ts'
import type { RuleCondition, RuleDocument, RuleException, RuleProblem } from './rule-document.ts'
import type { RuleHit, RuleInfo, RuleScope, RuleSet } from './rule-set.ts'
import { NEVER, type SourceBits, type Sources } from './sources.ts'

type Exception = {
  readonly document: RuleException
  readonly paths: readonly string[] | null
  readonly fields: ReadonlySet<string> | null
  readonly sources: readonly Cidr[] | null
  readonly sites: ReadonlySet<string> | null
}

type Rule = {
  readonly document: RuleDocument
  readonly condition: Condition
  /** Conditions that must all hold and that the head alone decides: a body is wanted only if they do. */
  readonly headConditions: readonly Condition[]
  readonly classes: ReadonlySet<TrafficClass> | null
  readonly methods: ReadonlySet<string> | null
  readonly exceptions: readonly Exception[]
}

/**
 * Compiles rules. A rule with a problem is left out and reported, so that the caller can refuse the whole policy; rules of
 * mode `off` are checked and listed, never asked.
 */
export function compileRules(documents: readonly RuleDocument[]): {
  ruleSet: RuleSet
  problems: readonly RuleProblem[]
} {
  const problems: RuleProblem[] = []
  const gates = new Gates()
  const seen = new Set<string>()
  const rules: Rule[] = []
  for (const document of documents) {
    const before = problems.length
    if (seen.has(document.id)) {
      problems.push({ ruleId: document.id, message: 'this id is used twice', at: document.at })
    }
    seen.add(document.id)
    const rule = compileRule(document, gates, problems)
    if (rule !== null && problems.length === before) rules.push(rule)
  }
  gates.close()
  return { ruleSet: makeRuleSet(rules, gates.bits), problems }
}

function compileRule(document: RuleDocument, gates: Gates, problems: RuleProblem[]): Rule | null {
  const condition = compileCondition(document.id, document.when, gates, problems)
  const exceptions = document.except.map(exception => compileException(document.id, exception, problems))
  if (condition === null) return null
  const unread: RuleProblem[] = []
  return {
    document,
    condition,
    headConditions: conjuncts(document.when)
      .flatMap(part => compileCondition(document.id, part, gates, unread) ?? [])
      .filter(part => part.headOnly),
    classes: document.classes === null ? null : new Set(document.classes),
    methods: document.methods === null ? null : new Set(document.methods),
    exceptions,
  }
}

function conjuncts(condition: RuleCondition): readonly RuleCondition[] {
  return 'all' in condition ? condition.all.flatMap(conjuncts) : [condition]
}

function compileException(ruleId: string, document: RuleException, problems: RuleProblem[]): Exception {
  const problem = (message: string): void => {
    problems.push({ ruleId, message, at: document.at })
  }
  const { paths, fields, sources, sites } = document
  if (paths === undefined && sources === undefined && sites === undefined) {
    problem('an exception needs paths, sources or sites: switch the rule off instead of excepting everything')
  }
  for (const path of paths ?? []) {
    // Anchored at a literal first segment: "allow if the URI contains /x" is a bypass (trap 15).
    if (!/^\/[^/*]+/.test(path) || /^\/[^/]*\*/.test(path) || /[?%#\\;]/.test(path)) {
      problem(
        `exception path ${path} must start with a literal segment such as /cwa/ and match the decoded path`,
      )
    }
  }
  for (const field of fields ?? []) if (readField(field) === undefined) problem(`there is no field ${field}`)
  const ranges = (sources ?? []).flatMap(text => {
    const range = parseCidr(text)
    if (typeof range !== 'string') return [range]
    problem(`exception source ${text}: ${range}`)
    return []
  })
  return {
    document,
    paths: paths?.map(path => path.toLowerCase()) ?? null,
    fields: fields === undefined ? null : new Set(fields),
    sources: sources === undefined ? null : ranges,
    sites: sites === undefined ? null : new Set(sites),
  }
}

function makeRuleSet(rules: readonly Rule[], bits: SourceBits): RuleSet {
  const active = rules.filter(rule => rule.document.mode !== 'off')
  const candidates = pathIndex(active)
  return {
    size: rules.length,
    rules: rules.map(rule => infoOf(rule.document)),
    matchHead: (facts, scope) => {
      const judgement = judge(facts, null)
      const present = bits.present(facts.query, facts.headers, false)
      const hits: RuleHit[] = []
      for (const { rule, needs } of candidates(facts, judgement).all) {
        if ((needs & present) === 0 || !applies(rule, facts, scope)) continue
        const match = rule.condition.test(judgement)
        if (match === null || isDecidedByBody(rule, facts, scope, judgement)) continue
        if (report(rule, match, judgement, facts, scope, hits)) break
      }
      return hits
    },
    wantsBody: (facts, scope) => {
      if (!announcesBody(facts)) return false
      const judgement = judge(facts, null)
      return candidates(facts, judgement).body.some(
        ({ rule }) => applies(rule, facts, scope) && readsBodyOf(rule, facts, scope, judgement),
      )
    },
    matchBody: (facts, scope, body) => {
      const head = judge(facts, null)
      const whole = judge(facts, body)
      const present = bits.present(facts.query, facts.headers, true)
      const hits: RuleHit[] = []
      for (const { rule, needs } of candidates(facts, head).body) {
        if ((needs & present) === 0 || !applies(rule, facts, scope) || !readsBodyOf(rule, facts, scope, head))
          continue
        const match = rule.condition.test(whole)
        if (match === null) continue
        // What the head alone showed has been reported already.
        if (!rule.condition.negatesBody && rule.condition.test(head) !== null) continue
        if (report(rule, match, whole, facts, scope, hits)) break
      }
      return hits
    },
    messagesWanted: () => 0,
    matchMessage: () => [],
    matchHello: () => [],
  }
}

/** A rule that can still fire for a path, and without which parts of the request it cannot. */
type Candidate = { readonly rule: Rule; readonly needs: Sources }

type Candidates = { readonly all: readonly Candidate[]; readonly body: readonly Candidate[] }

const MAX_PATHS = 1024
const MAX_PATH_LENGTH = 256

/**
 * Finds the rules that a path leaves in play, and remembers them: RMM traffic asks for the same few paths all day.
 * The memory is bounded and dropped as a whole when an attacker fills it.
 */
function pathIndex(rules: readonly Rule[]): (facts: RequestFacts, judgement: Judgement) => Candidates {
  const known = new Map<string, Candidates>()
  return ({ target }, judgement) => {
    const mark = target.indexOf('?')
    const path = mark < 0 ? target : target.slice(0, mark)
    let found = known.get(path)
    if (found === undefined) {
      const all = rules
        .map(rule => ({ rule, needs: rule.condition.needs(judgement) }))
        .filter(({ needs }) => needs !== NEVER)
      found = { all, body: all.filter(({ rule }) => !rule.condition.headOnly) }
      if (known.size >= MAX_PATHS) known.clear()
      // A text of its own: the part of a head would keep the whole head in memory.
      if (path.length <= MAX_PATH_LENGTH) known.set(` ${path}`.slice(1), found)
    }
    return found
  }
}

function judge(facts: RequestFacts, body: Uint8Array | null): Judgement {
  return { view: new RequestView(facts, body), gates: [], ignored: null }
}

function applies(rule: Rule, facts: RequestFacts, scope: RuleScope): boolean {
  return (
    (rule.methods === null || rule.methods.has(facts.method)) &&
    (rule.classes === null || rule.classes.has(scope.class))
  )
}

/** A rule that a body can prove wrong waits for the body, if it gets one. */
function isDecidedByBody(rule: Rule, facts: RequestFacts, scope: RuleScope, judgement: Judgement): boolean {
  return rule.condition.negatesBody && announcesBody(facts) && readsBodyOf(rule, facts, scope, judgement)
}

function announcesBody({ headers }: RequestFacts): boolean {
  const length = headers.get('content-length')
  return headers.get('transfer-encoding') !== undefined || (length !== undefined && length.trim() !== '0')
}

// Bodies without text to attack with; a rule that names the path sees them all the same.
const OPAQUE_TYPE =
  /^(?:application\/(?:octet-stream|zip|x-zip|gzip|x-gzip|x-7z|pdf|x-msdownload|vnd\.ms-cab)|image\/|audio\/|video\/|font\/)[^,;]*(?:;[^,/]*)?$/i

function readsBodyOf(rule: Rule, facts: RequestFacts, scope: RuleScope, judgement: Judgement): boolean {
  for (const condition of rule.headConditions) if (condition.test(judgement) === null) return false
  if (rule.headConditions.some(condition => condition.namesPath)) return true
  // Agents post all day: their bodies are held only where a rule names the very path.
  if (AGENT_CLASSES.includes(scope.class)) return false
  const types = contentTypes(facts)
  return types.length === 0 || !types.every(type => OPAQUE_TYPE.test(type))
}

/** Adds the hit; true when it ends the judgement. */
function report(
  rule: Rule,
  match: Match,
  judgement: Judgement,
  facts: RequestFacts,
  scope: RuleScope,
  hits: RuleHit[],
): boolean {
  const { hit, acts } = weighExceptions(rule, match, judgement, facts, scope)
  hits.push(hit)
  return acts
}

function weighExceptions(
  rule: Rule,
  match: Match,
  judgement: Judgement,
  facts: RequestFacts,
  scope: RuleScope,
): { hit: RuleHit; acts: boolean } {
  const enforced = rule.document.mode === 'enforce'
  const holding = rule.exceptions.filter(exception => holds(exception, facts, scope))
  const [first] = holding
  if (first === undefined) return { hit: makeHit(rule, match, null), acts: enforced }
  const whole = holding.find(exception => exception.fields === null)
  if (whole !== undefined) return { hit: makeHit(rule, match, whole.document), acts: false }
  // Exceptions for fields take these fields out of the question; what is left may still fire.
  const ignored = new Set(holding.flatMap(exception => [...(exception.fields ?? [])]))
  const again = rule.condition.test({ view: judgement.view, gates: judgement.gates, ignored })
  if (again === null) return { hit: makeHit(rule, match, first.document), acts: false }
  return { hit: makeHit(rule, again, null), acts: enforced }
}

function holds(exception: Exception, facts: RequestFacts, scope: RuleScope): boolean {
  const { paths, sources, sites, document } = exception
  if (scope.nowMs >= document.expiresMs) return false
  if (paths !== null && !paths.some(pattern => matchesPath(pattern, facts.pathFolded))) return false
  if (sites !== null && (scope.site === null || !sites.has(scope.site))) return false
  if (sources === null) return true
  const address = parseAddress(scope.sourceText)
  return address !== undefined && sources.some(range => cidrContains(range, address))
}

function makeHit(rule: Rule, match: Match, exception: RuleException | null): RuleHit {
  const { id, title, severity, mode, at } = rule.document
  return {
    ruleId: id,
    title,
    severity,
    mode,
    field: match.field.slice(0, 64),
    value: showValue(match.value, match.at, match.length, match.secret),
    exception: exception?.at ?? null,
    at,
  }
}

function infoOf({ id, title, severity, mode, pack, refs, except, at }: RuleDocument): RuleInfo {
  const exceptions = except.map(({ reason, expiresMs, at: line }) => ({ reason, expiresMs, at: line }))
  return { id, title, severity, mode, pack, refs, exceptions, at }
}
