// The hello decision and the Host question: names, TLS minimum, legacy exceptions, and policy changes under open connections.
import test from 'ava'
import type { TlsVersion } from '../../src/net/tls-version.ts'
import { decideHello, findName } from '../../src/policy/decide-hello.ts'
import type { Snapshot } from '../../src/policy/snapshot.ts'
import type { HelloVerdict } from '../../src/policy/standing.ts'
import { standingOf } from '../../src/policy/who.ts'
import { at, emptyOverlay, listener, name, noRules, site, snapshot, source } from '../support/snapshot.ts'
import { ask, outcome, requestFacts } from './request.ts'

const from = source('198.51.100.1', 'US')

function hello(
  policy: Snapshot,
  versions: readonly TlsVersion[],
  parts: {
    serverName?: string | null
    up?: boolean
    nowMs?: number
    ja4?: string
    listener?: ReturnType<typeof listener>
  } = {},
): HelloVerdict {
  return decideHello(
    standingOf(policy, emptyOverlay(), from, 0),
    parts.listener ?? listener(),
    {
      serverName: parts.serverName === undefined ? 'rmm.example.test' : parts.serverName,
      versions,
      alpn: [],
      ja4: parts.ja4 ?? '',
      cipherCount: 10,
    },
    () => parts.up ?? true,
    parts.nowMs ?? 0,
  )
}

const profileOf = (verdict: HelloVerdict): string =>
  verdict.allow ? verdict.tlsProfile : verdict.refusal.reason

const exception = (minimum: TlsVersion, expiresMs = 1000): Snapshot =>
  snapshot({
    sites: [
      site('old', ['198.51.100.0/24'], {
        tlsException: { minimum, reason: 'Windows 7', owner: 'ops', expiresMs, at: at(52) },
      }),
    ],
  })

test('a rule on the ClientHello is asked last: it refuses, or comes along as a detection', t => {
  const seen: unknown[] = []
  const ruled = (mode: 'enforce' | 'detect'): Snapshot =>
    snapshot({
      rules: {
        ...noRules,
        matchHello: ({ ja4 }, scope) => {
          seen.push(scope)
          if (ja4 !== 't13-bad') return []
          return [
            {
              ruleId: 'hello-1',
              title: 'A scanner',
              severity: 'high',
              mode,
              field: 'hello.ja4',
              value: ja4,
              steps: [],
              score: 0,
              exception: null,
              at: at(80),
            },
          ]
        },
      },
    })
  const refused = hello(ruled('enforce'), ['TLSv1.3'], { ja4: 't13-bad' })
  t.like(refused, { allow: false, refusal: { reason: 'rule', stage: 'rules', line: at(80) } })
  t.is(refused.hits.length, 1)
  t.like(seen[0], { listener: 'https', country: 'US', site: null, sourceText: '198.51.100.1' })
  t.is(hello(ruled('detect'), ['TLSv1.3'], { ja4: 't13-bad' }).hits.length, 1)
  t.is(profileOf(hello(ruled('detect'), ['TLSv1.3'], { ja4: 't13-bad' })), 'modern')
  t.is(profileOf(hello(ruled('enforce'), ['TLSv1.3'], { ja4: 't13-good' })), 'modern')
  seen.length = 0
  t.is(profileOf(hello(ruled('enforce'), ['TLSv1'], { ja4: 't13-bad' })), 'tls-version-too-low')
  t.is(profileOf(hello(ruled('enforce'), ['TLSv1.3'])), 'modern')
  t.deepEqual(seen, [], 'rules are not asked of a hello that is refused anyway, nor of one that nobody sent')
})

test('unknown and missing names are refused; a listener can place clients without a name', t => {
  t.is(profileOf(hello(snapshot(), ['TLSv1.3'], { serverName: 'other.example' })), 'name-unknown')
  t.is(profileOf(hello(snapshot(), ['TLSv1.3'], { serverName: null })), 'name-missing')
  const placing = listener({ withoutName: 'rmm.example.test' })
  t.is(profileOf(hello(snapshot(), ['TLSv1.3'], { serverName: null, listener: placing })), 'modern')
})

