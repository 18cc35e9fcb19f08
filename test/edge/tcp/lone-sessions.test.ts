// S5: a client of Supportworks with one connection instead of two waits for datagrams that cannot pass the gate.
import test from 'ava'
import { LONE_MS, LoneSessions, TELL_MS } from '../../../src/edge/tcp/lone-sessions.ts'
import type { EventFields, EventName } from '../../../src/journal/events.ts'
import type { StreamListener } from '../../../src/policy/streams.ts'
import { findingLoneSessions } from '../../../src/stream-parts.ts'
import { EVENT_SAMPLES } from '../../support/event-samples.ts'
import { emptyOverlay, snapshot } from '../../support/snapshot.ts'

test('one connection for a minute is told once a day; a second one, or a dial that was given up, is not', t => {
  const sessions = new LoneSessions()
  sessions.opened('a')
  t.false(sessions.closed('a', LONE_MS - 1, 0))
  sessions.opened('a')
  t.true(sessions.closed('a', LONE_MS, 1_000))
  sessions.opened('a')
  t.false(sessions.closed('a', LONE_MS, 2_000))
  sessions.opened('a')
  t.true(sessions.closed('a', LONE_MS, 1_000 + TELL_MS))
  sessions.opened('b')
  sessions.opened('b')
  t.false(sessions.closed('b', LONE_MS, 0))
  t.false(sessions.closed('b', LONE_MS, 0), 'the last of two')
  sessions.opened('b')
  t.true(sessions.closed('b', LONE_MS, 0), 'a session of its own')
  t.false(sessions.closed('nobody', LONE_MS, 0))
})

test('only the port of the sessions counts, and only for a version that can send over UDP', t => {
  const advice = 'switch notifications to TCP'
  const stream = {
    id: 'sw',
    product: 'Supportworks',
    udpNotifications: { port: 5_001, advice },
  } as StreamListener
  const told = (streams: readonly StreamListener[], localPort: number): readonly unknown[] => {
    const events: { name: EventName; fields: unknown }[] = []
    const inForce = { snapshot: snapshot({ streams }), overlay: emptyOverlay() }
    const reporter = findingLoneSessions(
      { report: (name, fields) => events.push({ name, fields }) },
      () => inForce,
      () => 1_000,
    )
    const at = { listener: 'sw', localPort }
    const opened: EventFields['stream.opened'] = { ...EVENT_SAMPLES['stream.opened'], ...at }
    reporter.report('stream.opened', opened)
    reporter.report('stream.closed', {
      ...EVENT_SAMPLES['stream.closed'],
      ...at,
      durationMs: LONE_MS,
      bytesOut: 9,
    })
    t.deepEqual(
      events.slice(0, 2).map(({ name }) => name),
      ['stream.opened', 'stream.closed'],
      'everything is passed on',
    )
    return events.slice(2)
  }
  t.like(told([stream], 5_001), [
    { name: 'stream.lone-session', fields: { product: 'Supportworks', advice } },
  ])
  t.deepEqual(told([stream], 5_005), [])
  const { udpNotifications: _, ...later } = stream
  t.deepEqual(told([later], 5_001), [])
})
