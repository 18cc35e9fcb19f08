// Trials: what is let pass and what never is, where and until when; and that a would-be refusal is exactly what enforcing says.
import test from 'ava'
import * as fc from 'fast-check'
import { CidrTrie } from '../../src/net/cidr.ts'
import { TLS_VERSIONS, type TlsVersion } from '../../src/net/tls-version.ts'
import { decideHello } from '../../src/policy/decide-hello.ts'
import { decideHeartbeat } from '../../src/policy/decide-heartbeat.ts'
import { decideRequest } from '../../src/policy/decide-request.ts'
import { decideStreamAccept, decideStreamService, NOTHING_OPEN } from '../../src/policy/decide-stream.ts'
import { datagramId } from '../../src/policy/invitations.ts'
import { explain } from '../../src/policy/explain.ts'
import type { SourceFacts } from '../../src/policy/facts.ts'
import { REASON_NAMES, type Reason } from '../../src/policy/reasons.ts'
import type { BanEntry, Snapshot } from '../../src/policy/snapshot.ts'
import { formatSourceLine } from '../../src/policy/source-line.ts'
import type { StreamListener, StreamService } from '../../src/policy/streams.ts'
import { isTried, refuseUnlessTried, TRIAL_STAGES, type Trial, type WouldBe } from '../../src/policy/trial.ts'
import type { Refusal, Trace } from '../../src/policy/verdict.ts'
import { at, emptyOverlay, listener, name, site, snapshot, source, stated } from '../support/snapshot.ts'
import { accept, classes, trie } from './policies.ts'
import { requestFacts, testDigest } from './request.ts'

const END = 1_000_000
const trial = (parts: Partial<Trial> = {}): Trial => ({
  stages: new Set(TRIAL_STAGES),
  sites: null,
  listeners: null,
  expiresMs: END,
  at: at(30),
  ...parts,
})

/** One request on its whole way. */
type Way = {
  readonly from: SourceFacts
  readonly offered: readonly TlsVersion[]
  readonly method: string
  readonly path: string
  readonly nowMs: number
}

type Walked = {
  readonly refusal: Refusal | null
  /** The first of all phases. */
  readonly wouldBe: WouldBe | null
  /** What the request phase says by itself. */
  readonly ofRequest: WouldBe | null
}

const https = listener()

/** Accept, hello and request in turn, each asked twice: a trace must not change the answer. */
function walk(policy: Snapshot, { from, offered, method, path, nowMs }: Way): Walked {
  const stop = (refusal: Refusal): Walked => ({ refusal, wouldBe: null, ofRequest: null })
  const accepted = accept(policy, from, { nowMs })
  if (!accepted.allow) return stop(accepted.refusal)
  const { standing } = accepted
  const hello = { serverName: 'rmm.example.test', versions: offered, alpn: [], ja4: 'x', cipherCount: 9 }
  const greeted = decideHello(standing, https, hello, () => true, nowMs)
  if (!greeted.allow) return stop(greeted.refusal)
  const [tlsVersion = 'TLSv1.3'] = offered
  const connection = {
    standing,
    listener: https,
    name: greeted.name,
    serverName: hello.serverName,
    tlsVersion,
  }
  const facts = requestFacts(method, path, { nowMs })
  const verdict = decideRequest(connection, facts, testDigest)
  const trace: Trace = { steps: [] }
  const traced = decideRequest(connection, facts, testDigest, trace)
  if (JSON.stringify(plain(verdict)) !== JSON.stringify(plain(traced))) throw new Error('a trace changed it')
  if (!verdict.allow) return stop(verdict.refusal)
  if (trace.steps.some(step => step.outcome === 'refuse')) throw new Error('an allowed way shows a refusal')
  const wouldBe = accepted.wouldBe ?? greeted.wouldBe ?? verdict.wouldBe
  return { refusal: null, wouldBe, ofRequest: verdict.wouldBe }
}

function plain(verdict: ReturnType<typeof decideRequest>): unknown {
  return verdict.allow ? [verdict.class, short(verdict.wouldBe)] : short(verdict.refusal)
}

const short = (refusal: Refusal | null): string =>
  refusal === null
    ? 'passes'
    : `${refusal.reason} at ${refusal.stage}, saw ${refusal.saw}, ${formatSourceLine(refusal.line)}`

