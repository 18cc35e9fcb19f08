// Decisions over hand-made snapshots: order of stages, lines that decide, scopes, expiries, and trace equality.
import test from 'ava'
import * as fc from 'fast-check'
import { CidrTrie } from '../../src/net/cidr.ts'
import { CLASSES, type TrafficClass } from '../../src/policy/classes.ts'
import { decideAccept } from '../../src/policy/decide-accept.ts'
import type {
  AllowEntry,
  BanEntry,
  ClassPolicy,
  GeoAnswer,
  Overlay,
  Snapshot,
} from '../../src/policy/snapshot.ts'
import type { AcceptVerdict } from '../../src/policy/standing.ts'
import type { Trace } from '../../src/policy/verdict.ts'
import {
  at,
  cidr,
  classPolicy,
  emptyOverlay,
  name,
  site,
  snapshot,
  source,
  stated,
} from '../support/snapshot.ts'
import { ask, outcome, requestFacts, testDigest } from './request.ts'

type Scoped = { range: string; classes?: TrafficClass[]; expiresMs?: number; line?: number }

function entry({ range, classes, expiresMs, line }: Scoped): AllowEntry & BanEntry {
  return {
    range: cidr(range),
    classes: classes === undefined ? null : new Set(classes),
    reason: 'a test',
    owner: 'somebody',
    expiresMs: expiresMs ?? null,
    at: at(line ?? 70),
  }
}

function trie(...entries: Scoped[]): CidrTrie<AllowEntry & BanEntry> {
  const made = new CidrTrie<AllowEntry & BanEntry>()
  for (const scoped of entries) made.insert(cidr(scoped.range), entry(scoped))
  return made
}

function accept(
  policy: Snapshot,
  from: ReturnType<typeof source>,
  parts: { overlay?: Overlay; nowMs?: number; open?: number; total?: number; trace?: Trace } = {},
): AcceptVerdict {
  const facts = {
    source: from,
    listener: 'https',
    openFromSource: parts.open ?? 0,
    openTotal: parts.total ?? 0,
    nowMs: parts.nowMs ?? 0,
  }
  return decideAccept(policy, parts.overlay ?? emptyOverlay(), facts, parts.trace)
}

const reasonOf = (verdict: AcceptVerdict): string => (verdict.allow ? 'allowed' : verdict.refusal.reason)

function classes(overrides: Partial<Record<TrafficClass, Partial<ClassPolicy>>>): Snapshot['classes'] {
  return new Map(CLASSES.map(word => [word, classPolicy(overrides[word])]))
}

const us = source('198.51.100.1', 'US')
const cn = source('198.51.100.1', 'CN')

test('home country is admitted, another is refused by the line of home', t => {
  t.true(accept(snapshot(), us).allow)
  t.like(accept(snapshot(), cn), {
    allow: false,
    refusal: { reason: 'country-refused', saw: 'CN', line: { line: 2 } },
  })
})

test('trap 25: an explicit allow comes before ban and country, at once and for as long as it lasts', t => {
  const policy = snapshot({ ban: trie({ range: '198.51.100.0/24', line: 71 }) })
  t.like(accept(policy, us), { refusal: { reason: 'banned', line: { line: 71 } } })
  const overlay = { allow: trie({ range: '198.51.100.1', expiresMs: 1000 }), ban: new CidrTrie<BanEntry>() }
  t.is(reasonOf(accept(policy, cn, { overlay, nowMs: 999 })), 'allowed')
  t.is(reasonOf(accept(policy, cn, { overlay, nowMs: 1000 })), 'banned')
  t.is(outcome(ask(policy, requestFacts('GET', '/labtech/agent.aspx'), { overlay, from: cn })), 'agent')
})

