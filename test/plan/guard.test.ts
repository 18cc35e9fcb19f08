// The guard's judgement: what undoes a policy, and what a stranger behind an agent's address cannot make of it.
import test from 'ava'
import { judgeGuard, type GuardBaseline, type GuardFacts } from '../../src/plan/guard.ts'

const WINDOW_MS = 300_000

const sources = (count: number): string[] => Array.from({ length: count }, (_, number) => `192.0.2.${number}`)

function judge(known: number, refused: number, facts: Partial<GuardFacts>): string {
  const baseline: GuardBaseline = {
    startedMs: 0,
    windowMs: WINDOW_MS,
    windows: 6,
    known: new Set(sources(known)),
    usual: known,
  }
  return judgeGuard(baseline, {
    nowMs: 1_000,
    seen: () => known,
    refused: new Set(sources(refused)),
    shutOut: new Set(),
    ...facts,
  }).kind
}

test('attack: one refused request from the address of an agent does not undo the policy of a small fleet', t => {
  t.is(judge(4, 1, {}), 'watch')
  t.is(judge(4, 2, { nowMs: WINDOW_MS - 1 }), 'watch')
})

test('agents that are refused and do not come back within a window undo it, several of them at once', t => {
  t.is(judge(4, 1, { nowMs: WINDOW_MS }), 'roll-back')
  t.is(judge(4, 3, {}), 'roll-back')
  t.is(judge(4, 1, { shutOut: new Set(sources(1)) }), 'roll-back')
  t.is(judge(40, 3, {}), 'watch')
  t.is(judge(40, 4, {}), 'roll-back')
  t.is(judge(40, 3, { nowMs: WINDOW_MS }), 'watch')
})

test('strangers who are refused never count, and a fleet that goes on coming keeps the policy', t => {
  t.is(judge(4, 0, { refused: new Set(['198.51.100.1', '198.51.100.2', '198.51.100.3']) }), 'watch')
  t.is(judge(4, 0, { nowMs: 6 * WINDOW_MS }), 'keep')
  t.is(judge(10, 0, { nowMs: WINDOW_MS, seen: () => 7 }), 'watch')
  t.is(judge(10, 0, { nowMs: WINDOW_MS, seen: () => 6 }), 'roll-back')
})