const key = { place: 'header', name: 'x-key', sha256Hex: 'no', at: at(14) } as const
/** Something of everything: closed, trusted, keyed, timed and TLS 1.3 classes, a banned range, two sites. */
const policy = snapshot({
  classes: classes({
    console: { access: stated('closed', 11) },
    api: { access: stated('trusted', 12) },
    enroll: { keys: [key] },
    transfer: { windows: [{ fromMinute: 0, toMinute: 1, at: at(15) }] },
    other: { minimumTls: stated('TLSv1.3', 16) },
    update: { limits: { ...classesLimits(), methods: new Set(['GET']) } },
  }),
  sites: [site('north', ['198.51.100.0/25']), site('south', ['198.51.100.128/25'])],
  ban: trie({ range: '192.0.2.0/28' }),
})

function classesLimits() {
  const limits = snapshot().classes.get('agent')?.limits
  if (limits === undefined) throw new Error('no limits')
  return limits
}

const withTrials = (...trials: Trial[]): Snapshot => ({ ...policy, trials })
const way = (parts: Partial<Way> = {}): Way => ({
  from: source('203.0.113.9', 'US'),
  offered: ['TLSv1.3'],
  method: 'GET',
  path: '/agent',
  nowMs: 0,
  ...parts,
})

const foreign = source('203.0.113.9', 'CN')
const banned = source('192.0.2.1', 'CN')

/** What is asked, the refusal, and the stage under which it can be tried; null: never. */
const TABLE: readonly (readonly [string, Partial<Way>, Reason, 'country' | 'tls' | 'access' | null])[] = [
  ['another country', { from: foreign }, 'country-refused', 'country'],
  ['an address without a country', { from: source('203.0.113.9') }, 'country-unknown', 'country'],
  ['a private address', { from: source('10.0.0.1') }, 'network-refused', 'country'],
  ['TLS 1.0', { offered: ['TLSv1'] }, 'tls-version-too-low', 'tls'],
  ['a class that demands TLS 1.3', { offered: ['TLSv1.2'], path: '/what' }, 'tls-version-class', 'tls'],
  ['a closed class', { path: '/automate' }, 'class-closed', 'access'],
  ['a class for trusted addresses', { path: '/cwa/api/x' }, 'class-source', 'access'],
  ['a class outside of its hours', { path: '/labtech/transfer', nowMs: 120_000 }, 'class-window', 'access'],
  ['a class with a key', { path: '/labtech/deployment.aspx' }, 'class-key', null],
  ['a ban', { from: banned }, 'banned', null],
  ['no TLS version at all', { offered: [] }, 'tls-version-too-low', null],
]

for (const [what, parts, reason, stage] of TABLE) {
  test(`${what}: enforced without a trial, ${stage === null ? 'and in every trial' : `let pass by a trial of ${stage} only`}`, t => {
    const asked = way(parts)
    t.is(walk(policy, asked).refusal?.reason, reason)
    for (const tried of TRIAL_STAGES) {
      const walked = walk(withTrials(trial({ stages: new Set([tried]) })), asked)
      if (tried === stage) t.is(walked.wouldBe?.reason, reason)
      else t.is(walked.refusal?.reason, reason)
    }
    const all = walk(withTrials(trial()), asked)
    t.is((stage === null ? all.refusal : all.wouldBe)?.reason, reason)
    // The end comes by itself, at the moment that the policy names.
    t.is(walk(withTrials(trial()), { ...asked, nowMs: END }).refusal?.reason, reason)
  })
}

test('reasons that can be on trial are a closed list: nothing of attacks, keys, limits, names or bans is in it', t => {
  const standing = { snapshot: withTrials(trial()), site: null }
  const place = { standing, listener: 'https', nowMs: 0 }
  t.deepEqual(
    REASON_NAMES.filter(reason => isTried(refuseUnlessTried(undefined, place, 'access', reason, '', at(1)))),
    [
      'country-refused',
      'country-unknown',
      'network-refused',
      'geo-unavailable',
      'tls-version-too-low',
      'tls-version-class',
      'class-closed',
      'class-source',
      'class-country',
      'class-window',
    ],
  )
})

test('a trial holds for its sites and listeners only; of several the one that lasts longest is named', t => {
  const north = source('198.51.100.1', 'CN')
  const south = source('198.51.100.200', 'CN')
  const ofNorth = withTrials(trial({ sites: new Set(['north']) }))
  t.is(walk(ofNorth, way({ from: north })).wouldBe?.reason, 'country-refused')
  t.is(walk(ofNorth, way({ from: south })).refusal?.reason, 'country-refused')
  t.is(walk(ofNorth, way({ from: foreign })).refusal?.reason, 'country-refused')
  const elsewhere = withTrials(trial({ listeners: new Set(['other']) }))
  t.is(walk(elsewhere, way({ from: foreign })).refusal?.reason, 'country-refused')
  const both = withTrials(
    trial(),
    trial({ expiresMs: 2 * END, at: at(31) }),
    trial({ expiresMs: 5, at: at(32) }),
  )
  t.like(walk(both, way({ from: foreign })).wouldBe, { trial: { expiresMs: 2 * END, at: at(31) } })
})

