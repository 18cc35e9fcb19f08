// What ends by itself is warned of once a day for two weeks, and the end of a trial is told once, by a clock that the test moves.
import test from 'ava'
import { startExpiryWarnings } from '../../src/expiry-warnings.ts'
import { emptyOverlay, at, snapshot } from '../support/snapshot.ts'

const DAY_MS = 86_400_000

test('a trial is warned of each day of its last two weeks, and its end is told once, not again after a restart', t => {
  const trial = { stages: new Set(['country', 'tls'] as const), sites: null, listeners: null, at: at(30) }
  const policy = {
    snapshot: snapshot({ trials: [{ ...trial, expiresMs: 30 * DAY_MS }] }),
    overlay: emptyOverlay(),
  }
  const told: string[] = []
  const reporter = {
    report: (name: string, fields: object) =>
      void told.push(`${name} ${String((fields as { daysLeft?: number }).daysLeft ?? '')}`.trim()),
  }
  let nowMs = 0
  let look = (): void => undefined
  const start = () =>
    startExpiryWarnings(
      () => policy,
      reporter,
      () => nowMs,
      (_ms, work) => {
        look = work
        return () => {
          look = () => undefined
        }
      },
    )
  start()
  const until = (endMs: number): void => {
    for (; nowMs < endMs; nowMs += 3_600_000) look()
  }
  until(16 * DAY_MS)
  t.deepEqual(told, [])
  until(17 * DAY_MS)
  t.deepEqual(told, ['exception.expiring 14'])
  until(40 * DAY_MS)
  t.is(told.filter(entry => entry.startsWith('exception.expiring')).length, 14)
  t.deepEqual(told.slice(-2), ['exception.expiring 1', 'trial.ended'])
  start()
  until(41 * DAY_MS)
  t.is(told.filter(entry => entry === 'trial.ended').length, 1)
})
