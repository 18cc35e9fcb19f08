// Decisions over hand-made snapshots: order of stages, lines that decide, scopes, countries, expiries and keys.
import test from 'ava'
import { CidrTrie } from '../../src/net/cidr.ts'
import type { TrafficClass } from '../../src/policy/classes.ts'
import type { AllowEntry, BanEntry, ClassPolicy, GeoAnswer, Snapshot } from '../../src/policy/snapshot.ts'
import { at, cidr, classPolicy, noRules, site, snapshot, source, stated } from '../support/snapshot.ts'
import { accept, classes, reasonOf, trie } from './policies.ts'
import { ask, outcome, requestFacts, testDigest } from './request.ts'

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
    steps: [],
    score: 0,
    exception: null,
    at: at(90),
  } as const
  const rules = { ...noRules, size: 1, matchHead: () => [hit] }
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

test('of several allows, the one that names the class opens it, and the one for everything shows at accept', t => {
  const allow = trie({ range: '198.51.100.1' }, { range: '198.51.100.0/24', classes: ['console'] })
  const policy = snapshot({ allow, classes: classes({ console: { access: stated('closed') } }) })
  t.is(outcome(ask(policy, requestFacts('GET', '/automate'), { from: cn })), 'console')
  const reversed = trie(
    { range: '198.51.100.1', classes: ['console'] },
    { range: '198.51.100.0/24', line: 74 },
  )
  t.is(accept(snapshot({ allow: reversed }), cn).standing.allow?.at.line, 74)
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
