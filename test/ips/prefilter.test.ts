// The rule set asks few rules per request; every rule asked in full must come to the same hits.
import test from 'ava'
import { array, assert, boolean, constantFrom, option, property, tuple, type Arbitrary } from 'fast-check'
import { compileRules } from '../../src/ips/compile.ts'
import type { RuleHit, RuleScope, RuleSet } from '../../src/ips/rule-set.ts'
import { normaliseTarget } from '../../src/ips/target.ts'
import type { RequestFacts } from '../../src/policy/facts.ts'
import { requestFacts } from '../policy/request.ts'
import { readRules, shippedRules } from './read-rules.ts'

const SCOPE: RuleScope = {
  class: 'other',
  listener: 'https',
  country: 'US',
  site: null,
  sourceText: '198.51.100.1',
  nowMs: 0,
}

const ELSEWHERE: RuleScope = { ...SCOPE, class: 'console', listener: 'other', country: 'CN' }

// Rules that the shipped ones have no like of: mixed sources, absence, negation, lengths.
const MORE = readRules(`
pack: more
rules:
  - { id: m1, title: x, severity: low, when: { any: [{ in: path, has: /secret }, { in: cookies.id, has: zz }] } }
  - { id: m2, title: x, severity: low, when: { all: [{ in: args.q, missing: true }, { in: header.x-a, has: b }] } }
  - { id: m3, title: x, severity: low, when: { all: [{ in: [args.q, cookies.id], missing: false }, { not: { in: headers, has: chrome } }] } }
  - { id: m4, title: x, severity: low, when: { in: [path, args, header.referer], longerThan: 30 } }
  - { id: m5, title: x, severity: low, when: { in: [path.raw, query.raw, target.raw], has: '%2E' } }
  - { id: m6, title: x, severity: low, when: { all: [{ in: query, has: 'a b' }, { in: args, has: 'a b' }] } }
  - { id: m7, title: x, severity: low, when: { in: content-type, equals: text/xml } }
  - { id: m8, title: x, severity: low, when: { all: [{ in: source.country, equals: cn }, { in: path, has: /a }] } }
  - { id: m9, title: x, severity: low, when: { in: [listener, header.x-a], has: other } }
  - { id: m10, title: x, severity: low, when: { all: [{ in: host, has: test }, { not: { in: source.country, equals: us } }] } }
`)

const pieces = (...list: string[]): Arbitrary<string> =>
  array(constantFrom(...list), { maxLength: 5 }).map(parts => parts.join(''))

const paths = pieces(
  '/LabTech/Agent.aspx',
  '/secret',
  '/a',
  '/',
  '%2e%2e/',
  '/wp-login.php',
  '/.env',
  '/SetupWizard.aspx/x',
  '/client/index.php',
  '/%24%7bjndi',
  '/x.aspx;a=b',
)
const values = pieces(
  'a',
  'Q',
  '+b',
  '%20b',
  '../',
  '%2E%2e%5c',
  '%252e%252e%252f',
  "'",
  '%27',
  ' or '.replaceAll(' ', '+'),
  '1=1--',
  'union',
  '+select+',
  '<script',
  '%3Cscript%3e',
  '${jndi:ldap://x}',
  '%24%7bjndi:',
  '/etc/passwd',
  '|',
  ';cat+',
  '%c3%a9',
)
const queries = array(tuple(constantFrom('q', 'id', 'Q', 'url', 'redirectpath', 'a%62', ''), values), {
  maxLength: 3,
}).map(pairs => pairs.map(([name, value]) => `${name}=${value}`).join('&'))
const headerValues = pieces(
  'Mozilla/5.0 ',
  'Chrome',
  'SQLmap/1',
  ' () { :;}',
  '${JNDI:',
  '%24%7Bjndi:rmi',
  'b',
  'id=zz;',
  'ab=1; c=2; ',
  'text/xml',
  'https://evil.example',
  "' or 1=1--",
)
const headerLists = array(
  tuple(
    constantFrom(
      'User-Agent',
      'user-agent',
      'Cookie',
      'Referer',
      'X-A',
      'x-a',
      'Origin',
      'Authorization',
      'Content-Type',
      'Accept',
      'X-Other',
    ),
    headerValues,
  ),
  { maxLength: 5 },
)
const bodies = option(
  pieces('q=1', '&', '<!DOCTYPE x', '${jndi:', '../..', 'union select', '{"a":"<script"}'),
)

test('asking only rules that can hold gives the hits of asking every rule in full', t => {
  const documents = [...shippedRules(), ...MORE].map(document => ({ ...document, mode: 'detect' as const }))
  const { ruleSet, problems } = compileRules(documents)
  t.deepEqual(problems, [])
  const { ruleSet: inFull } = compileRules(documents, { prefilter: false })
  let fired = 0
  assert(
    property(
      constantFrom('GET', 'POST'),
      paths,
      queries,
      headerLists,
      bodies,
      boolean(),
      (method, path, query, headers, text, webSocket) => {
        const target = `/${path.slice(1)}${query === '' ? '' : `?${query}`}`
        if (normaliseTarget(target) === undefined) return
        const facts = factsOf(method, target, headers, webSocket, text)
        const body = text === null ? null : new TextEncoder().encode(text)
        // Every head comes from two sources, twice: what is remembered of it must not depend on who sent it.
        const expected = [SCOPE, ELSEWHERE].map(scope => allHits(inFull, facts, body, scope))
        for (let turn = 0; turn < 2; turn++) {
          t.deepEqual(allHits(ruleSet, facts, body, SCOPE), expected[0])
          t.deepEqual(allHits(ruleSet, facts, body, ELSEWHERE), expected[1])
        }
        fired += expected.flat().length
      },
    ),
    { numRuns: 1_500, seed: 7 },
  )
  t.true(fired > 1_000, `${fired} hits`)
})

function allHits(
  ruleSet: RuleSet,
  sent: RequestFacts,
  body: Uint8Array | null,
  scope: RuleScope,
): readonly RuleHit[] {
  // A request of its own: what is known of one request is another matter than what is known of its head.
  const facts = { ...sent }
  const hits = [...ruleSet.matchHead(facts, scope)]
  if (body !== null && ruleSet.wantsBody(facts, scope)) {
    hits.push(...ruleSet.matchBody(facts, scope, body, true))
  }
  return hits
}

function factsOf(
  method: string,
  target: string,
  headers: readonly (readonly [string, string])[],
  webSocket: boolean,
  body: string | null,
): RequestFacts {
  const raw = headers.flat()
  if (body !== null) raw.push('Content-Length', String(body.length))
  const get = (name: string): string | undefined => {
    const at = raw.findIndex((text, index) => index % 2 === 0 && text.toLowerCase() === name)
    return at < 0 ? undefined : raw[at + 1]
  }
  return { ...requestFacts(method, target, { webSocket }), headers: { get, raw } }
}
