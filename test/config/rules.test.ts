// Rules in the policy: modes by rule, tag, pack, class, site and listener, exceptions for several rules, threshold, products.
import test, { type ExecutionContext } from 'ava'
import { loadPolicy } from '../../src/config/load.ts'
import { formatProblem } from '../../src/config/problems.ts'
import type { RuleScope, RuleSet } from '../../src/ips/rule-set.ts'
import { requestFacts } from '../policy/request.ts'
import { GOOD_POLICY, load, NOW_MS, policyDirectory, snapshotOf } from './support.ts'

const RULES = `pack: generic
rules:
  - id: direct
    title: One
    severity: high
    tags: [sqli]
    when: { in: args, has: evil }
    tests: { fires: [GET /?a=evil], quiet: [GET /] }
  - id: scored
    title: Two
    severity: medium
    action: score
    tags: [sqli]
    when: { in: args, has: [score] }
    tests: { fires: [GET /?a=score], quiet: [GET /] }
  - id: scored-too
    title: Three
    severity: low
    action: score
    when: { in: args, has: [score] }
    tests: { fires: [GET /?a=score], quiet: ['GET /?a=x'] }
  - id: other-product
    title: Four
    severity: medium
    product: [no-such-product]
    when: { in: path, has: three }
    tests: { fires: [GET /three], quiet: [GET /] }
`
const SITES = 'sites: { hq: { addresses: [203.0.113.0/24] }, branch: { addresses: [192.0.2.0/24] } }\n'

function rulesOf(t: ExecutionContext, more: string): RuleSet {
  return snapshotOf(t, `${GOOD_POLICY}${SITES}${more}`, { 'rules/generic.yaml': RULES }).snapshot.rules
}

const SCOPE: RuleScope = {
  class: 'console',
  listener: 'https',
  country: 'US',
  site: null,
  sourceText: '198.51.100.1',
  nowMs: NOW_MS,
}

/** `id:mode` of every hit. */
function hits(rules: RuleSet, target: string, scope: Partial<RuleScope> = {}): string {
  return rules
    .matchHead(requestFacts('GET', target), { ...SCOPE, ...scope })
    .map(hit => `${hit.ruleId}:${hit.exception === null ? hit.mode : 'excepted'}`)
    .join(' ')
}

test('modes: the most specific entry counts, the last among equals', t => {
  const mode = (list: string, scope: Partial<RuleScope> = {}): string =>
    hits(rulesOf(t, `rules: { modes: [${list}] }\n`), '/?a=evil', scope)
  t.is(mode(''), 'direct:enforce')
  t.is(mode('{ pack: generic, mode: detect }'), 'direct:detect')
  t.is(mode('{ mode: off }'), '')
  t.is(mode('{ tag: sqli, mode: detect }, { pack: generic, mode: off }'), 'direct:detect')
  t.is(mode('{ rule: direct, mode: enforce }, { tag: sqli, mode: off }'), 'direct:enforce')
  t.is(mode('{ tag: sqli, mode: off }, { tag: sqli, mode: detect }'), 'direct:detect')
  const byPlace =
    '{ class: console, mode: off }, { site: hq, mode: detect }, { listener: https, mode: enforce }'
  t.is(mode(byPlace, { site: 'hq' }), 'direct:detect')
  t.is(mode(byPlace, { site: 'branch' }), 'direct:enforce')
  const byTwo = '{ tag: sqli, class: console, mode: detect }, { tag: sqli, mode: off }'
  t.is(mode(byTwo), 'direct:detect')
  t.is(mode(byTwo, { class: 'agent' }), '')
  t.is(mode('{ rule: direct, site: [hq, branch], mode: detect }', { site: 'branch' }), 'direct:detect')
  t.is(mode('{ rule: direct, site: [hq, branch], mode: detect }'), 'direct:enforce')
  t.is(mode('{ rule: direct, mode: off }, { rule: direct, class: console, mode: detect }'), 'direct:detect')
})

