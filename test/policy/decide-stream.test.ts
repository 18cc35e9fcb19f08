// Decisions about raw TCP: limits, internal ports, classes without a place for keys, ClientHellos by name and version.
import test from 'ava'
import {
  decideStreamAccept,
  decideStreamHello,
  decideStreamService,
  NOTHING_OPEN,
} from '../../src/policy/decide-stream.ts'
import type { HelloFacts } from '../../src/policy/facts.ts'
import { CidrTrie } from '../../src/net/cidr.ts'
import type { Snapshot } from '../../src/policy/snapshot.ts'
import type { StreamListener, StreamService } from '../../src/policy/streams.ts'
import type { Trace } from '../../src/policy/verdict.ts'
import { standingOf } from '../../src/policy/who.ts'
import { member, service, stream } from '../edge/tcp/harness.ts'
import { at, cidr, classPolicy, emptyOverlay, site, snapshot, source, stated } from '../support/snapshot.ts'

const NOW = Date.UTC(2026, 10, 21, 12)
const raw = service([member(16_888)])
const overlay = emptyOverlay()

function accept(
  policy: Snapshot,
  listener: StreamListener,
  from = '198.51.100.7',
  open = NOTHING_OPEN,
  port = 16_888,
) {
  const trace: Trace = { steps: [] }
  const facts = { source: source(from, 'US'), listener, port, open, nowMs: NOW }
  const verdict = decideStreamAccept(policy, overlay, facts, trace)
  sameVerdict(verdict.allow, decideStreamAccept(policy, overlay, facts).allow)
  return { verdict, last: trace.steps.at(-1) }
}

function sameVerdict(a: boolean, b: boolean): void {
  if (a !== b) throw new Error('a trace changed the verdict')
}

test('limits of a listener: of a source, of its site, and in all, each with its own reason', t => {
  const acme = site('acme', ['198.51.100.0/24'])
  const policy = snapshot({ sites: [acme] })
  const listener = stream([raw], { connections: 10, connectionsPerSource: 4, connectionsPerSite: 6 })
  const reasonOf = (open: Partial<typeof NOTHING_OPEN>): string => {
    const { verdict } = accept(policy, listener, '198.51.100.7', { ...NOTHING_OPEN, ...open })
    return verdict.allow ? 'allowed' : `${verdict.refusal.reason}: ${verdict.refusal.saw}`
  }
  t.is(reasonOf({ fromSource: 3, fromSite: () => 5, total: 9 }), 'allowed')
  t.is(reasonOf({ fromSource: 4 }), 'stream-limit-source: 4 of 4 open')
  t.is(reasonOf({ fromSite: id => (id === 'acme' ? 6 : 0) }), 'stream-limit-site: 6 of 6 open from acme')
  t.is(reasonOf({ total: 10 }), 'stream-limit-total: 10 of 10 open')
  const site6 = accept(policy, listener, '198.51.100.7', { ...NOTHING_OPEN, fromSite: () => 6 }).verdict
  t.like(site6.allow ? {} : site6.refusal, { reason: 'stream-limit-site', stage: 'limits' })
  t.regex(reasonOf({ gateFromSource: 5_000 }), /^connection-limit-source/)
  t.regex(reasonOf({ gateTotal: 20_000 }), /^connection-limit-total/)
})

test('the accept phase of every connection holds for streams: countries first of all', t => {
  const { verdict, last } = accept(snapshot(), stream([raw]), '203.0.113.9')
  t.true(verdict.allow)
  t.is(last?.stage, 'limits')
  const facts = {
    source: source('203.0.113.9', 'CN'),
    listener: stream([raw]),
    port: 1,
    open: NOTHING_OPEN,
    nowMs: NOW,
  }
  const refused = decideStreamAccept(snapshot(), overlay, facts)
  t.like(refused.allow ? {} : refused.refusal, { reason: 'country-refused', saw: 'CN' })
})