test('trap 25: an explicit allow does not come before limits or rules', t => {
  const allow = trie({ range: '198.51.100.0/24' })
  t.is(reasonOf(accept(snapshot({ allow }), us, { open: 5000 })), 'connection-limit-source')
  t.is(reasonOf(accept(snapshot({ allow }), us, { total: 20_000 })), 'connection-limit-total')
  const hit = {
    ruleId: 'r',
    title: 'r',
    severity: 'high',
    mode: 'enforce',
    field: 'path',
    value: 'x',
    exception: null,
    at: at(90),
  } as const
  const rules = { size: 1, rules: [], matchHead: () => [hit], wantsBody: () => false, matchBody: () => [] }
  t.like(ask(snapshot({ allow, rules }), requestFacts('GET', '/agent')), {
    allow: false,
    refusal: { reason: 'rule', stage: 'rules', line: { line: 90 } },
  })
  // Trap 26: the same hit in detect, or under an exception, is recorded and lets pass.
  for (const softer of [
    { ...hit, mode: 'detect' as const },
    { ...hit, exception: at(91) },
  ]) {
    const verdict = ask(
      snapshot({ rules: { ...rules, matchHead: () => [softer] } }),
      requestFacts('GET', '/agent'),
    )
    t.like(verdict, { allow: true, hits: [{ ruleId: 'r' }] })
  }
})

test('a ban of some classes refuses these classes only, at the request', t => {
  const policy = snapshot({ ban: trie({ range: '198.51.100.0/24', classes: ['console', 'api'] }) })
  t.true(accept(policy, us).allow)
  t.is(outcome(ask(policy, requestFacts('GET', '/automate'))), 'banned')
  t.is(outcome(ask(policy, requestFacts('GET', '/agent'))), 'agent')
})

test('a narrow ban of one class hides no wider ban of everything, and none hides the other at the request', t => {
  const ban = trie({ range: '198.51.100.1', classes: ['api'] }, { range: '198.51.100.0/24', line: 72 })
  t.like(accept(snapshot({ ban }), us), { refusal: { reason: 'banned', line: { line: 72 } } })
  const temporary = {
    allow: new CidrTrie<AllowEntry>(),
    ban: trie({ range: '198.51.100.1', classes: ['api'] }),
  }
  const stated = snapshot({ ban: trie({ range: '198.51.100.0/24' }) })
  t.is(reasonOf(accept(stated, us, { overlay: temporary })), 'banned')
})

test('a narrow allow of one class hides no wider allow of everything', t => {
  const allow = trie({ range: '198.51.100.1', classes: ['api'] }, { range: '198.51.100.0/24' })
  const policy = snapshot({ allow, ban: trie({ range: '198.51.0.0/16' }) })
  t.is(reasonOf(accept(policy, cn)), 'allowed')
  t.is(outcome(ask(policy, requestFacts('GET', '/agent'), { from: cn })), 'agent')
})

test('an allow of one class leaks to no other: bans, countries and closed classes hold for the rest', t => {
  const allow = trie({ range: '198.51.100.1', classes: ['enroll'] })
  const base = {
    allow,
    classes: classes({ console: { access: stated('closed', 11) }, enroll: { access: stated('closed', 12) } }),
  }
  const targets: [string, TrafficClass][] = [
    ['/labtech/deployment.aspx', 'enroll'],
    ['/labtech/agent.aspx', 'agent'],
    ['/automate', 'console'],
    ['/cwa/api/v1', 'api'],
    ['/x', 'other'],
  ]
  for (const [policy, from, reason] of [
    [snapshot({ ...base, ban: trie({ range: '198.51.100.0/24' }) }), us, 'banned'],
    [snapshot(base), cn, 'class-country'],
  ] as const) {
    t.true(accept(policy, from).allow)
    for (const [target, word] of targets) {
      const expected =
        word === 'enroll' ? word : word === 'console' && reason !== 'banned' ? 'class-closed' : reason
      t.is(outcome(ask(policy, requestFacts('GET', target), { from })), expected, `${word} ${reason}`)
    }
  }
})

test('an allow of everything opens no class that is closed, for trusted sources, keyed or out of its window', t => {
  const never = [{ fromMinute: 0, toMinute: 0, at: at(13) }]
  const key = { place: 'header', name: 'x-key', sha256Hex: testDigest('secret'), at: at(14) } as const
  const closed: [Partial<ClassPolicy>, string][] = [
    [{ access: stated('closed') }, 'class-closed'],
    [{ access: stated('trusted') }, 'class-source'],
    [{ windows: never }, 'class-window'],
    [{ keys: [key] }, 'class-key'],
  ]
  for (const [console, reason] of closed) {
    const general = snapshot({ allow: trie({ range: '198.51.100.1' }), classes: classes({ console }) })
    t.is(outcome(ask(general, requestFacts('GET', '/automate'), { from: cn })), reason)
    const named = snapshot({
      allow: trie({ range: '198.51.100.1', classes: ['console'] }),
      classes: classes({ console }),
    })
    t.is(outcome(ask(named, requestFacts('GET', '/automate'), { from: cn })), 'console')
  }
})

