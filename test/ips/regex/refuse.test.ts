// Patterns that are refused: the message says what is wrong and the column where.
import test from 'ava'
import { assert, property, string } from 'fast-check'
import { compilePattern, isPattern } from '../../../src/ips/regex/compile.ts'

const ROWS: readonly (readonly [source: string, message: RegExp, column: number])[] = [
  ['a(?=b)', /look-ahead/, 2],
  ['a(?!b)', /look-ahead/, 2],
  ['(?<=a)b', /look-behind/, 1],
  ['(?<!a)b', /look-behind/, 1],
  ['(?>a)b', /atomic group/, 1],
  ['(a)\\1', /back-reference/, 4],
  ['(?<n>a)\\k<n>', /back-reference/, 8],
  ['(?P<n>a)(?P=n)', /back-reference/, 9],
  ['ab*+', /possessive/, 3],
  ['a{1,2}+', /possessive/, 2],
  ['(?R)', /recursion/, 1],
  ['(?(1)a)', /condition/, 1],
  ['(?|a)', /branch reset/, 1],
  ['(*ANYCRLF)a', /verb/, 1],
  ['(?x)a', /unknown kind of group/, 1],
  ['\\pL', /Unicode property/, 1],
  ['\\R', /\\R/, 1],
  ['\\q', /unknown escape \\q/, 1],
  ['\\xg', /hexadecimal/, 1],
  ['\\x{10000}', /U\+FFFF/, 1],
  ['[[:letters:]]', /unknown class/, 2],
  ['[b-a]', /range/, 2],
  ['x[a', /not closed/, 2],
  ['[\\A]', /anchor/, 2],
  ['(a', /not closed/, 1],
  ['a)', /closes nothing/, 2],
  ['*a', /nothing before it/, 1],
  ['a**', /cannot be repeated/, 3],
  ['a|{2}', /nothing before it/, 3],
  ['a{3,2}', /below its start/, 2],
  ['a{1001}', /1000 times/, 2],
  ['(?:a{1000}){1000}', /20000 steps/, 1],
  ['((((){1000}){1000}){1000}){1000}', /20000 steps/, 1],
  ['(?<a>x)(?<a>y)', /two groups/, 8],
  ['(?<1a>x)', /group name/, 1],
  ['\\', /ends too early/, 2],
  [`${'('.repeat(300)}${')'.repeat(300)}`, /200 deep/, 201],
  ['a'.repeat(70_000), /longer than/, 65_537],
]

test('what the dialect does not have is refused with its column', t => {
  for (const [source, message, column] of ROWS) {
    const problem = compilePattern(source)
    if (isPattern(problem)) t.fail(`${source} was taken`)
    else {
      t.regex(problem.message, message, source)
      t.is(problem.column, column, source)
    }
  }
})

test('any text is a pattern or a problem within it', t => {
  assert(
    property(string({ maxLength: 30, unit: 'binary' }), source => {
      const compiled = compilePattern(source)
      return isPattern(compiled) || (compiled.column >= 1 && compiled.column <= source.length + 1)
    }),
    { numRuns: 600, seed: 5 },
  )
  t.pass()
})
