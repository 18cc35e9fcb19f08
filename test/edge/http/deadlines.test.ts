// The shared timer of HTTP connections under a process that is held up.
import test from 'ava'
import { Deadlines } from '../../../src/edge/http/deadlines.ts'

test('attack: a process that is held up all the time still gets rid of who does nothing', t => {
  let nowMs = 0
  let tick = (): void => undefined
  const deadlines = new Deadlines({
    nowMs: () => nowMs,
    monotonicMs: () => nowMs,
    every: (_ms, run) => {
      tick = run
      return () => undefined
    },
  })
  let told = 0
  const entry = { deadlineMs: 5_000, onDeadline: () => void told++ }
  deadlines.add(entry)
  nowMs = 6_000
  tick()
  t.is(told, 0, 'what came in during the first hold-up is read before anybody is called late')
  nowMs = 12_000
  tick()
  t.is(told, 1)
})