test('an allow or ban that ends under an open connection ends with its time', t => {
  const overlay = { allow: trie({ range: '198.51.100.1', expiresMs: 500 }), ban: new CidrTrie<BanEntry>() }
  const early = accept(snapshot(), cn, { overlay, nowMs: 0 })
  t.true(early.allow)
  t.is(
    outcome(ask(snapshot(), requestFacts('GET', '/agent', { nowMs: 499 }), { overlay, from: cn })),
    'agent',
  )
  t.is(
    outcome(ask(snapshot(), requestFacts('GET', '/agent', { nowMs: 500 }), { overlay, from: cn })),
    'class-country',
  )
})

test('addresses without a country get the stated answer, at accept and for each class', t => {
  const cases = [
    ['10.1.2.3', 'private', 'network-refused'],
    ['fe80::1', 'private', 'network-refused'],
    ['100.64.0.9', 'cgnat', 'network-refused'],
    ['127.0.0.9', 'loopback', 'network-refused'],
    ['198.51.100.9', 'unknown', 'country-unknown'],
  ] as const
  for (const [address, answer, reason] of cases) {
    for (const value of ['allow', 'refuse'] as GeoAnswer[]) {
      const base = snapshot()
      const policy = snapshot({ geo: { ...base.geo, [answer]: stated(value, 33) } })
      const from = source(address)
      const verdict = accept(policy, from)
      t.is(reasonOf(verdict), value === 'allow' ? 'allowed' : reason, `${address} ${value}`)
      if (!verdict.allow) t.is(verdict.refusal.line.line, 33)
      const request = outcome(ask(policy, requestFacts('GET', '/agent'), { from }))
      t.is(request, value === 'allow' ? 'agent' : 'class-country')
      // A recorded address needs no country.
      const recorded = site('s', [`${address}/${address.includes(':') ? 128 : 32}`])
      t.is(reasonOf(accept(snapshot({ geo: policy.geo, sites: [recorded] }), from)), 'allowed')
    }
  }
  t.is(reasonOf(accept(snapshot(), source('224.0.0.1'))), 'network-refused')
})

test('without any database the answer for that case counts, and an override still gives a country', t => {
  const from = {
    address: us.address,
    geo: { scope: 'public', country: null, second: null, available: false },
  } as const
  t.is(reasonOf(accept(snapshot(), from)), 'geo-unavailable')
  const { geo } = snapshot()
  t.is(reasonOf(accept(snapshot({ geo: { ...geo, unavailable: stated('allow') } }), from)), 'allowed')
  const overrides = new CidrTrie<{ country: string; reason: string; at: ReturnType<typeof at> }>()
  overrides.insert(cidr('198.51.100.0/24'), { country: 'US', reason: 'moved', at: at(8) })
  t.is(reasonOf(accept(snapshot({ geo: { ...geo, overrides } }), from)), 'allowed')
  t.is(reasonOf(accept(snapshot({ geo: { ...geo, overrides } }), cn)), 'allowed')
})

test('a site adds its countries for its own addresses only', t => {
  const branch = site('branch', ['198.51.100.0/28'], { countries: stated(new Set(['CN']), 51) })
  const policy = snapshot({ sites: [branch] })
  t.is(reasonOf(accept(policy, cn)), 'allowed')
  t.is(outcome(ask(policy, requestFacts('GET', '/agent'), { from: cn })), 'agent')
  t.is(reasonOf(accept(policy, source('198.51.100.200', 'CN'))), 'country-refused')
})