test('the gate’s own paths are never on trial: neither country nor TLS nor a closed class opens them', t => {
  const own = '/.well-known/portcullis/connect'
  const closed = { ...policy, classes: classes({ relay: { access: stated('closed', 17) } }) }
  for (const [whole, parts, reason] of [
    [policy, { from: foreign }, 'class-country'],
    [policy, { offered: ['TLSv1.1'] }, 'tls-version-too-low'],
    [policy, { offered: ['TLSv1.2'] }, 'tls-version-own'],
    [closed, {}, 'class-closed'],
  ] as const) {
    const walked = walk({ ...whole, trials: [trial()] }, way({ ...parts, path: own }))
    t.is(walked.refusal?.reason, reason)
  }
})

test('on a connection that a trial let in, the next request after its end is refused', t => {
  const tried = withTrials(trial())
  const { standing } = accept(tried, foreign)
  const [name] = tried.names
  if (name === undefined) throw new Error('no name')
  const ask = (nowMs: number, tlsVersion: TlsVersion) => {
    const connection = { standing, listener: https, name, serverName: name.host, tlsVersion }
    return decideRequest(connection, requestFacts('GET', '/agent', { nowMs }), testDigest)
  }
  t.like(ask(END - 1, 'TLSv1.3'), { allow: true, wouldBe: { reason: 'country-refused' } })
  t.like(ask(END, 'TLSv1.3'), { allow: false, refusal: { reason: 'class-country' } })
  t.like(ask(END, 'TLSv1'), { allow: false, refusal: { reason: 'tls-version-too-low' } })
})

test('only a client that needs it gets the weak TLS profile while TLS is on trial', t => {
  const tried = withTrials(trial())
  const { standing } = accept(tried, source('203.0.113.9', 'US'))
  const profileOf = (versions: readonly TlsVersion[], strict = false): string => {
    const hello = { serverName: 'rmm.example.test', versions, alpn: [], ja4: 'x', cipherCount: 9 }
    const place = strict ? listener({ tlsProfile: 'strict' }) : https
    const verdict = decideHello(standing, place, hello, () => true, 0)
    return verdict.allow ? `${verdict.tlsProfile} ${verdict.wouldBe?.reason ?? 'as always'}` : 'refused'
  }
  t.is(profileOf(['TLSv1.3', 'TLSv1.2', 'TLSv1']), 'modern as always')
  t.is(profileOf(['TLSv1.2'], true), 'modern tls-version-too-low')
  t.is(profileOf(['TLSv1.1', 'TLSv1']), 'legacy tls-version-too-low')
})

test('heartbeats and streams are on trial like requests; internal ports never are', t => {
  const tried = withTrials(trial())
  const beat = (of: Snapshot, from: SourceFacts) => decideHeartbeat(of, emptyOverlay(), from, 'heartbeats', 0)
  t.like(beat(tried, foreign), { refusal: null, wouldBe: { reason: 'country-refused' } })
  t.like(beat(tried, source('203.0.113.9', 'US')), { refusal: null, wouldBe: null })
  t.like(beat(tried, banned), { refusal: { reason: 'banned' }, wouldBe: null })
  // Nor is the port of an invitation: one PC stands behind it.
  t.is(
    decideHeartbeat(tried, emptyOverlay(), foreign, datagramId(4_000), 0).refusal?.reason,
    'country-refused',
  )
  const service: StreamService = {
    start: null,
    signatures: [],
    names: [],
    class: 'console',
    action: { kind: 'redirect' },
    at: at(80),
  }
  const stream: StreamListener = {
    id: 'raw',
    kind: 'tcp',
    endpoints: [],
    services: [service],
    speaks: 'any',
    internalPorts: new Map([[1433, 'SQL']]),
    loadBalancers: [],
    connections: 10,
    connectionsPerSource: 10,
    connectionsPerSite: null,
    sniffMs: 1,
    keepAliveMs: 1,
    idleMs: 0,
    product: null,
    at: at(81),
  }
  const open = (port: number) =>
    decideStreamAccept(tried, emptyOverlay(), {
      source: foreign,
      listener: stream,
      port,
      open: NOTHING_OPEN,
      nowMs: 0,
    })
  const opened = open(80)
  t.like(opened, { allow: true, wouldBe: { reason: 'country-refused' } })
  t.like(open(1433), { allow: false, refusal: { reason: 'port-internal' } })
  const question = { service, listener: 'raw', openOfClass: 0, tlsVersion: null, nowMs: 0 }
  t.like(decideStreamService(opened.standing, question), {
    refusal: null,
    wouldBe: { reason: 'class-closed' },
  })
})