test('a wildcard covers one label, and an exact name comes first wherever it stands', t => {
  const names = [name({ host: '*.example.test' }), name({ host: 'rmm.example.test', upstream: 'exact' })]
  const policy = snapshot({ names })
  t.is(findName(policy, 'rmm.example.test')?.upstream, 'exact')
  t.is(findName(policy, 'x.example.test')?.host, '*.example.test')
  for (const host of ['example.test', 'a.b.example.test', '.example.test', 'xexample.test']) {
    t.is(findName(policy, host), undefined, host)
  }
})

test('a version below the minimum is refused by the line of the listener, or of the name', t => {
  t.like(hello(snapshot(), ['TLSv1.1', 'TLSv1']), {
    refusal: { reason: 'tls-version-too-low', saw: 'offered TLSv1.1, TLSv1', line: { line: 20 } },
  })
  const strict = snapshot({ names: [name({ tlsProfile: 'strict' })] })
  t.like(hello(strict, ['TLSv1.2']), { refusal: { reason: 'tls-version-too-low', line: { line: 30 } } })
  t.is(profileOf(hello(strict, ['TLSv1.3', 'TLSv1.2'])), 'strict')
  t.is(profileOf(hello(snapshot(), [])), 'tls-version-too-low')
})

test('a legacy exception serves only clients that need it, only down to its minimum, only while it lasts', t => {
  t.is(profileOf(hello(exception('TLSv1'), ['TLSv1'])), 'legacy')
  t.is(profileOf(hello(exception('TLSv1'), ['TLSv1.2', 'TLSv1.1', 'TLSv1'])), 'modern')
  t.is(profileOf(hello(exception('TLSv1.1'), ['TLSv1.1', 'TLSv1'])), 'legacy')
  t.like(hello(exception('TLSv1.1'), ['TLSv1']), {
    refusal: {
      saw: 'offered TLSv1; the exception of the site reaches down to TLSv1.1 only',
      line: { line: 52 },
    },
  })
  t.is(profileOf(hello(exception('TLSv1'), ['TLSv1'], { nowMs: 999 })), 'legacy')
  t.like(hello(exception('TLSv1'), ['TLSv1'], { nowMs: 1000 }), {
    refusal: {
      saw: 'offered TLSv1; the exception of the site ended at 1970-01-01T00:00:01.000Z',
      line: { line: 52 },
    },
  })
})

test('below a strict minimum, an exception gives TLS 1.2 the modern profile, never the weak one', t => {
  const strict = { ...exception('TLSv1'), names: [name({ tlsProfile: 'strict' })] }
  t.is(profileOf(hello(strict, ['TLSv1.2'])), 'modern')
  t.is(profileOf(hello(strict, ['TLSv1.1'])), 'legacy')
})

test('trap 20: with its servers down, an agent name is reset and a console name is let in to its 503', t => {
  t.is(profileOf(hello(snapshot(), ['TLSv1.3'], { up: false })), 'modern')
  const agents = snapshot({ names: [name({ whenDown: 'reset' })] })
  t.is(profileOf(hello(agents, ['TLSv1.3'], { up: false })), 'upstream-down')
  t.is(profileOf(hello(agents, ['TLSv1.3'])), 'modern')
})

const open = name({ host: 'open.example.test' })
const strict = name({ host: 'strict.example.test', tlsProfile: 'strict' })
const wide = name({ host: '*.example.test', upstream: 'wide' })
const three = snapshot({ names: [open, strict, wide] })

