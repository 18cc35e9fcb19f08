// The pattern engine against native RegExp: same answer, same place, same captures, for generated patterns and texts.
import test from 'ava'
import { array, assert, property } from 'fast-check'
import { compilePattern, isPattern } from '../../../src/ips/regex/compile.ts'
import type { Pattern, PatternFlags, PatternMatch } from '../../../src/ips/regex/types.ts'
import { flags, patterns, repeatsGroups, texts } from './generate.ts'

function compiled(source: string, given: PatternFlags = {}): Pattern {
  const pattern = compilePattern(source, given)
  if (!isPattern(pattern)) throw new Error(`${source}: ${pattern.message} at ${pattern.column}`)
  return pattern
}

function native(source: string, given: PatternFlags): RegExp {
  const letters = [given.ignoreCase && 'i', given.dotAll && 's', given.multiLine && 'm']
  return new RegExp(source, letters.filter(Boolean).join(''))
}

test('generated patterns match what native RegExp matches, at the same place and with the same captures', t => {
  let matches = 0
  assert(
    property(patterns, flags, array(texts, { minLength: 3, maxLength: 5 }), (source, given, list) => {
      const pattern = compiled(source, given)
      const oracle = native(source, given)
      for (const text of list) {
        const expected = oracle.exec(text)
        const found = pattern.exec(text)
        if (pattern.test(text) !== (expected !== null)) return false
        if ((found === null) !== (expected === null)) return false
        if (found === null || expected === null) continue
        matches++
        if (repeatsGroups(source)) continue
        if (found.index !== expected.index) return false
        if (JSON.stringify(found.groups) !== JSON.stringify([...expected])) return false
      }
      return true
    }),
    { numRuns: 1500, seed: 20_261_121 },
  )
  t.true(matches > 1500)
})

type Row = readonly [
  source: string,
  text: string,
  expected: readonly (string | undefined)[] | null,
  PatternFlags?,
]

const ROWS: readonly Row[] = [
  // Perl's choice, and what RE2 and Perl keep where native RegExp forgets.
  ['a|ab', 'ab', ['a']],
  ['(a+?)(a*)', 'aaa', ['aaa', 'a', 'aa']],
  ['(?:(a)|b)*', 'ab', ['ab', 'a']],
  ['(|a)+', 'aa', ['', '']],
  ['(?:|a)*b', 'aab', ['aab']],
  ['(a*)*', 'b', ['', '']],
  ['(a|b){2}', 'ab', ['ab', 'b']],
  ['(x)?y', 'y', ['y', undefined]],
  ['(?P<name>a)(?<other>b)', 'ab', ['ab', 'a', 'b']],
  // The ends of a text: $ is not before a final newline, \Z is.
  ['a$', 'a\n', null],
  ['a$', 'a', ['a']],
  ['a\\z', 'a\n', null],
  ['a\\Z', 'a\n', ['a']],
  ['a\\Z', 'a', ['a']],
  ['a\\Z', 'a\n\n', null],
  ['\\Aa\\Z', 'a\n', ['a']],
  ['\\Ab', 'ab', null],
  ['^b', 'a\nb', null],
  ['^b', 'a\nb', ['b'], { multiLine: true }],
  ['a$', 'a\nb', ['a'], { multiLine: true }],
  ['\\Ab', 'a\nb', null, { multiLine: true }],
  ['(?m)^b$', 'a\nb\nc', ['b']],
  // Dots and white space.
  ['a.b', 'a\nb', null],
  ['a.b', 'a\rb', ['a\rb']],
  ['a.b', 'a\nb', ['a\nb'], { dotAll: true }],
  ['(?s:a.)b', 'a\nb', ['a\nb']],
  ['\\s', '\x0b', ['\x0b']],
  ['\\s', '\xa0', null],
  ['\\v', '\x85', ['\x85']],
  ['\\h', '\xa0', ['\xa0']],
  ['\\H\\V\\N', ' ab', null],
  // Flags within a pattern reach to the end of their group.
  ['a(?i)b|c', 'C', ['C']],
  ['(a(?i)b)c', 'aBC', null],
  ['(?i:a)b', 'Ab', ['Ab']],
  ['(?i)a(?-i)b', 'AB', null],
  ['(?i)[^a]', 'A', null],
  ['(?i)[x-z]', 'Y', ['Y']],
  ['(?i)\\x{416}', '\u0436', ['\u0436']],
  ['(?i)\\xe9', '\xc9', null],
  ['\\x{ffff}', '\uffff', ['\uffff']],
  // Classes.
  ['[]a]+', 'a]', ['a]']],
  ['[^]a]', ']', null],
  ['[[:alpha:]_-]+', 'ab-_1', ['ab-_']],
  ['[[:^digit:]]', '1a', ['a']],
  ['[a-\\d]+', '1-a', ['1-a']],
  ['[\\b]', '\b', ['\b']],
  ['[\\x5c\\]]+', '\\]', ['\\]']],
  ['[\\x00-\\x{ffff}]', '\n', ['\n']],
  ['[^\\x00-\\x{ffff}]', 'a', null],
  // Braces that are no count, quotes, comments, numbers.
  ['a{,2}{', 'a{,2}{', ['a{,2}{']],
  ['a{2', 'a{2', ['a{2']],
  ['{a}', '{a}', ['{a}']],
  ['\\Qa.b\\E+', 'a.bb', ['a.bb']],
  ['a(?#comment)b', 'ab', ['ab']],
  ['\\0\\012\\x9\\cA', '\0\n\t\x01', ['\0\n\t\x01']],
  ['(?:\\b)*a', 'a', ['a']],
  ['(a){0}b', 'ab', ['b', undefined]],
]

test('what the dialect means where engines differ', t => {
  for (const [source, text, expected, given] of ROWS) {
    const pattern = compiled(source, given)
    const found: PatternMatch | null = pattern.exec(text)
    t.deepEqual(found?.groups ?? null, expected, `${source} on ${JSON.stringify(text)}`)
    t.is(pattern.test(text), expected !== null, `${source} on ${JSON.stringify(text)}`)
  }
})

test('a long match is cut, but is still one, with its captures', t => {
  const tail = 'b'.repeat(20_000)
  const found = compiled('x(a).*|a(b+)$').exec(`xa${tail}`)
  t.is(found?.index, 0)
  t.is(found?.groups[1], 'a')
  t.regex(found?.groups[0] ?? '', /^xab{4000,5000}$/)
  const toEnd = compiled('a(b+)$').exec(`xa${tail}`)
  t.is(toEnd?.groups[1], tail)
})

test('names of groups lead to their index', t => {
  t.deepEqual(
    [...compiled('(a)(?<x>b)(?P<y>c)').groupNames],
    [
      ['x', 2],
      ['y', 3],
    ],
  )
})

test('a text that defeats the table of states still gets the right answer', t => {
  const pattern = compiled('(?:a|b)*a(?:a|b){14}c|x[^y]{3}y$')
  const oracle = /(?:a|b)*a(?:a|b){14}c|x[^y]{3}y$/
  let seed = 7
  const next = (bound: number): number => {
    seed = (Math.imul(seed, 1_103_515_245) + 12_345) & 0x7fffffff
    return (seed >>> 12) % bound
  }
  for (let round = 0; round < 40; round++) {
    let text = ''
    for (let i = 0; i < 4000; i++) text += 'ab'[next(2)]
    for (const end of ['', 'c', 'xabcy', 'xabcyz']) {
      t.is(pattern.test(text + end), oracle.test(text.slice(-40) + end))
    }
  }
})
