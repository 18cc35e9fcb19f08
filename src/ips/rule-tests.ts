// Runs the requests that rules carry as their tests: every `fires` must be recognised by that rule, every `quiet` must not.
import type { HeaderView, RequestFacts } from '../policy/facts.ts'
import { compileRules } from './compile.ts'
import type { RuleDocument, RuleProblem, RuleTestRequest } from './rule-document.ts'
import type { RuleScope, RuleSet } from './rule-set.ts'
import { normaliseTarget } from './target.ts'

/**
 * Runs the tests of every rule. A rule without tests of both kinds is a problem: nobody would know what it does.
 *
 * `fires` is asked of the rule on its own, without its exceptions and whatever its mode is. `quiet` is asked twice: of the rule
 * on its own, and of the whole set, where no enforcing rule may refuse the request.
 */
export function runRuleTests(ruleSet: RuleSet, documents: readonly RuleDocument[]): readonly RuleProblem[] {
  const loaded = new Set(ruleSet.rules.map(({ id }) => id))
  return documents.flatMap(document => (loaded.has(document.id) ? testRule(ruleSet, document) : []))
}

function testRule(ruleSet: RuleSet, document: RuleDocument): RuleProblem[] {
  const { id: ruleId, at, tests } = document
  const problems: RuleProblem[] = []
  if (tests.fires.length === 0)
    problems.push({ ruleId, at, message: 'has no request that it must recognise (tests.fires)' })
  if (tests.quiet.length === 0)
    problems.push({ ruleId, at, message: 'has no request that must pass (tests.quiet)' })
  const bare = compileRules([{ ...document, except: [], mode: 'detect' }]).ruleSet
  const alone = compileRules([{ ...document, mode: 'detect' }]).ruleSet
  for (const test of tests.fires) {
    const hits = hitsOf(bare, document, test)
    const message =
      hits === undefined
        ? `the gate refuses this request before rules are asked: ${test.request}`
        : `does not fire on ${test.request}`
    if (hits?.length !== 1) problems.push({ ruleId, at: test.at, message })
  }
  for (const test of tests.quiet) {
    const own = (hitsOf(alone, document, test) ?? []).filter(hit => hit.exception === null)
    const refusing = (hitsOf(ruleSet, document, test) ?? []).filter(
      hit => hit.mode === 'enforce' && hit.exception === null,
    )
    const [hit] = [...own, ...refusing]
    if (hit !== undefined) {
      const message = `${hit.ruleId} fires on ${test.request} (${hit.field}: ${hit.value})`
      problems.push({ ruleId, at: test.at, message })
    }
  }
  return problems
}

function hitsOf(
  ruleSet: RuleSet,
  document: RuleDocument,
  test: RuleTestRequest,
): ReturnType<RuleSet['matchHead']> | undefined {
  const body = bodyOf(test)
  const facts = factsOf(test, body)
  if (facts === undefined) return undefined
  const scope: RuleScope = {
    class: test.class ?? document.classes?.[0] ?? 'other',
    listener: 'https',
    country: 'US',
    site: null,
    sourceText: '198.51.100.7',
    nowMs: facts.nowMs,
  }
  const hits = [...ruleSet.matchHead(facts, scope)]
  if (body !== undefined && ruleSet.wantsBody(facts, scope)) {
    hits.push(...ruleSet.matchBody(facts, scope, new TextEncoder().encode(body.text), true))
  }
  return hits
}

type TestBody = { readonly text: string; readonly type: string }

function bodyOf(test: RuleTestRequest): TestBody | undefined {
  if (test.form !== undefined) {
    return {
      text: new URLSearchParams({ ...test.form }).toString(),
      type: 'application/x-www-form-urlencoded',
    }
  }
  if (test.json !== undefined) return { text: JSON.stringify(test.json), type: 'application/json' }
  if (test.xml !== undefined) return { text: test.xml, type: 'text/xml' }
  return test.body === undefined ? undefined : { text: test.body, type: 'text/plain' }
}

function factsOf(test: RuleTestRequest, body: TestBody | undefined): RequestFacts | undefined {
  const space = test.request.indexOf(' ')
  const method = test.request.slice(0, space)
  const sent = test.request.slice(space + 1).trim()
  // A fragment never reaches a server.
  const target = sent.split('#', 1)[0] ?? sent
  const normal = normaliseTarget(target)
  if (space < 1 || normal === undefined) return undefined
  const host = test.host ?? 'rmm.example.com'
  const headers = new Map<string, string>([['host', host]])
  if (body !== undefined) {
    headers.set('content-type', body.type)
    headers.set('content-length', String(new TextEncoder().encode(body.text).length))
  }
  for (const [name, value] of Object.entries(test.headers ?? {})) headers.set(name.toLowerCase(), value)
  return {
    method,
    host: host.toLowerCase(),
    target,
    ...normal,
    headers: headerView(headers),
    webSocket: test.webSocket ?? false,
    nowMs: 0,
  }
}

function headerView(headers: ReadonlyMap<string, string>): HeaderView {
  return { get: name => headers.get(name), raw: [...headers].flat() }
}