test('an explanation shows what a trial lets pass, with the line of the policy and the end', t => {
  const explained = explain(
    withTrials(trial()),
    { ...emptyOverlay(), ban: new CidrTrie<BanEntry>() },
    {
      source: foreign,
      listener: https,
      nowMs: 0,
      host: null,
      tlsVersions: ['TLSv1.3'],
      request: null,
      isUpstreamUp: () => true,
      sha256Hex: testDigest,
    },
  )
  const agent = explained.classes.find(entry => entry.class === 'agent')
  t.like(agent, { allowed: true, refusal: null, wouldBe: { reason: 'country-refused', line: { line: 2 } } })
  const step = explained.accept.steps.find(({ outcome }) => outcome === 'detect')
  t.regex(step?.why ?? '', /not? .*country.*; the trial lets it pass until 1970-01-01T00:16:40/)
  t.like(
    explained.classes.find(entry => entry.class === 'enroll'),
    { allowed: true },
  )
})

const ways: fc.Arbitrary<Way> = fc.record({
  from: fc
    .tuple(
      fc.constantFrom('203.0.113.9', '198.51.100.1', '198.51.100.200', '192.0.2.1', '10.0.0.1', '100.64.0.1'),
      fc.constantFrom('US', 'CN', null),
    )
    .map(([address, country]) => source(address, country)),
  offered: fc.subarray([...TLS_VERSIONS]).map(versions => versions.toReversed()),
  method: fc.constantFrom('GET', 'POST', 'PROPFIND'),
  path: fc.constantFrom(
    '/agent',
    '/automate',
    '/cwa/api/x',
    '/labtech/deployment.aspx',
    '/labtech/transfer',
    '/what',
    '/.well-known/portcullis/attach',
  ),
  nowMs: fc.constantFrom(0, 120_000, END - 1, END, 3 * END),
})
const some = <T>(values: readonly T[]): fc.Arbitrary<ReadonlySet<T> | null> =>
  fc.option(fc.subarray([...values], { minLength: 1 }).map(found => new Set(found)))
const trials = fc.array(
  fc.record({
    stages: fc.subarray([...TRIAL_STAGES], { minLength: 1 }).map(stages => new Set(stages)),
    sites: some(['north', 'south']),
    listeners: some(['https', 'other']),
    expiresMs: fc.constantFrom(1, END, 2 * END),
    at: fc.constantFrom(at(30), at(31)),
  }),
  { maxLength: 3 },
)

test('one decision: what passes in a trial would be refused for exactly what enforcing refuses it for, or not at all', t => {
  const seen = { passed: 0, tried: 0, refused: 0 }
  fc.assert(
    fc.property(
      ways,
      trials,
      fc.constantFrom<'modern' | 'strict'>('modern', 'strict'),
      (asked, listed, profile) => {
        const whole = { ...policy, names: [name({ tlsProfile: profile })] }
        const walked = walk({ ...whole, trials: listed }, asked)
        const enforced = walk(whole, asked)
        if (walked.refusal !== null) {
          seen.refused++
          t.not(enforced.refusal, null)
          return
        }
        t.is(short(walked.wouldBe), short(enforced.refusal))
        // The request phase alone says it, too: its event and a replay need no memory of the connection.
        t.is(walked.ofRequest?.reason, enforced.refusal?.reason)
        if (walked.wouldBe === null) seen.passed++
        else {
          seen.tried++
          t.true(asked.nowMs < walked.wouldBe.trial.expiresMs)
        }
      },
    ),
    { numRuns: 3_000, seed: 11 },
  )
  t.true(seen.passed > 100 && seen.tried > 100 && seen.refused > 100, JSON.stringify(seen))
})

test('a trial that is over is as if it were not there', t => {
  fc.assert(
    fc.property(ways, trials, (asked, listed) => {
      const over = listed.map(entry => ({ ...entry, expiresMs: asked.nowMs }))
      t.deepEqual(walk({ ...policy, trials: over }, asked).refusal, walk(policy, asked).refusal)
    }),
    { numRuns: 500, seed: 12 },
  )
})
