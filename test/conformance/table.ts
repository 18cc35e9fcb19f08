// The table of a conformance run.
import type { SecCompiled } from '../../src/ips/seclang/compile.ts'
import type { Outcome } from './engine-level.ts'
import type { Override } from './overrides.ts'

/** Paranoia level of each rule by its number; rules without one count as level 1. */
export function paranoiaOf(compiled: SecCompiled): ReadonlyMap<number, number> {
  return new Map(
    compiled.rules.map(rule => {
      const tag = rule.tags.find(text => text.startsWith('paranoia-level/'))
      return [rule.number, tag === undefined ? 1 : Number(tag.slice('paranoia-level/'.length))] as const
    }),
  )
}

type Row = { passed: number; failed: number; overridden: number; notApplicable: number }

const emptyRow = (): Row => ({ passed: 0, failed: 0, overridden: 0, notApplicable: 0 })

/**
 * Prints passed and failed tests per paranoia level and in total, what was left out and why, and the failed ones.
 * @returns whether every level reaches the goal
 */
export function printTable(
  outcomes: readonly Outcome[],
  levels: ReadonlyMap<number, number>,
  overrides: readonly Override[],
  goal: number,
  print: (line: string) => void,
): boolean {
  const rows = new Map<number, Row>([1, 2, 3, 4].map(level => [level, emptyRow()]))
  const reasons = new Map<string, number>()
  const passes = new Map<string, number>()
  const failed: Outcome[] = []
  for (const outcome of outcomes) {
    const row = rows.get(levels.get(outcome.test.ruleId) ?? 1) ?? emptyRow()
    const override = overrides.find(({ name }) => name === outcome.test.name)
    if (override !== undefined) row.overridden++
    else if (outcome.result === 'passed') {
      row.passed++
      if (outcome.reason !== '') passes.set(outcome.reason, (passes.get(outcome.reason) ?? 0) + 1)
    } else if (outcome.result === 'not-applicable') {
      row.notApplicable++
      reasons.set(outcome.reason, (reasons.get(outcome.reason) ?? 0) + 1)
    } else {
      row.failed++
      failed.push(outcome)
    }
  }
  for (const { test, reason } of failed) print(`failed ${test.name}: ${reason}`)
  for (const { name, reason } of overrides) print(`left out ${name}: ${reason}`)
  for (const [reason, count] of reasons) print(`not applicable, ${reason}: ${count}`)
  for (const [reason, count] of passes) print(`passed, ${reason}: ${count}`)
  const total = emptyRow()
  let isReached = true
  print('level   passed   failed   left out   not applicable   rate')
  for (const [level, row] of [...rows, ['all', total] as const]) {
    if (level !== 'all') {
      total.passed += row.passed
      total.failed += row.failed
      total.overridden += row.overridden
      total.notApplicable += row.notApplicable
    }
    const judged = row.passed + row.failed
    const rate = judged === 0 ? 1 : row.passed / judged
    if (rate < goal) isReached = false
    print(
      [
        String(level).padEnd(5),
        String(row.passed).padStart(8),
        String(row.failed).padStart(8),
        String(row.overridden).padStart(10),
        String(row.notApplicable).padStart(16),
        `${(rate * 100).toFixed(2)} %`.padStart(9),
      ].join(' '),
    )
  }
  print(`goal: ${(goal * 100).toFixed(1)} % at every level: ${isReached ? 'reached' : 'missed'}`)
  return isReached
}
