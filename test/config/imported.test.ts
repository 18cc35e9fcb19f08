// Imported rules in the policy: modes, exceptions and enforceAfter reach them by rule, tag and pack; wrong names are errors.
import { createHash } from 'node:crypto'
import test, { type ExecutionContext } from 'ava'
import { formatProblem } from '../../src/config/problems.ts'
import type { RuleInfo, RuleScope, RuleSet } from '../../src/ips/rule-set.ts'
import { requestFacts } from '../policy/request.ts'
import { GOOD_POLICY, load, NOW_MS, policyDirectory, snapshotOf } from './support.ts'

const CONF = `SecRule ARGS "@rx evil" "id:942100,phase:2,block,log,msg:'evil',tag:'attack-sqli',tag:'OWASP_CRS/ATTACK-SQLI',severity:CRITICAL,setvar:'tx.inbound_anomaly_score_pl1=+5'"
SecRule TX:inbound_anomaly_score_pl1 "@ge %{tx.inbound_anomaly_score_threshold}" "id:949110,phase:2,deny,log,msg:'sum'"
SecRule ARGS "@rx quiet" "id:900,phase:2,pass,nolog"
`
const OWN = `pack: generic
rules:
  - id: own
    title: One
    severity: high
    tags: [sqli]
    when: { in: args, has: own }
    tests: { fires: [GET /?a=own], quiet: [GET /] }
`
const digest = createHash('sha256').update(CONF).digest('hex')
const FILES = {
  'rules/generic.yaml': OWN,
  'rules/imported/crs/rules/a.conf': CONF,
  'rules/imported/crs/manifest.json': JSON.stringify({
    format: 1,
    source: { kind: 'directory', name: 'x', sha256: digest },
    importedAt: '2026-11-21',
    files: [{ path: 'rules/a.conf', bytes: CONF.length, sha256: digest }],
  }),
}
const END = 'reason: r, owner: o, expires: 2027-01-01'

function policy(rules: string, mode = 'enforce'): string {
  return `${GOOD_POLICY}sites: { hq: { addresses: [203.0.113.0/24] } }\nrules: { imported: { crs: { mode: ${mode} } }, ${rules} }\n`
}

function rulesOf(t: ExecutionContext, rules: string, mode?: string): RuleSet {
  return snapshotOf(t, policy(rules, mode), FILES).snapshot.rules
}

/** `id:mode` of every hit. */
function hits(set: RuleSet, target: string, scope: Partial<RuleScope> = {}): string {
  const usual: RuleScope = {
    class: 'console',
    listener: 'https',
    country: 'US',
    site: null,
    sourceText: '198.51.100.1',
    nowMs: NOW_MS,
  }
  return set
    .matchHead(requestFacts('GET', target), { ...usual, ...scope })
    .map(({ ruleId, exception, mode }) => `${ruleId}:${exception === null ? mode : 'excepted'}`)
    .join(' ')
}

function infoOf(set: RuleSet, id: string): RuleInfo | undefined {
  return set.rules.find(rule => rule.id === id)
}

const REFUSED = 'crs-942100:detect crs-949110:enforce'
const WATCHED = 'crs-942100:detect crs-949110:detect'

test('modes reach imported rules by rule, tag and pack, as a map and as a list', t => {
  const fires = (modes: string, scope: Partial<RuleScope> = {}, mode?: string): string =>
    hits(rulesOf(t, `modes: ${modes}`, mode), '/?a=evil', scope)
  t.is(fires('{}'), REFUSED)
  t.is(fires('{ crs: detect }'), WATCHED)
  t.is(fires('{ crs: enforce }', {}, 'detect'), REFUSED)
  t.is(fires('{ crs-942100: off }'), '')
  t.is(fires('{ crs-942100: detect }'), 'crs-942100:detect')
  t.is(fires('[{ tag: attack-sqli, mode: off }]'), '')
  t.is(fires('[{ tag: OWASP_CRS/ATTACK-SQLI, site: hq, mode: off }]', { site: 'hq' }), '')
  t.is(fires('[{ tag: OWASP_CRS/ATTACK-SQLI, site: hq, mode: off }]'), REFUSED)
  const agents = '[{ pack: crs, class: agent, mode: detect }]'
  t.is(fires(agents, { class: 'agent' }), WATCHED)
  t.is(fires(agents), REFUSED)
  t.is(fires('[{ pack: crs, mode: off }, { rule: crs-942100, mode: detect }]'), 'crs-942100:detect')
})

