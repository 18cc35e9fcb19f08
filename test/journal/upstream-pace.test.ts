// A server that becomes slow is noticed against its own habit, not against a number; it stays noticed, and is forgotten when it recovers.
import test from 'ava'
import type { EventFields } from '../../src/journal/events.ts'
import { createUpstreamPace } from '../../src/upstream-pace.ts'
import { EVENT_SAMPLES } from '../support/event-samples.ts'

const MINUTE_MS = 60_000
const sample: EventFields['request.closed'] = EVENT_SAMPLES['request.closed']

function answers(count: number, upstreamMs: number, nowMs: number, pace = createUpstreamPace()) {
  for (let index = 0; index < count; index++) {
    const fields = {
      ...sample,
      upstream: 'rmm/primary',
      upstreamMs,
      webSocket: false,
      ending: 'complete',
    } as const
    pace.record('request.closed', fields, nowMs + index)
  }
  return pace
}

test('slow is said against what is usual, with both medians and since when', t => {
  const pace = createUpstreamPace()
  let nowMs = Date.UTC(2026, 10, 21)
  for (let slot = 0; slot < 30; slot++, nowMs += 5 * MINUTE_MS) answers(20, 40, nowMs, pace)
  t.is(pace.slowness('rmm/primary', nowMs), null)
  const beganMs = nowMs
  answers(60, 4_000, nowMs, pace)
  const found = pace.slowness('rmm/primary', nowMs + MINUTE_MS)
  if (found === null) return t.fail('not noticed')
  t.true(found.recentMs > 3_000 && found.recentMs < 5_500, String(found.recentMs))
  t.true(found.usualMs > 30 && found.usualMs < 55, String(found.usualMs))
  t.true(Math.abs(found.sinceMs - beganMs) <= 5 * MINUTE_MS)
  // Hours of slowness do not become the habit.
  for (let slot = 0; slot < 50; slot++, nowMs += 5 * MINUTE_MS) answers(60, 4_000, nowMs, pace)
  t.is(pace.slowness('rmm/primary', nowMs)?.sinceMs, found.sinceMs)
  for (let slot = 0; slot < 3; slot++, nowMs += 5 * MINUTE_MS) answers(60, 40, nowMs, pace)
  t.is(pace.slowness('rmm/primary', nowMs), null)
})

test('few answers, fast ones, WebSockets and other members say nothing', t => {
  const nowMs = Date.UTC(2026, 10, 21)
  const pace = answers(200, 10, nowMs)
  answers(60, 200, nowMs + 11 * MINUTE_MS, pace)
  t.is(
    pace.slowness('rmm/primary', nowMs + 11 * MINUTE_MS),
    null,
    'twenty times, but nobody calls 200 ms slow',
  )
  const few = answers(200, 10, nowMs)
  answers(10, 9_000, nowMs + 11 * MINUTE_MS, few)
  t.is(few.slowness('rmm/primary', nowMs + 11 * MINUTE_MS), null)
  t.is(few.slowness('rmm/secondary', nowMs), null)
})
