// Runs what rules carry as their tests: every `fires` must be recognised by that rule, every `quiet` must not.
import { parseAddress } from '../net/address.ts'
import type { RequestFacts } from '../policy/facts.ts'
import { compileRules } from './compile.ts'
import { Rates } from './rate/rates.ts'
import { sourceKey } from './rate/source-key.ts'
import type { RuleDocument, RuleProblem, RuleTestRequest } from './rule-document.ts'
import type { RuleHit, RuleScope, RuleSet } from './rule-set.ts'
import { messagesOf, requestOf, helloOf } from './test-request.ts'

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

// Asked once or twice, a rule is not worth a scanner.
const ONE_RULE = { prefilter: false }

function testRule(ruleSet: RuleSet, document: RuleDocument): RuleProblem[] {
  const { id: ruleId, at, tests } = document
  const problems: RuleProblem[] = []
  if (tests.fires.length === 0)
    problems.push({ ruleId, at, message: 'has no request that it must recognise (tests.fires)' })
  if (tests.quiet.length === 0)
    problems.push({ ruleId, at, message: 'has no request that must pass (tests.quiet)' })
  const single = { ...document, mode: 'detect', overrides: [] } as const
  const alone = compileRules([single], ONE_RULE).ruleSet
  const bare =
    document.except.length === 0 ? alone : compileRules([{ ...single, except: [] }], ONE_RULE).ruleSet
  for (const test of tests.fires) {
    const hits = hitsOf(bare, document, test)
    const message =
      hits === undefined
        ? `the gate refuses this request before rules are asked: ${nameOf(test)}`
        : `does not fire on ${nameOf(test)}`
    if (hits?.some(hit => hit.ruleId === ruleId) !== true) problems.push({ ruleId, at: test.at, message })
  }
  for (const test of tests.quiet) {
    const own = (hitsOf(alone, document, test) ?? []).filter(
      hit => hit.ruleId === ruleId && hit.exception === null,
    )
    const refusing = (hitsOf(ruleSet, document, test) ?? []).filter(
      hit => hit.mode === 'enforce' && hit.exception === null,
    )
    const [hit] = [...own, ...refusing]
    if (hit !== undefined) {
      const message = `${hit.ruleId} fires on ${nameOf(test)} (${hit.field}: ${hit.value})`
      problems.push({ ruleId, at: test.at, message })
    }
  }
  return problems
}

function nameOf(test: RuleTestRequest): string {
  return test.request ?? 'a ClientHello'
}

/** All hits of a test's ClientHello, head, body and messages; undefined: it never comes so far. */
function hitsOf(
  ruleSet: RuleSet,
  document: RuleDocument,
  test: RuleTestRequest,
): readonly RuleHit[] | undefined {
  const scope: RuleScope = {
    class: test.class ?? document.classes?.[0] ?? 'other',
    listener: test.listener ?? 'https',
    country: test.country ?? 'US',
    site: null,
    sourceText: test.from ?? '198.51.100.7',
    nowMs: 0,
  }
  const hits: RuleHit[] = []
  if (test.hello !== undefined || test.request === null) {
    hits.push(...ruleSet.matchHello(helloOf(test.hello ?? {}), scope))
  }
  if (test.request === null) return hits
  const request = requestOf(test, test.request)
  if (request === undefined) return undefined
  const { facts, body } = request
  hits.push(...ruleSet.matchHead(facts, scope))
  if (body !== null && ruleSet.wantsBody(facts, scope)) {
    hits.push(...ruleSet.matchBody(facts, scope, body, true))
  }
  const own = document.rate === null ? [] : countedHits(ruleSet, test, facts, scope)
  hits.push(...own)
  const wanted = facts.webSocket ? ruleSet.messagesWanted(facts, scope) : 0
  for (const message of messagesOf(test).slice(0, wanted)) {
    hits.push(...ruleSet.matchMessage(facts, scope, message))
  }
  return hits
}

/** What a rule that counts makes of the request coming as often as the test says. */
function countedHits(
  ruleSet: RuleSet,
  test: RuleTestRequest,
  facts: RequestFacts,
  scope: RuleScope,
): readonly RuleHit[] {
  const questions = [...ruleSet.ratesOf(facts, scope, 'head'), ...ruleSet.ratesOf(facts, scope, 'body')]
  const address = parseAddress(scope.sourceText)
  if (address === undefined) return []
  const { times = 1, withinMs = 0, status = 401 } = test
  const rates = new Rates()
  return questions.flatMap(({ rule, user, hit }) => {
    const who = { source: sourceKey(address), site: scope.site, user, class: scope.class }
    for (let count = 0; count < times; count++) {
      const nowMs = (count * withinMs) / times
      const answer = rates.ask(rule, who, nowMs)
      if (answer.over) return [hit]
      if (answer.ticket !== null)
        rates.outcome(answer.ticket, FAILURES.has(status) ? 'failure' : 'success', nowMs)
    }
    return []
  })
}

const FAILURES: ReadonlySet<number> = new Set([401, 403, 429])