test('class settings of a site hold for it alone', t => {
  const own = new Map<TrafficClass, ClassPolicy>([['console', classPolicy({ access: stated('open', 55) })]])
  const policy = snapshot({
    sites: [site('office', ['198.51.100.0/28'], { classes: own })],
    classes: classes({ console: { access: stated('closed', 11) } }),
  })
  t.is(outcome(ask(policy, requestFacts('GET', '/automate'))), 'console')
  const stranger = ask(policy, requestFacts('GET', '/automate'), { from: source('198.51.100.99', 'US') })
  t.like(stranger, { refusal: { reason: 'class-closed', line: { line: 11 } } })
})

test('a class for trusted sources opens to trusted ranges and trusted sites', t => {
  const console = { access: stated('trusted' as const, 11) }
  const trusted = new CidrTrie<{ range: ReturnType<typeof cidr>; at: ReturnType<typeof at> }>()
  trusted.insert(cidr('198.51.100.1'), { range: cidr('198.51.100.1'), at: at(9) })
  t.is(
    outcome(ask(snapshot({ classes: classes({ console }) }), requestFacts('GET', '/automate'))),
    'class-source',
  )
  t.is(
    outcome(ask(snapshot({ classes: classes({ console }), trusted }), requestFacts('GET', '/automate'))),
    'console',
  )
  const sites = [site('hq', ['198.51.100.0/24'], { trusted: true })]
  t.is(
    outcome(ask(snapshot({ classes: classes({ console }), sites }), requestFacts('GET', '/automate'))),
    'console',
  )
})

test('methods and TLS versions of a class hold for allowed sources too', t => {
  const { limits } = classPolicy()
  const console = {
    limits: { ...limits, methods: new Set(['GET', 'POST']) },
    minimumTls: stated('TLSv1.3' as const, 15),
  }
  const policy = snapshot({
    classes: classes({ console }),
    allow: trie({ range: '198.51.100.1', classes: ['console'] }),
  })
  t.is(outcome(ask(policy, requestFacts('DELETE', '/automate'))), 'method-refused')
  t.like(ask(policy, requestFacts('GET', '/automate'), { tlsVersion: 'TLSv1.2' }), {
    refusal: { reason: 'tls-version-class', line: { line: 15 } },
  })
  t.is(outcome(ask(policy, requestFacts('GET', '/agent'), { tlsVersion: 'TLSv1.2' })), 'agent')
})

test('a weekly window counts from Monday 00:00 UTC, its end excluded, over the end of the week as well', t => {
  const minute = (iso: string): number => Date.parse(iso)
  const open = (fromMinute: number, toMinute: number, iso: string): boolean => {
    const policy = snapshot({
      classes: classes({ console: { windows: [{ fromMinute, toMinute, at: at(1) }] } }),
    })
    return ask(policy, requestFacts('GET', '/automate', { nowMs: minute(iso) })).allow
  }
  // 2026-11-16 is a Monday.
  t.true(open(480, 1080, '2026-11-16T08:00:00Z'))
  t.true(open(480, 1080, '2026-11-16T17:59:59Z'))
  t.false(open(480, 1080, '2026-11-16T18:00:00Z'))
  t.false(open(480, 1080, '2026-11-17T09:00:00Z'))
  const sunday23 = 6 * 1440 + 23 * 60
  t.true(open(sunday23, 60, '2026-11-22T23:30:00Z'))
  t.true(open(sunday23, 60, '2026-11-23T00:30:00Z'))
  t.false(open(sunday23, 60, '2026-11-23T01:00:00Z'))
})

test('a key is found in header, query or cookie, exactly and only by its own name', t => {
  const keyed = (place: 'header' | 'query' | 'cookie'): Snapshot =>
    snapshot({
      classes: classes({
        console: { keys: [{ place, name: 'authtoken', sha256Hex: testDigest('s+3/c'), at: at(16) }] },
      }),
    })
  const get = (place: 'header' | 'query' | 'cookie', target: string, headers = {}): string =>
    outcome(ask(keyed(place), requestFacts('GET', target, { headers })))
  t.is(get('header', '/automate', { authtoken: 's+3/c' }), 'console')
  t.is(get('header', '/automate?authtoken=s+3/c'), 'class-key')
  t.is(get('query', '/automate?a=1&authtoken=s+3/c'), 'console')
  t.is(get('query', '/automate?authtoken=s%2B3%2Fc'), 'console')
  t.is(get('query', '/automate?xauthtoken=s+3/c'), 'class-key')
  t.is(get('query', '/automate?authtoken=s+3/d'), 'class-key')
  t.is(get('query', '/automate?authtoken=%zz'), 'class-key')
  t.is(get('cookie', '/automate', { cookie: 'a=b; authtoken=s+3/c' }), 'console')
  t.is(get('cookie', '/automate', { cookie: 'a=authtoken=s+3/c' }), 'class-key')
})

