// Explanations say what live decisions do, for every class and TLS version, with the line that decides.
import test from 'ava'
import { CidrTrie } from '../../src/net/cidr.ts'
import { CLASSES, type TrafficClass } from '../../src/policy/classes.ts'
import { explain, type ExplainQuestion } from '../../src/policy/explain.ts'
import type { BanEntry, ClassPolicy } from '../../src/policy/snapshot.ts'
import {
  at,
  cidr,
  classPolicy,
  emptyOverlay,
  listener,
  site,
  snapshot,
  source,
  stated,
} from '../support/snapshot.ts'
import { ask, outcome, requestFacts, testDigest } from './request.ts'

function question(parts: Partial<ExplainQuestion> = {}): ExplainQuestion {
  return {
    source: source('198.51.100.1', 'US'),
    listener: listener(),
    nowMs: 0,
    host: null,
    tlsVersions: null,
    request: null,
    isUpstreamUp: () => true,
    sha256Hex: testDigest,
    ...parts,
  }
}

const request = (target: string, method = 'GET'): NonNullable<ExplainQuestion['request']> => ({
  method,
  target,
  webSocket: false,
  headers: new Map(),
})

const policy = snapshot({
  classes: new Map<TrafficClass, ClassPolicy>(
    CLASSES.map(word => [
      word,
      classPolicy(
        word === 'console'
          ? { access: stated('trusted', 11) }
          : word === 'api'
            ? { keys: [{ place: 'header', name: 'x-key', sha256Hex: 'x', at: at(12) }] }
            : word === 'transfer'
              ? { minimumTls: stated('TLSv1.3', 13) }
              : {},
      ),
    ]),
  ),
})

test('every class is answered without a request, with its deciding line', t => {
  const {
    classes,
    accept,
    lowestTls,
    hello,
    request: none,
    host,
  } = explain(policy, emptyOverlay(), question())
  t.true(accept.verdict.allow)
  t.true(accept.steps.length > 3)
  t.is(none, null)
  t.is(host, 'rmm.example.test')
  t.is(lowestTls, 'TLSv1.2')
  t.deepEqual(
    hello.map(({ offered, verdict }) => [offered[0], verdict.allow]),
    [
      ['TLSv1', false],
      ['TLSv1.1', false],
      ['TLSv1.2', true],
      ['TLSv1.3', true],
    ],
  )
  t.deepEqual(
    classes.map(entry => entry.class),
    [...CLASSES],
  )
  const of = (word: TrafficClass): (typeof classes)[number] | undefined =>
    classes.find(entry => entry.class === word)
  t.like(of('agent'), { allowed: true, refusal: null, needsKey: null, line: { line: 10 } })
  t.like(of('console'), { allowed: false, refusal: { reason: 'class-source' }, line: { line: 11 } })
  t.like(of('api'), { allowed: true, needsKey: { line: 12 } })
})

test('offered versions narrow the answer for hello and classes', t => {
  const old = explain(policy, emptyOverlay(), question({ tlsVersions: ['TLSv1', 'TLSv1.1'] }))
  t.is(old.hello.length, 1)
  t.true(old.classes.every(entry => entry.refusal?.reason === 'tls-version-too-low'))
  const middle = explain(policy, emptyOverlay(), question({ tlsVersions: ['TLSv1.2'] }))
  t.is(middle.classes.find(entry => entry.class === 'transfer')?.refusal?.reason, 'tls-version-class')
  t.true(middle.classes.find(entry => entry.class === 'agent')?.allowed)
})

test('a source that is refused at accept gets nothing, and the answer says why and where', t => {
  const ban = new CidrTrie<BanEntry>()
  const range = cidr('198.51.100.0/24')
  ban.insert(range, { range, classes: null, reason: 'scan', owner: 'ops', expiresMs: null, at: at(77) })
  const overlay = { allow: emptyOverlay().allow, ban }
  const banned = explain(policy, overlay, question({ request: request('/agent') }))
  t.is(banned.lowestTls, null)
  t.is(banned.standing.bans.length, 1)
  t.true(banned.classes.every(entry => !entry.allowed && entry.line.line === 77))
  t.like(banned.request?.verdict, { allow: false, refusal: { reason: 'banned' } })
  const abroad = explain(policy, emptyOverlay(), question({ source: source('198.51.100.1', 'CN', 'US') }))
  t.like(abroad.country, {
    first: 'CN',
    second: 'US',
    databaseLoaded: true,
    resolved: { code: 'CN', disagrees: 'US' },
  })
  t.like(abroad.accept.verdict, { refusal: { reason: 'country-refused' } })
})

test('a legacy exception of the site shows in the lowest version', t => {
  const sites = [
    site('old', ['198.51.100.0/24'], {
      tlsException: { minimum: 'TLSv1.1', reason: 'r', owner: 'o', expiresMs: 10, at: at(52) },
    }),
  ]
  t.is(explain(snapshot({ sites }), emptyOverlay(), question()).lowestTls, 'TLSv1.1')
  t.is(explain(snapshot({ sites }), emptyOverlay(), question({ nowMs: 10 })).lowestTls, 'TLSv1.2')
})

test('a concrete request gets the verdict of live traffic, with steps', t => {
  for (const target of ['/agent', '/automate', '/cwa/api/v1', '/automate/..%2flabtech/agent.aspx', '/x']) {
    const explained = explain(policy, emptyOverlay(), question({ request: request(target) })).request
    const live = ask(policy, requestFacts('GET', target))
    t.is(explained && outcome(explained.verdict), outcome(live), target)
    t.true((explained?.steps.length ?? 0) > 0)
  }
  const invalid = explain(policy, emptyOverlay(), question({ request: request('/a%00') }))
  t.like(invalid.request, {
    verdict: { refusal: { reason: 'target-invalid' } },
    steps: [{ outcome: 'refuse' }],
  })
  const unknown = explain(policy, emptyOverlay(), question({ host: 'x.test', request: request('/') }))
  t.like(unknown.request, { verdict: { refusal: { reason: 'name-unknown' } } })
})
