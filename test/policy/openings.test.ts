// P13: what an opening lifts, and everything that it does not.
import test from 'ava'
import { buildOpenings } from '../../src/journal/store-openings.ts'
import type { OverlayEntry } from '../../src/journal/store-overlay.ts'
import type { ClassPolicy, Overlay, Snapshot } from '../../src/policy/snapshot.ts'
import { at, classPolicy, emptyOverlay, site, snapshot, source, stated } from '../support/snapshot.ts'
import { trie } from './policies.ts'
import { ask, outcome, requestFacts } from './request.ts'

const us = source('198.51.100.1', 'US')
const END = 1_000

function opened(range: string, more: Partial<OverlayEntry> = {}): Overlay {
  const entry: OverlayEntry = {
    id: 1,
    kind: 'opening',
    range,
    classes: ['enroll'],
    reason: 'r',
    owner: 'o',
    createdMs: 0,
    expiresMs: END,
    ...more,
  }
  const openings = buildOpenings([entry])
  return { ...emptyOverlay(), ...(openings === undefined ? {} : { openings }) }
}

function policyWith(enroll: Partial<ClassPolicy>, more: Partial<Snapshot> = {}): Snapshot {
  const base = snapshot({ sites: [site('acme', ['198.51.100.0/24'])], ...more })
  return { ...base, classes: new Map([...base.classes, ['enroll', classPolicy(enroll)]]) }
}

const deploy = (nowMs = 0) => requestFacts('GET', '/labtech/deployment.aspx', { nowMs })
const closed = { access: stated('closed' as const) }
const trusted = { access: stated('trusted' as const) }
const night = { windows: [{ fromMinute: 0, toMinute: 1, at: at(9) }] }

test('closed, trusted and hours are lifted until the end, to the millisecond', t => {
  for (const enroll of [closed, trusted, night]) {
    const policy = policyWith(enroll)
    t.not(outcome(ask(policy, deploy(), { from: us })), 'enroll')
    for (const range of ['site:acme', '198.51.100.0/28']) {
      const overlay = opened(range)
      t.is(outcome(ask(policy, deploy(END - 1), { from: us, overlay })), 'enroll')
      t.not(outcome(ask(policy, deploy(END), { from: us, overlay })), 'enroll')
    }
  }
})

test('bans, countries, keys and TLS versions hold, and so does everything of other classes', t => {
  const overlay = opened('site:acme')
  const reason = (policy: Snapshot, asked: Parameters<typeof ask>[2] = {}): string =>
    outcome(ask(policy, deploy(), { from: us, overlay, ...asked }))
  t.is(reason(policyWith(closed, { ban: trie({ range: '198.51.100.1' }) })), 'banned')
  t.is(reason(policyWith(closed), { from: source('198.51.100.1', 'CN') }), 'class-country')
  const key = { place: 'header', name: 'x-key', sha256Hex: 'digest of k', at: at(8) } as const
  t.is(reason(policyWith({ ...closed, keys: [key] })), 'class-key')
  t.is(
    reason(policyWith({ ...closed, minimumTls: stated('TLSv1.3' as const) }), { tlsVersion: 'TLSv1.2' }),
    'tls-version-class',
  )
  const base = policyWith(closed)
  const consoleClosed = {
    ...base,
    classes: new Map([...base.classes, ['console' as const, classPolicy(closed)]]),
  }
  t.is(outcome(ask(consoleClosed, requestFacts('GET', '/automate'), { from: us, overlay })), 'class-closed')
})

test('a site within a site is another customer; one that is gone opens nothing', t => {
  const inner = site('inner', ['198.51.100.0/28'])
  const policy = policyWith(closed, { sites: [site('acme', ['198.51.100.0/24']), inner] })
  t.is(outcome(ask(policy, deploy(), { from: us, overlay: opened('site:acme') })), 'class-closed')
  t.is(outcome(ask(policy, deploy(), { from: us, overlay: opened('site:inner') })), 'enroll')
  t.is(outcome(ask(policy, deploy(), { from: us, overlay: opened('site:gone') })), 'class-closed')
})

test('rows that say nothing usable open nothing', t => {
  for (const overlay of [
    opened('nonsense'),
    opened('198.51.100.1/24'),
    opened('site:acme', { classes: null }),
    opened('site:acme', { expiresMs: null }),
    opened('198.51.100.1', { kind: 'allow' }),
  ])
    t.is(outcome(ask(policyWith(closed), deploy(), { from: us, overlay })), 'class-closed')
})