test('an internal port is for trusted addresses; the others of the listener are not touched', t => {
  const trusted = new CidrTrie<{ range: ReturnType<typeof cidr>; at: ReturnType<typeof at> }>()
  const office = cidr('198.51.100.9/32')
  trusted.insert(office, { range: office, at: at(8) })
  const policy = snapshot({ trusted })
  const listener = stream([raw], { internalPorts: new Map([[5_002, 'databases']]) })
  const outside = accept(policy, listener, '198.51.100.7', NOTHING_OPEN, 5_002).verdict
  t.like(outside.allow ? {} : outside.refusal, { reason: 'port-internal', saw: 'port 5002: databases' })
  t.true(accept(policy, listener, '198.51.100.9', NOTHING_OPEN, 5_002).verdict.allow)
  t.true(accept(policy, listener, '198.51.100.7', NOTHING_OPEN, 5_001).verdict.allow)
})

test('a class that needs a key is closed to raw TCP, except for trusted addresses; windows and closed classes hold', t => {
  const sha256Hex = 'ab'.repeat(32)
  const keyed = classPolicy({ keys: [{ place: 'header', name: 'x', sha256Hex, at: at(12) }] })
  const ask = (policy: ReturnType<typeof classPolicy>): string => {
    const snap = snapshot({ classes: new Map(snapshot().classes).set('relay', policy) })
    const standing = standingOf(snap, overlay, source('198.51.100.7', 'US'), NOW)
    return (
      decideStreamService(standing, {
        service: raw,
        listener: 'relay',
        openOfClass: 0,
        tlsVersion: null,
        nowMs: NOW,
      }).refusal?.reason ?? 'open'
    )
  }
  t.is(ask(classPolicy()), 'open')
  t.is(ask(keyed), 'class-key')
  t.is(ask(classPolicy({ access: stated('trusted') })), 'class-source')
  t.is(ask(classPolicy({ windows: [{ fromMinute: 0, toMinute: 60, at: at(3) }] })), 'class-window')
  t.is(ask(classPolicy({ minimumTls: stated('TLSv1.2') })), 'open', 'plain bytes have no TLS version')
})

const hello = (serverName: string | null, versions: HelloFacts['versions']): HelloFacts => ({
  serverName,
  versions,
  alpn: [],
  ja4: '',
  cipherCount: 3,
})

test('a ClientHello: the service of its name, a wildcard for one label, and the TLS version where TLS ends', t => {
  const forward = (more: Partial<StreamService>): StreamService => service([member(443)], more)
  const ending = forward({
    names: ['backup.example.test'],
    action: {
      kind: 'forward',
      members: [],
      terminate: { host: 'backup.example.test', tlsProfile: 'modern' },
      proxyProtocol: false,
      returnAfterMs: 1,
    },
  })
  const services = [ending, forward({ names: ['*.mesh.example.test'] })]
  const standing = standingOf(snapshot(), overlay, source('198.51.100.7', 'US'), NOW)
  const ask = (facts: HelloFacts, among = services): string => {
    const verdict = decideStreamHello(standing, stream(among, { kind: 'tls' }), among, facts, NOW, {
      steps: [],
    })
    return verdict.allow ? `${among.indexOf(verdict.service)} ${verdict.tlsProfile}` : verdict.refusal.reason
  }
  t.is(ask(hello('backup.example.test', ['TLSv1.3'])), '0 modern')
  t.is(ask(hello('backup.example.test', ['TLSv1.1', 'TLSv1'])), 'tls-version-too-low')
  t.is(ask(hello('a.mesh.example.test', ['TLSv1'])), '1 null', 'what is passed through ends elsewhere')
  t.is(ask(hello('a.b.mesh.example.test', ['TLSv1.3'])), 'name-unknown')
  t.is(ask(hello(null, ['TLSv1.3'])), 'name-missing')
  t.is(ask(hello(null, ['TLSv1']), [forward({})]), '0 null')
})