test('scores: the threshold refuses with the rules that led to it, and only what is enforced adds points', t => {
  const fires = (text: string, scope: Partial<RuleScope> = {}): string =>
    hits(rulesOf(t, text), '/?a=score', scope)
  t.is(fires(''), 'scored:detect scored-too:detect score-threshold:enforce')
  t.is(fires('rules: { threshold: 6 }\n'), 'scored:detect scored-too:detect')
  t.is(fires('rules: { threshold: 3 }\n'), 'scored:detect score-threshold:enforce')
  t.is(fires('rules: { modes: { scored: detect } }\n'), 'scored:detect scored-too:detect')
  t.is(
    fires('rules: { modes: { score-threshold: detect } }\n'),
    'scored:detect scored-too:detect score-threshold:detect',
  )
  const except =
    'rules: { exceptions: [{ rule: scored, sites: hq, reason: r, owner: o, expires: 2027-01-01 }] }\n'
  t.is(fires(except, { site: 'hq' }), 'scored:excepted scored-too:detect')
  t.is(fires(except), 'scored:detect scored-too:detect score-threshold:enforce')
  const exceptAll = except.replace('rule: scored', 'rule: score-threshold')
  t.is(fires(exceptAll, { site: 'hq' }), 'scored:detect scored-too:detect score-threshold:excepted')
  const [, , last] = rulesOf(t, '').matchHead(requestFacts('GET', '/?a=score'), SCOPE)
  t.is(last?.value, '5 of 5 points: scored 3, scored-too 2')
  t.is(last?.score, 5)
})

test('exceptions by tag and by pack concern every rule with them', t => {
  const fires = (what: string, target: string): string =>
    hits(
      rulesOf(
        t,
        `rules: { exceptions: [{ ${what}, paths: /safe, reason: r, owner: o, expires: 2027-01-01 }] }\n`,
      ),
      target,
    )
  t.is(fires('tag: sqli', '/safe?a=evil,score'), 'direct:excepted scored:excepted scored-too:detect')
  t.is(fires('pack: generic', '/safe?a=score'), 'scored:excepted scored-too:excepted')
  t.is(fires('tag: sqli', '/x?a=evil'), 'direct:enforce')
  t.is(fires('tag: sqli, fields: args.b', '/safe?a=evil'), 'direct:enforce')
  t.is(fires('tag: sqli, fields: args.b', '/safe?b=evil'), 'direct:excepted')
})

test('to look something up, rules are read and judge the same, but their tests decide nothing', t => {
  const untrue = RULES.replace('quiet: [GET /]', "quiet: ['GET /?a=evil']")
  const directory = policyDirectory(t, { 'rules/generic.yaml': untrue })
  t.false(load(directory).ok)
  const looked = loadPolicy({ directory, nowMs: NOW_MS, forReading: true })
  if (!looked.ok) return t.fail(looked.problems.map(formatProblem).join())
  t.is(hits(looked.snapshot.rules, '/?a=evil'), 'direct:enforce')
  t.is(looked.snapshot.rules.counters().find(({ id }) => id === 'direct')?.hits, 1)
  // What is wrong with a rule itself is said all the same.
  const wrong = policyDirectory(t, { 'rules/generic.yaml': RULES.replace('in: args', 'in: argz') })
  t.false(loadPolicy({ directory: wrong, nowMs: NOW_MS, forReading: true }).ok)
})

test('rules for products that are not in use are left out; those of the gate itself are listed', t => {
  const { rules, size } = rulesOf(t, '')
  t.deepEqual(
    rules.map(({ id }) => id),
    ['direct', 'scored', 'scored-too', 'score-threshold', 'work-budget', 'body-unreadable'],
  )
  t.is(size, 3)
})

const MISTAKES: readonly (readonly [string, RegExp])[] = [
  ['modes: [{ tag: sqly, mode: off }]', /12:25: there is no rule with the tag "sqly".*sqli/],
  ['modes: [{ rule: derect, mode: off }]', /there is no rule "derect".*direct/],
  ['modes: [{ pack: generik, mode: off }]', /there is no rule pack "generik"/],
  ['modes: [{ site: moon, mode: off }]', /there is no site "moon"/],
  ['modes: [{ listener: htps, mode: off }]', /there is no listener "htps".*https/],
  ['modes: [{ class: consol, mode: off }]', /"consol"/],
  [
    'exceptions: [{ rule: direct, tag: sqli, paths: /a, reason: r, owner: o, expires: 2027-01-01 }]',
    /exactly one of rule, tag and pack/,
  ],
  [
    'exceptions: [{ paths: /a, reason: r, owner: o, expires: 2027-01-01 }]',
    /exactly one of rule, tag and pack/,
  ],
  [
    'exceptions: [{ tag: sqly, paths: /a, reason: r, owner: o, expires: 2027-01-01 }]',
    /there is no rule with the tag "sqly"/,
  ],
  ['exceptions: [{ tag: sqli, reason: r, owner: o, expires: 2027-01-01 }]', /at least one of paths/],
]

for (const [text, says] of MISTAKES) {
  test(`mistake: ${text}`, t => {
    const result = load(
      policyDirectory(t, {
        'portcullis.yaml': `${GOOD_POLICY}${SITES}rules: { ${text} }\n`,
        'rules/generic.yaml': RULES,
      }),
    )
    t.false(result.ok)
    t.regex(result.ok ? '' : result.problems.map(formatProblem).join('\n'), says)
  })
}
