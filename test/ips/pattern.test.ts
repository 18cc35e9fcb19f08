// Patterns of rules: what is refused at load, and the place that the refusal names.
import test from 'ava'
import { compileRules } from '../../src/ips/compile.ts'
import type { RuleDocument, RuleProblem } from '../../src/ips/rule-document.ts'
import { readRules } from './read-rules.ts'

function problemsOf(pattern: string, field = 'path'): readonly RuleProblem[] {
  const [document] = readRules(
    'pack: t\nrules:\n  - { id: r, title: t, severity: high, when: { in: path, has: x } }\n',
  )
  const at = { file: 'rules/t.yaml', line: 7, column: 20 }
  const when = { in: [field], matches: [pattern], patternsAt: [{ at, isExact: true }], at }
  return compileRules([{ ...(document as RuleDocument), when }]).problems
}

test('trap 21: patterns that a linear engine cannot run are refused at load, at their place', t => {
  const refused: [pattern: string, why: RegExp][] = [
    ['a(?=a)', /look-ahead/],
    ['(?!a)b', /look-ahead/],
    ['(?<=a)b', /look-behind/],
    [String.raw`(a)\1`, /back-reference/],
    ['a{2000}', /./],
    ['(a', /./],
    ['a)', /./],
    ['[a', /./],
    [String.raw`\q`, /./],
  ]
  for (const [pattern, why] of refused) {
    const [problem, ...others] = problemsOf(pattern)
    t.regex(problem?.message ?? 'accepted', why, pattern)
    t.deepEqual(others, [])
    t.is(problem?.at.line, 7)
    t.true((problem?.at.column ?? 0) >= 20 && (problem?.at.column ?? 99) <= 20 + pattern.length, pattern)
  }
})

test('upper-case letters can never match where values are in small letters', t => {
  for (const pattern of ['agEnt', String.raw`a\x4f[B]`]) {
    const [problem] = problemsOf(pattern)
    t.regex(problem?.message ?? 'accepted', /upper-case/, pattern)
    t.is(problem?.at.column, 20 + pattern.search(/[EB]/), pattern)
  }
  t.deepEqual(problemsOf('agEnt', 'path.raw'), [])
  for (const pattern of [String.raw`\S\W\D\B\x4F`, '(?P<Name>a)', '[a-z]']) {
    t.deepEqual(problemsOf(pattern), [], pattern)
  }
})

test('what repeats within a repetition is linear all the same', t => {
  t.deepEqual(problemsOf('(a+)+$'), [])
  t.deepEqual(problemsOf('(?:a*b?)*c'), [])
})
