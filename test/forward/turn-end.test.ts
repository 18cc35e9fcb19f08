// Writes of one turn: when they leave, in which order, and that a crowded turn does not hold them all.
import { setImmediate as nextTurn } from 'node:timers/promises'
import test from 'ava'
import { TurnEnd } from '../../src/forward/turn-end.ts'

test('writes of one turn leave together when it is over, in the order in which they came', async t => {
  const turnEnd = new TurnEnd()
  const left: string[] = []
  turnEnd.soon({ flush: () => left.push('a') })
  turnEnd.soon({ flush: () => left.push('b') })
  await Promise.resolve()
  t.deepEqual(left, [])
  await nextTurn()
  t.deepEqual(left, ['a', 'b'])
  turnEnd.soon({ flush: () => left.push('c') })
  await nextTurn()
  t.deepEqual(left, ['a', 'b', 'c'])
})

test('a crowded turn sends early, but never the entry that is only beginning', async t => {
  const turnEnd = new TurnEnd()
  const left: number[] = []
  const early: number[] = []
  for (let index = 0; index < 100; index++) {
    turnEnd.soon({ flush: () => left.push(index) })
    t.false(left.includes(index))
    early.push(left.length)
  }
  t.true(early.some(count => count > 0))
  t.true(Math.max(...early.map((count, index) => index - count)) <= 16)
  await nextTurn()
  t.deepEqual(
    left,
    Array.from({ length: 100 }, (_, index) => index),
  )
})

test('what is asked for during a flush leaves in a turn of its own', async t => {
  const turnEnd = new TurnEnd()
  const left: string[] = []
  const second = { flush: () => left.push('second') }
  turnEnd.soon({
    flush: () => {
      left.push('first')
      turnEnd.soon(second)
    },
  })
  await nextTurn()
  t.deepEqual(left, ['first'])
  await nextTurn()
  t.deepEqual(left, ['first', 'second'])
})