test('an entry for all rules makes imported ones weaker, never stricter: nobody meant those', t => {
  const all = (mode: string, general: string): string =>
    hits(rulesOf(t, `modes: [{ class: console, mode: ${mode} }]`, general), '/?a=evil,own')
  t.is(all('enforce', 'detect'), 'own:enforce')
  t.is(all('off', 'enforce'), '')
  const watched = rulesOf(t, 'modes: [{ class: console, mode: enforce }]', 'detect')
  t.is(hits(watched, '/?a=evil'), WATCHED)
  t.is(hits(rulesOf(t, 'modes: [{ class: console, mode: detect }]'), '/?a=evil'), WATCHED)
})

test('exceptions reach imported rules by rule, tag and pack', t => {
  const fires = (exception: string, target = '/safe?a=evil'): string =>
    hits(rulesOf(t, `exceptions: [{ ${exception}, paths: /safe, ${END} }]`), target)
  t.is(fires('rule: crs-942100'), 'crs-942100:excepted')
  t.is(fires('tag: attack-sqli'), 'crs-942100:excepted')
  t.is(fires('pack: crs'), 'crs-942100:excepted')
  t.is(fires('rule: crs-942100', '/x?a=evil'), REFUSED)
  t.is(fires('rule: crs-942100, fields: args.a'), '')
  t.is(fires('rule: crs-942100, fields: args.b'), REFUSED)
  const set = rulesOf(t, `exceptions: [{ pack: crs, paths: /safe, ${END} }]`)
  t.is(infoOf(set, 'crs-942100')?.exceptions.length, 1)
  t.is(infoOf(set, 'own')?.exceptions.length, 0)
})

test('enforceAfter: imported rules detect until they are promoted, under a digest of the set as it is used', t => {
  const set = rulesOf(t, 'enforceAfter: { crs: 14 }')
  t.is(hits(set, '/?a=evil'), WATCHED)
  const promoted = new Set(['crs-942100', 'crs-949110'])
  t.is(hits(set, '/?a=evil', { promoted }), REFUSED)
  t.regex(infoOf(set, 'crs-942100')?.digest ?? '', /^[0-9a-f]{16}$/)
  t.is(infoOf(set, 'own')?.enforceAfterDays, null)
  const other = snapshotOf(
    t,
    policy('enforceAfter: { crs: 14 }').replace('{ mode: enforce }', '{ mode: enforce, threshold: 9 }'),
    FILES,
  )
  t.not(infoOf(other.snapshot.rules, 'crs-942100')?.digest, infoOf(set, 'crs-942100')?.digest)
})

const MISTAKES: readonly (readonly [string, RegExp])[] = [
  ['modes: { crs-94210: off }', /there is no rule or rule pack "crs-94210".*crs-942100/],
  ['modes: { crs-900: off }', /there is no rule or rule pack "crs-900"/],
  ['modes: [{ tag: atack-sqli, mode: off }]', /there is no rule with the tag "atack-sqli".*attack-sqli/],
  ['modes: [{ tag: "a tag", mode: off }]', /is not a tag/],
  ['enforceAfter: { crz: 3 }', /there is no rule or rule pack "crz".*crs/],
  [`exceptions: [{ rule: crs-942101, paths: /a, ${END} }]`, /there is no rule "crs-942101".*crs-942100/],
  [`exceptions: [{ pack: crz, paths: /a, ${END} }]`, /there is no rule pack "crz".*crs/],
  [`exceptions: [{ rule: crs-942100, ${END} }]`, /at least one of paths/],
  [
    `exceptions: [{ rule: crs-942100, paths: /a, fields: 'ARGS:q', ${END} }]`,
    /there is no field ARGS:q.*args\.q/,
  ],
  [`exceptions: [{ rule: crs-942100, paths: /a, fields: [pth], ${END} }]`, /there is no field pth.*path/],
  [`exceptions: [{ pack: crs, paths: /a, fields: message, ${END} }]`, /do not look at message/],
  [`exceptions: [{ pack: crs, paths: '/*/x', ${END} }]`, /must start with a literal segment/],
]

for (const [text, says] of MISTAKES) {
  test(`mistake: ${text}`, t => {
    const result = load(policyDirectory(t, { 'portcullis.yaml': policy(text), ...FILES }))
    t.false(result.ok)
    const problems = result.ok ? [] : result.problems.map(formatProblem)
    t.regex(problems.join('\n'), says)
    t.is(problems.length, 1, problems.join('\n'))
  })
}