test('the Host must belong to the name of the handshake', t => {
  const host = (serverName: string | null, named: typeof open, wanted: string): string =>
    outcome(
      ask(three, requestFacts('GET', '/agent', { host: wanted }), {
        name: named,
        serverName,
        tlsVersion: 'TLSv1.2',
      }),
    )
  t.is(host('open.example.test', open, 'open.example.test'), 'agent')
  t.is(host('open.example.test', open, 'strict.example.test'), 'host-mismatch')
  t.is(host('open.example.test', open, 'x.example.test'), 'host-mismatch')
  t.is(host('a.example.test', wide, 'b.example.test'), 'agent')
  t.is(host('a.example.test', wide, 'strict.example.test'), 'host-mismatch')
  t.is(host('open.example.test', open, 'elsewhere.test'), 'host-unknown')
  // A NetSupport client names the address of its gateway, inside TLS as well: it is named, not its host.
  const netSupport = (method: string, path: string, wanted: string): string =>
    outcome(
      ask(three, requestFacts(method, path, { host: wanted }), {
        name: open,
        serverName: 'open.example.test',
        tlsVersion: 'TLSv1.2',
      }),
    )
  t.is(netSupport('POST', '/FakeURL.htm', '203.0.113.7'), 'netsupport-elsewhere')
  t.is(netSupport('GET', '/fakeurl.htm', '203.0.113.7'), 'host-unknown')
  t.is(netSupport('POST', '/fakeurl.htm/x', '203.0.113.7'), 'host-unknown')
  t.is(host(null, open, 'open.example.test'), 'agent')
  t.is(host(null, open, 'a.example.test'), 'agent')
  // Placed by the listener without a name: a stricter TLS profile cannot be entered by the Host header.
  t.is(host(null, open, 'strict.example.test'), 'host-mismatch')
})

test('the profile of the Host decides the class, not the one of the handshake', t => {
  const agentsOnly = {
    ...name().profile,
    rules: [{ class: 'agent', pattern: '/', methods: null, webSocket: null, at: at(1) } as const],
  }
  const policy = snapshot({ names: [open, name({ host: 'agents.example.test', profile: agentsOnly })] })
  const facts = requestFacts('GET', '/automate', { host: 'agents.example.test' })
  t.is(outcome(ask(policy, facts, { name: open, serverName: null })), 'agent')
})

test('a changed policy holds for the next request of an open connection', t => {
  const before = name({ host: 'rmm.example.test' })
  const closed = new Map(snapshot().classes)
  const facts = requestFacts('GET', '/agent')
  // The connection still carries the name entry that it was opened with.
  const stricter = snapshot({ names: [name({ tlsProfile: 'strict' })], classes: closed })
  t.is(outcome(ask(stricter, facts, { name: before, tlsVersion: 'TLSv1.2' })), 'tls-version-too-low')
  t.is(outcome(ask(stricter, facts, { name: before, tlsVersion: 'TLSv1.3' })), 'agent')
  const gone = snapshot({ names: [open] })
  t.is(outcome(ask(gone, facts, { name: before })), 'host-unknown')
  const moved = snapshot({
    names: [name({ profile: { ...name().profile, rules: [] }, upstream: 'new' })],
  })
  const verdict = ask(moved, facts, { name: before })
  t.like(verdict, { allow: true, class: 'other', name: { upstream: 'new' } })
  // A more exact entry for the same server name takes over.
  const exact = snapshot({ names: [wide, name({ host: 'a.example.test', upstream: 'exact' })] })
  t.like(
    ask(exact, requestFacts('GET', '/agent', { host: 'a.example.test' }), {
      name: wide,
      serverName: 'a.example.test',
    }),
    {
      name: { upstream: 'exact' },
    },
  )
})

test('an exception that has ended ends legacy connections at their next request', t => {
  const facts = (nowMs: number): ReturnType<typeof requestFacts> => requestFacts('GET', '/agent', { nowMs })
  t.is(outcome(ask(exception('TLSv1'), facts(999), { tlsVersion: 'TLSv1' })), 'agent')
  t.is(outcome(ask(exception('TLSv1'), facts(1000), { tlsVersion: 'TLSv1' })), 'tls-version-too-low')
})
