// Generates patterns of the common dialect and texts that have a chance to match them.
import { array, constantFrom, letrec, oneof, option, record, tuple, type Arbitrary } from 'fast-check'

const LETTERS = 'abcAB01_ -.\n'

const ATOMS =
  'a b c A B 0 1 _ - . \\. \\d \\D \\w \\W \\n \\x61 [ab] [^a] [a-c] [^\\w] [a\\d] [-a] [a-] [^\\n0] [\\x41-\\x43] (?:)'

const atoms = constantFrom(' ', ...ATOMS.split(' '))

const places = constantFrom('^', '$', '\\b', '\\B')

const quantifiers = constantFrom(
  '*',
  '+',
  '?',
  '{2}',
  '{1,2}',
  '{0,3}',
  '{2,}',
  '*?',
  '+?',
  '??',
  '{1,3}?',
  '{0,2}?',
)

const { pattern } = letrec<{ pattern: string; concat: string; item: string; inner: string }>(tie => ({
  pattern: array(tie('concat'), { minLength: 1, maxLength: 3 }).map(parts => parts.join('|')),
  concat: array(tie('item'), { maxLength: 4 }).map(parts => parts.join('')),
  item: oneof(
    { depthSize: 'small', withCrossShrink: true },
    { weight: 6, arbitrary: tuple(atoms, option(quantifiers, { freq: 3 })).map(([a, q]) => a + (q ?? '')) },
    { weight: 1, arbitrary: places },
    { weight: 2, arbitrary: tie('inner') },
    { weight: 1, arbitrary: tie('pattern').map(part => `(${part})`) },
  ),
  inner: tuple(tie('pattern'), option(quantifiers, { freq: 2 })).map(([part, q]) => `(?:${part})${q ?? ''}`),
}))

/** Patterns that native RegExp, RE2 and this engine read alike. Captures can be inside of repeats. */
export const patterns: Arbitrary<string> = pattern.filter(source => source.length <= 120)

/** Short texts over the letters of the patterns. */
export const texts: Arbitrary<string> = array(constantFrom(...LETTERS.split(''), 'é', '\u0416'), {
  maxLength: 24,
}).map(chars => chars.join(''))

/** Flags, each on or off. */
export const flags: Arbitrary<{ ignoreCase: boolean; dotAll: boolean; multiLine: boolean }> = record({
  ignoreCase: constantFrom(false, true),
  dotAll: constantFrom(false, true),
  multiLine: constantFrom(false, true),
})

/**
 * Whether native RegExp may choose another match: it leaves a repeated part early when a round was empty, and forgets
 * captures of earlier rounds, where Perl and RE2 do neither.
 */
export function repeatsGroups(source: string): boolean {
  return /\)[*+?{]/.test(source)
}