test('trap 16: below the agent prefix the console keeps its own class, with path-info and in any case', t => {
  const policy = snapshot({ classes: classes({ console: { access: stated('closed') } }) })
  for (const target of [
    '/LabTech/ControlCenter.asmx',
    '/LABTECH/controlcenter.asmx/Login',
    '/labtech/%43ontrolCenter.asmx?x',
  ]) {
    t.is(outcome(ask(policy, requestFacts('POST', target))), 'class-closed', target)
  }
  t.is(outcome(ask(policy, requestFacts('GET', '/LabTech/Agent.aspx/x'))), 'agent')
})

const evasions = [
  '/automate/..%2flabtech/agent.aspx',
  '/automate/..%5clabtech/agent.aspx',
  '/automate/..;/labtech/agent.aspx',
  '/automate\\..\\labtech/agent.aspx',
  '/automate/%2e%2e/labtech/agent.aspx',
  '/automate/%252e%252e/labtech/agent.aspx',
  '/automate//../labtech/agent.aspx',
  '/automate/x/../../labtech/agent.aspx',
  '/labtech/controlcenter.asmx/..%2fagent.aspx',
  '/labtech/transfer/..%252fcontrolcenter.asmx',
  '/labtech/transfer/(S(x))/../../automate',
  '/agent/..;/automate',
  '/agent/%2e%2e%3b/automate',
  '//agent/automate',
  '/(S(x))/automate',
  '/auto(S(x))mate',
  '/automate.',
  '/automate%20/x',
  '/automate::$INDEX_ALLOCATION/x',
  '/agent%2f..%2fautomate',
  '/%EF%BC%8Fautomate',
  '/\u00ef\u00bc\u0081utomate/..%2fautomate',
  '/au%E1%B5%97omate',
  '/secret.aspx/..;/labtech/agent.aspx',
]

for (const target of evasions) {
  test(`a refused class cannot be reached as ${JSON.stringify(target)}`, t => {
    const shut = { access: stated('closed' as const) }
    const policy = snapshot({ classes: classes({ console: shut, other: shut }) })
    const verdict = ask(policy, requestFacts('GET', target))
    t.false(verdict.allow, outcome(verdict))
  })
}

test('odd but honest paths keep their class', t => {
  const shut = { access: stated('closed' as const) }
  const policy = snapshot({ classes: classes({ console: shut, other: shut }) })
  for (const target of [
    '//LabTech/Agent.aspx',
    '/LabTech//Agent.aspx',
    '/LabTech/Agent.aspx;jsessionid=1',
    '/LabTech/Transfer/a%20b%20(1).zip',
    '/LabTech/Transfer/M%C3%BCller%20%E4%B8%AD.zip',
    '/LabTech/Transfer/M%FCller.zip',
    '/LabTech/Transfer/a%2Fb.zip',
    '/LabTech/Transfer/50%25.txt',
    '/LabTech/Transfer/x;v=1/y.cab',
    '/LabTech/Transfer/a:b',
  ]) {
    t.true(ask(policy, requestFacts('GET', target)).allow, target)
  }
})

test('on a product that minds case, a path in another case cannot change its class', t => {
  const base = snapshot()
  const profile = { ...name().profile, caseSensitive: true }
  const policy = {
    ...base,
    names: [name({ profile })],
    classes: classes({ console: { access: stated('closed') } }),
  }
  t.is(outcome(ask(policy, requestFacts('GET', '/automate'))), 'class-closed')
  t.is(outcome(ask(policy, requestFacts('GET', '/Automate'))), 'target-invalid')
  t.is(outcome(ask(policy, requestFacts('GET', '/Elsewhere'))), 'other')
})

