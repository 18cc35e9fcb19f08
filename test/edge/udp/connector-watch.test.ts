// The watch over a connector, and the estimate of losses from the rhythm of senders. On a virtual clock.
import test from 'ava'
import { AWAY_MS, ConnectorWatch, DROPS_MS, troubleOf } from '../../../src/edge/udp/connector-watch.ts'
import { beat, newRhythm, STEADY, takeJudged } from '../../../src/edge/udp/rhythm.ts'
import { lossPercent } from '../../../src/edge/udp/site-counts.ts'
import type { TunnelState } from '../../../src/policy/running-state.ts'

function state(more: Partial<TunnelState> = {}): TunnelState {
  return {
    connections: 1,
    sinceMs: 0,
    isOffered: true,
    contexts: 0,
    queuedBytes: 0,
    roundTripMs: null,
    dropped: { aged: 0, overflow: 0, away: 0 },
    forged: 0,
    ...more,
  }
}

const AWAY = state({ connections: 0, isOffered: null })

test('the port closes when the connector has been away for 15 s, and opens when it is back', t => {
  const watch = new ConnectorWatch(0)
  t.is(watch.look(AWAY, AWAY_MS - 1).port, 'leave', 'after a start it has time to come')
  t.is(watch.look(state(), AWAY_MS).port, 'leave')
  t.is(watch.look(AWAY, 20_000).port, 'leave')
  t.is(watch.look(AWAY, 20_000 + AWAY_MS - 1).port, 'leave')
  const closing = watch.look(AWAY, 20_000 + AWAY_MS)
  t.like(closing, { port: 'close', awayMs: AWAY_MS })
  t.true(watch.isClosed)
  t.is(watch.look(AWAY, 60_000).port, 'leave', 'once')
  t.like(watch.look(state(), 61_000), { port: 'open', awayMs: 41_000 })
  t.false(watch.isClosed)
  t.is(watch.look(state(), 62_000).port, 'leave')
})

test('a connector that does not offer the service is as good as away; a gap of a second is none', t => {
  t.is(troubleOf(state({ isOffered: false })), 'not-offered')
  const watch = new ConnectorWatch(0)
  for (let nowMs = 0; nowMs < AWAY_MS; nowMs += 1_000)
    t.is(watch.look(state({ isOffered: false }), nowMs).port, 'leave')
  t.is(watch.look(state({ isOffered: false }), AWAY_MS).port, 'close')
  const other = new ConnectorWatch(0)
  for (let nowMs = 0; nowMs < 10 * AWAY_MS; nowMs += 1_000)
    t.is(other.look(nowMs % 10_000 === 0 ? AWAY : state(), nowMs).port, 'leave')
})

test('drops are told together, at most once a minute, and never twice', t => {
  const watch = new ConnectorWatch(0)
  const dropping = (aged: number, forged = 0): TunnelState =>
    state({ dropped: { aged, overflow: 0, away: 0 }, forged })
  t.is(watch.look(dropping(0), 0).drops, null)
  t.deepEqual(watch.look(dropping(5), 1_000).drops, { aged: 5, overflow: 0, away: 0, forged: 0 })
  t.is(watch.look(dropping(9), 2_000).drops, null)
  t.deepEqual(watch.look(dropping(9, 2), 1_000 + DROPS_MS).drops, {
    aged: 4,
    overflow: 0,
    away: 0,
    forged: 2,
  })
  t.is(watch.look(dropping(9, 2), 1_000 + 3 * DROPS_MS).drops, null)
})

/** Beats every 5 s with a little jitter, of which some are lost. Returns the estimate in percent. */
function estimate(loss: number, seed: number, count = 4_000): number | null {
  let random = seed
  const next = (): number => (random = (Math.imul(random, 1_103_515_245) + 12_345) >>> 0) / 2 ** 32
  const rhythm = newRhythm()
  let lastMs: number | null = null
  for (let index = 0; index < count; index++) {
    const atMs = index * 5_000 + next() * 300
    if (next() < loss) continue
    if (lastMs !== null) beat(rhythm, atMs - lastMs)
    lastMs = atMs
  }
  const { kept, missed } = takeJudged(rhythm)
  return lossPercent(kept, missed)
}

test('losses of periodic senders are estimated within a percent or two', t => {
  for (const seed of [1, 2, 3]) {
    t.is(estimate(0, seed), 0)
    for (const loss of [0.01, 0.05, 0.2]) {
      const found = estimate(loss, seed) ?? Number.NaN
      t.true(Math.abs(found - loss * 100) < 2, `${loss * 100} % was estimated as ${found} %`)
    }
  }
})

test('senders without a rhythm are not judged, a pause is no loss, another interval is learnt', t => {
  const bursts = newRhythm()
  for (let index = 0; index < 100; index++) beat(bursts, index % 2 === 0 ? 10 : 5_000)
  t.deepEqual(takeJudged(bursts), { kept: 0, missed: 0 })
  t.is(lossPercent(3, 0), null, 'too few to say')

  const paused = newRhythm()
  for (let index = 0; index < 20; index++) beat(paused, 5_000)
  beat(paused, 3_600_000)
  for (let index = 0; index < 20; index++) beat(paused, 5_000)
  t.is(paused.missed, 0)
  t.true(paused.kept > 30)

  const slower = newRhythm()
  for (let index = 0; index < 20; index++) beat(slower, 5_000)
  takeJudged(slower)
  for (let index = 0; index < 30; index++) beat(slower, 60_000)
  t.is(slower.usualMs, 60_000)
  t.is(takeJudged(slower).missed, 0)
  t.true(slower.steady === STEADY)
})
