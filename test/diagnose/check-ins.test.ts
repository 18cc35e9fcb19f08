// Silence measured by how often agents of a product come, and clients that wait for notifications over UDP.
import test from 'ava'
import { loneSessionOf } from '../../src/cli/evidence-events.ts'
import type { ClassActivity } from '../../src/diagnose/activity.ts'
import { isSilent, lateness, othersSpan, spanWords } from '../../src/diagnose/check-ins.ts'
import type { Evidence } from '../../src/diagnose/finding.ts'
import { udpNotifications } from '../../src/diagnose/stream.ts'
import type { StoredEvent } from '../../src/journal/store-events.ts'
import { checkInEvery, punctuality, slowestCheckIn } from '../../src/policy/check-in.ts'
import type { StreamListener } from '../../src/policy/streams.ts'
import { name, snapshot, testProfile } from '../support/snapshot.ts'

const MINUTE = 60_000
const NOW = 1_800_000_000_000
const profile = { ...testProfile, checkInEveryMs: 5 * MINUTE }
const NAMES = [
  name({ host: 'rmm.example.com', profile }),
  name({ host: 'slow.example.com', profile: { ...profile, checkInEveryMs: 60 * MINUTE } }),
  name({ host: '*.mesh.example.com', profile: testProfile }),
]

function evidence(minutesAgo: number, hosts: readonly string[], more: Partial<Evidence> = {}): Evidence {
  const agent: ClassActivity = {
    class: 'agent',
    passed: 1,
    failures: 0,
    lastMs: NOW - minutesAgo * MINUTE,
    lastPassedMs: NOW - minutesAgo * MINUTE,
    hosts,
  }
  return {
    address: '198.51.100.7',
    device: null,
    nowMs: NOW,
    gateStartedMs: 0,
    explanation: { standing: { snapshot: snapshot({ names: NAMES }) } },
    activity: { classes: [agent] },
    ...more,
  } as unknown as Evidence
}

test('the slowest product of the names in use counts; one that does not say leaves it open', t => {
  const all = { names: NAMES }
  t.is(checkInEvery(all, ['rmm.example.com']), 5 * MINUTE)
  t.is(checkInEvery(all, ['slow.example.com', 'rmm.example.com']), 60 * MINUTE)
  t.is(checkInEvery(all, ['rmm.example.com', 'a.mesh.example.com']), null)
  t.is(checkInEvery(all, ['unknown.example.com']), null)
  t.is(checkInEvery(all, []), null)
  t.is(slowestCheckIn(all), null)
  t.is(slowestCheckIn({ names: NAMES.slice(0, 2) }), 60 * MINUTE)
  t.deepEqual(
    [10, 11, 15, 16].map(minutes => punctuality(minutes * MINUTE, 5 * MINUTE)),
    ['present', 'late', 'late', 'gone'],
  )
})

test('silent after three intervals, later where the gate was not there, or a request is under way, or nobody knows the interval', t => {
  const silent = (minutes: number, host: string, more: Partial<Evidence> = {}): boolean =>
    isSilent(evidence(minutes, [host], more), NOW - minutes * MINUTE)
  const rmm = 'rmm.example.com'
  t.false(silent(15, rmm))
  t.true(silent(16, rmm))
  t.false(silent(16, rmm, { gateStartedMs: NOW - 10 * MINUTE }))
  t.false(silent(16, rmm, { open: { count: 1, sinceMs: NOW, isCutOff: false } }))
  t.true(silent(121, rmm, { gateStartedMs: NOW - 10 * MINUTE }))
  t.false(silent(179, 'slow.example.com'))
  t.true(silent(181, 'slow.example.com'))
  t.false(silent(120, 'a.mesh.example.com'))
  t.true(silent(121, 'a.mesh.example.com'))
  // What failed arrived all the same.
  t.false(isSilent(evidence(3, [rmm]), NOW - 60 * MINUTE))
})

test('late is between two and three intervals', t => {
  const late = (minutes: number, more: Partial<Evidence> = {}): number | null =>
    lateness(evidence(minutes, ['rmm.example.com'], more))?.silentMs ?? null
  t.is(late(10), null)
  t.is(late(11), 11 * MINUTE)
  t.is(late(16), null)
  t.is(late(11, { gateStartedMs: NOW - MINUTE }), null)
  t.is(late(11, { open: { count: 1, sinceMs: NOW, isCutOff: false } }), null)
  t.is(othersSpan(evidence(1, [])), 60 * MINUTE)
  t.deepEqual([1_000, 119_000, 300_000, 7_200_000].map(spanWords), [
    '1 second',
    '119 seconds',
    '5 minutes',
    '2 hours',
  ])
})

test('S5: a session with one connection ends in what to switch, until the policy or a second connection says it is mended', t => {
  const advice = 'switch notifications to TCP'
  const stream = { id: 'sw', udpNotifications: { port: 5_001, advice } } as StreamListener
  const { udpNotifications: _, ...onTcp } = stream
  const told = {
    name: 'stream.lone-session',
    timeMs: NOW,
    fields: { listener: 'sw', product: 'Supportworks', durationMs: 6 * MINUTE },
  } as unknown as StoredEvent
  const found = loneSessionOf([told], [stream], () => 1)
  t.is(
    loneSessionOf([], [stream], () => 0),
    null,
  )
  t.is(
    loneSessionOf([told], [stream], () => 2),
    null,
  )
  t.is(
    loneSessionOf([told], [onTcp], () => 0),
    null,
  )
  t.is(
    loneSessionOf([told], [], () => 0),
    null,
  )
  const diagnosis = udpNotifications(evidence(1, [], { loneSession: found }))
  t.is(diagnosis?.cause, 'udp-notifications')
  t.false(diagnosis?.healthy)
  t.regex(diagnosis?.sentence ?? '', /^198\.51\.100\.7 gets through to Supportworks on stream sw, but seems/)
  t.regex(diagnosis?.fix?.steps[0] ?? '', /^In Supportworks, switch notifications to TCP, and/)
  t.regex(diagnosis?.evidence[0]?.text ?? '', /^a session of 6 minutes with a single connection/)
  t.is(udpNotifications(evidence(1, [], { loneSession: null })), null)
})