const anyTarget = fc.constantFrom(
  '/agent',
  '/automate',
  '/cwa/api/x',
  '/labtech/transfer/x',
  '/x',
  ...evasions,
)
const anyAddress = fc.constantFrom('198.51.100.1', '198.51.100.77', '10.0.0.1', '100.64.1.1', '2001:db8::1')
const anyScope = fc.option(fc.subarray([...CLASSES]), { nil: undefined })
const anyEntry = fc.record({
  range: fc.constantFrom('198.51.100.0/24', '198.51.100.1', '0.0.0.0/0', '2001:db8::/32'),
  classes: anyScope,
  expiresMs: fc.option(fc.constantFrom(50, 150), { nil: undefined }),
})
const anyClass: fc.Arbitrary<Partial<ClassPolicy>> = fc.record({
  access: fc.constantFrom('open', 'trusted', 'closed').map(value => stated(value as 'open')),
  countries: fc
    .constantFrom<'any' | Set<string>>('any', new Set(['US']), new Set(['DE']))
    .map(value => stated(value)),
  minimumTls: fc.constantFrom(null, stated('TLSv1.3' as const)),
  keys: fc.constantFrom([], [{ place: 'query' as const, name: 'k', sha256Hex: 'x', at: at(1) }]),
})

test('a verdict is the same with and without a trace, and a refusal is its last step', t => {
  fc.assert(
    fc.property(
      fc.record({
        allow: fc.array(anyEntry, { maxLength: 3 }),
        ban: fc.array(anyEntry, { maxLength: 3 }),
        temporaryAllow: fc.array(anyEntry, { maxLength: 2 }),
        temporaryBan: fc.array(anyEntry, { maxLength: 2 }),
        console: anyClass,
        agent: anyClass,
        inSite: fc.boolean(),
        country: fc.constantFrom(null, 'US', 'DE', 'CN'),
        address: anyAddress,
        target: anyTarget,
        tlsVersion: fc.constantFrom('TLSv1', 'TLSv1.2', 'TLSv1.3'),
        nowMs: fc.constantFrom(0, 100, 200),
      }),
      drawn => {
        const policy = snapshot({
          allow: trie(...drawn.allow.map(scoped)),
          ban: trie(...drawn.ban.map(scoped)),
          classes: classes({ console: drawn.console, agent: drawn.agent }),
          sites: drawn.inSite ? [site('s', ['198.51.100.0/24'])] : [],
        })
        const overlay = {
          allow: trie(...drawn.temporaryAllow.map(scoped)),
          ban: trie(...drawn.temporaryBan.map(scoped)),
        }
        const from = source(drawn.address, drawn.country)
        const trace: Trace = { steps: [] }
        const plain = accept(policy, from, { overlay, nowMs: drawn.nowMs })
        const traced = accept(policy, from, { overlay, nowMs: drawn.nowMs, trace })
        t.deepEqual(summary(traced), summary(plain))
        if (!traced.allow) t.like(trace.steps.at(-1), { outcome: 'refuse', line: traced.refusal.line })
        const facts = requestFacts('GET', drawn.target, { nowMs: drawn.nowMs })
        const asked = { overlay, from, tlsVersion: drawn.tlsVersion as 'TLSv1' }
        const requestTrace: Trace = { steps: [] }
        const first = ask(policy, facts, asked)
        const second = ask(policy, facts, { ...asked, trace: requestTrace })
        t.deepEqual(second, first)
        t.true(requestTrace.steps.length > 0)
        if (!second.allow) t.like(requestTrace.steps.at(-1), { outcome: 'refuse', line: second.refusal.line })
        t.is(requestTrace.steps.filter(step => step.outcome === 'refuse').length, second.allow ? 0 : 1)
      },
    ),
    { numRuns: 600 },
  )
})

function scoped(drawn: {
  range: string
  classes: TrafficClass[] | undefined
  expiresMs: number | undefined
}): Scoped {
  return {
    range: drawn.range,
    ...(drawn.classes === undefined ? {} : { classes: drawn.classes }),
    ...(drawn.expiresMs === undefined ? {} : { expiresMs: drawn.expiresMs }),
  }
}

function summary(verdict: AcceptVerdict): unknown {
  return verdict.allow ? 'allowed' : verdict.refusal
}
