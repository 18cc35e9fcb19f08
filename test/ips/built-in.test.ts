// The gate's own rules: requests that cost too much to judge and bodies that cannot be read, by class.
import test from 'ava'
import { compileRules, type RuleSetOptions } from '../../src/ips/compile.ts'
import type { RuleScope } from '../../src/ips/rule-set.ts'
import { CLASSES, type TrafficClass } from '../../src/policy/classes.ts'
import { requestFacts } from '../policy/request.ts'
import { readRules } from './read-rules.ts'

const RULES = readRules(`pack: t
rules:
  - { id: late, title: t, severity: high, when: { all: [{ in: path, equals: /x }, { in: args, matches: 'ev.l' }] } }
`)

function scope(word: TrafficClass): RuleScope {
  return {
    class: word,
    listener: 'https',
    country: 'US',
    site: null,
    sourceText: '198.51.100.1',
    nowMs: 0,
  }
}

/** `id:mode` of the hits on a head and a JSON body. */
function judged(word: TrafficClass, body: string, options: RuleSetOptions = {}): string {
  const { ruleSet } = compileRules(RULES, options)
  const facts = requestFacts('POST', '/x', {
    headers: { 'content-type': 'application/json', 'content-length': String(body.length) },
  })
  const at = scope(word)
  const hits = [...ruleSet.matchHead(facts, at)]
  if (ruleSet.wantsBody(facts, at)) hits.push(...ruleSet.matchBody(facts, at, Buffer.from(body), true))
  return hits.map(hit => `${hit.ruleId}:${hit.mode}`).join(' ')
}

const AGENTS: readonly TrafficClass[] = ['agent', 'update', 'transfer', 'heartbeat', 'relay']

for (const word of CLASSES) {
  const mode = AGENTS.includes(word) ? 'detect' : 'enforce'

  test(`${word}: beyond the work budget a request is ${mode === 'detect' ? 'recorded' : 'refused'}, once`, t => {
    const long = JSON.stringify({ a: 'x'.repeat(5_000) })
    t.is(judged(word, long, { maxWork: 2_000 }), `work-budget:${mode}`)
    t.is(judged(word, long), '')
  })

  test(`${word}: a body too deep to be read is ${mode === 'detect' ? 'recorded' : 'refused'}`, t => {
    const deep = `${'['.repeat(500)}1${']'.repeat(500)}`
    t.is(judged(word, deep), `body-unreadable:${mode}`)
  })
}

test('what is recorded only does not keep rules from finding what they see', t => {
  const deep = `${'['.repeat(500)}"evil"${']'.repeat(500)}`
  t.is(judged('agent', deep), 'body-unreadable:detect late:enforce')
})
