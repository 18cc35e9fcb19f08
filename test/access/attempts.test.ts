// The table of failed attempts under random guessing: bounded, never holds a fresh source, never holds longer than it says.
import { array, assert, constantFrom, integer, property, record } from 'fast-check'
import test from 'ava'
import { createAttempts } from '../../src/access/attempts.ts'

test('whatever is guessed from wherever: a fresh source is free, holds end, and the table stays small', t => {
  assert(
    property(
      array(
        record({
          source: integer({ min: 0, max: 40 }),
          name: constantFrom('', 'alice', 'bob'),
          waitMs: integer({ min: 0, max: 120_000 }),
        }),
        { maxLength: 300 },
      ),
      steps => {
        const attempts = createAttempts()
        let nowMs = 1_000_000
        for (const { source, name, waitMs } of steps) {
          nowMs += waitMs
          const standing = attempts.standing(`s${source}`, nowMs)
          if (standing === 'free') attempts.fail(`s${source}`, name, nowMs)
          else if (standing.heldMs > 15 * 60_000 || standing.heldMs <= 0) return false
          if (attempts.standing('fresh', nowMs) !== 'free') return false
          if (attempts.allowance('fresh', name, nowMs) < 1) return false
          if (attempts.standing(`s${source}`, nowMs + 15 * 60_000) !== 'free') return false
        }
        return true
      },
    ),
    { seed: 20_261_121 },
  )
  t.pass()
})

test('any number of sources leaves a bounded table', t => {
  const attempts = createAttempts()
  for (let index = 0; index < 200_000; index++) attempts.fail(`s${index}`, `n${index}`, index)
  t.true(attempts.size() <= 20_000)
})
