// Patterns of rules: what is refused at load, and the texts that a match must hold.
import test from 'ava'
import * as fc from 'fast-check'
import { compileRules } from '../../src/ips/compile.ts'
import { readPattern } from '../../src/ips/pattern.ts'
import { readRules } from './read-rules.ts'

const rule = (when: string): string => `
  - id: r
    title: a rule
    severity: high
    when: ${when}
`

test('trap 21: patterns that a linear engine cannot run are refused at load', t => {
  const refused: [pattern: string, why: RegExp][] = [
    ['(?=a)', /look-around/],
    ['(?!a)b', /look-around/],
    ['(?<=a)b', /look-around/],
    ['(?<n>a)', /named group/],
    ['(?i:a)', /flag/],
    [String.raw`(a)\1`, /back-reference/],
    ['(a+)+', /repeats/],
    ['(?:a*b?)*', /repeats/],
    ['(?:x(?:a+)y)+', /repeats/],
    ['a{2000}', /more than/],
    ['(a', /./],
    ['a)', /./],
    ['[a', /./],
    [String.raw`\q`, /escape/],
    [String.raw`\p{L}`, /escape/],
  ]
  for (const [pattern, why] of refused) {
    const facts = readPattern(pattern)
    t.regex(typeof facts === 'string' ? facts : 'accepted', why, pattern)
    t.is(
      compileRules(readRules(`pack: t\nrules:\n${rule(`{ in: path, matches: '${pattern}' }`)}`)).problems
        .length,
      1,
    )
  }
  const upper = compileRules(readRules(`pack: t\nrules:\n${rule("{ in: path, matches: 'Agent' }")}`))
  t.regex(upper.problems[0]?.message ?? '', /upper-case/)
})

test('the texts that a pattern is said to need are in everything that it matches', t => {
  const piece = fc.constantFrom(
    'ab',
    'c',
    '[xy]',
    'z?',
    '(?:ab|cd)',
    'q*',
    '(?:ef)+',
    '.',
    String.raw`\d`,
    '(?:gh|i)?',
    'k{2,3}',
  )
  const sample = fc.string({
    unit: fc.constantFrom('a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'k', 'q', 'x', 'z', '1'),
    maxLength: 14,
  })
  fc.assert(
    fc.property(
      fc.array(piece, { minLength: 1, maxLength: 5 }),
      fc.option(fc.array(piece, { maxLength: 3 })),
      sample,
      (first, second, text) => {
        const pattern = first.join('') + (second === null ? '' : `|${second.join('')}`)
        const facts = readPattern(pattern)
        if (typeof facts === 'string') return t.fail(facts)
        const found = new RegExp(pattern).exec(text)
        if (found !== null && facts.required !== null) {
          t.true(
            facts.required.some(needed => found[0].includes(needed)),
            `${pattern} on ${text}: ${facts.required.join()}`,
          )
        }
      },
    ),
    { numRuns: 5000 },
  )
})
