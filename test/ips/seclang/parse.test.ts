// Reading of SecLang files: lines, quotes, variables, actions, and what is said of what cannot be read.
import test from 'ava'
import { array, assert, constantFrom, oneof, property, string } from 'fast-check'
import { parseActions, parseOperator, parseVariables } from '../../../src/ips/seclang/parse-parts.ts'
import { parseSecLang } from '../../../src/ips/seclang/parse.ts'
import { logicalLines, wordsOf } from '../../../src/ips/seclang/lines.ts'
import { compiled } from './support.ts'

test('lines are joined, comments and empty ones left out, and a comment never swallows the next line', t => {
  t.deepEqual(logicalLines('# a \\\nSecMarker x\r\n\n  SecAction \\\n  "id:1"\nlast \\'), [
    { line: 2, text: 'SecMarker x' },
    { line: 4, text: 'SecAction   "id:1"' },
    { line: 6, text: 'last \\' },
  ])
})

test('words follow the quoting of Apache', t => {
  t.deepEqual(wordsOf(String.raw`A "b \"c\" \\ \d" 'e f'  g`), ['A', String.raw`b "c" \ \d`, 'e f', 'g'])
  t.is(wordsOf('A "b'), null)
})

test('variables have members, patterns with bars in them, counts and exclusions', t => {
  t.deepEqual(parseVariables("ARGS|!ARGS:/a|b\\/c/|&tx:x|XML:/*|XML://@*|TX:'/y|z/'"), [
    { name: 'ARGS', selector: null, isPattern: false, kind: 'include' },
    { name: 'ARGS', selector: 'a|b/c', isPattern: true, kind: 'exclude' },
    { name: 'TX', selector: 'x', isPattern: false, kind: 'count' },
    { name: 'XML', selector: '/*', isPattern: false, kind: 'include' },
    { name: 'XML', selector: '//@*', isPattern: false, kind: 'include' },
    { name: 'TX', selector: 'y|z', isPattern: true, kind: 'include' },
  ])
  for (const wrong of ['', '|', 'ARGS:', 'ARGS:/a', "ARGS:'a", 'ARGS;x'])
    t.is(typeof parseVariables(wrong), 'string', wrong)
})

test('an operator is @rx unless it says otherwise', t => {
  t.deepEqual(parseOperator('!@within a b '), { name: 'within', argument: 'a b', isNegated: true })
  t.deepEqual(parseOperator('^a'), { name: 'rx', argument: '^a', isNegated: false })
  t.deepEqual(parseOperator('!^a'), { name: 'rx', argument: '^a', isNegated: true })
})

test('actions have values with quotes, commas and escaped quotes', t => {
  t.deepEqual(parseActions(String.raw`id:1, msg:'a, \'b\'',t:none,chain,setvar:tx.a=+%{tx.b}`), [
    { name: 'id', value: '1' },
    { name: 'msg', value: "a, 'b'" },
    { name: 't', value: 'none' },
    { name: 'chain', value: null },
    { name: 'setvar', value: 'tx.a=+%{tx.b}' },
  ])
  t.is(typeof parseActions("msg:'open"), 'string')
  t.is(typeof parseActions('a b:c'), 'string')
})

const PROBLEMS: readonly (readonly [
  source: string,
  line: number,
  level: 'error' | 'note',
  message: RegExp,
])[] = [
  ['\nSecRule ARGS "@rx a', 2, 'error', /quote .* not closed/],
  ['SecRule ARGS', 1, 'error', /has 1 words/],
  ['SecRule ARGS: "@rx a" "id:1"', 1, 'error', /has no member/],
  ['SecRule ARGS "@rx (a" "id:1"', 1, 'note', /rule 1: .*left out/],
  ['SecRule ARGS "@rx (?=a)" "id:1"', 1, 'note', /rule 1: .*left out/],
  ['SecRule ARGS "@rx a" "id:1,t:rot13"', 1, 'note', /no transform rot13/],
  ['SecRule NOTHING "@rx a" "id:1"', 1, 'note', /no variable NOTHING/],
  ['SecRule REMOTE_ADDR "@rbl example.org" "id:1"', 1, 'note', /name server/],
  ['SecRule ARGS "@frobnicate a" "id:1"', 1, 'note', /no operator @frobnicate/],
  ['SecRule ARGS "@pmFromFile none.data" "id:1"', 1, 'note', /none\.data is not among/],
  ['SecRule ARGS "@rx a" "id:1,fly"', 1, 'note', /no action fly/],
  ['SecRule ARGS "@rx a" "id:1,exec:/bin/sh"', 1, 'note', /exec is not offered/],
  ['SecRule ARGS "@rx a" "phase:2"', 1, 'note', /no id/],
  ['SecAction "id:1"\n\nSecAction "id:1"', 3, 'error', /used already at a\.conf:1/],
  ['SecAction "id:1,chain"', 1, 'error', /chain has no end/],
  ['SecAction "id:1,ctl:nothing=1"', 1, 'note', /no control nothing/],
  ['SecAction "id:1,setvar:env.a=1"', 1, 'note', /ENV cannot be written/],
  ['SecRuleRemoveById x', 1, 'error', /not an id/],
  ['SecRuleRemoveById 77', 1, 'note', /no rule before this line/],
  ['SecFly On', 1, 'note', /no directive SecFly/],
  ['Include missing.conf', 1, 'error', /not among the imported files/],
  ['Include a.conf', 1, 'error', /include each other/],
]

for (const [source, line, level, message] of PROBLEMS) {
  test(`${source.trim().slice(0, 60)} is said to be wrong, with its line`, t => {
    const { problems } = compiled(source)
    const found = problems.find(problem => message.test(problem.message))
    t.truthy(found, JSON.stringify(problems))
    t.is(found?.level, level)
    t.deepEqual([found?.at.file, found?.at.line], ['a.conf', line])
  })
}

test('directives about logs and limits of an engine are no problem', t => {
  t.deepEqual(compiled('SecRuleEngine On\nSecComponentSignature "x"\nSecRequestBodyLimit 1').problems, [])
})

test('files include each other by name, folder and pattern', t => {
  const source = {
    'main.conf': 'Include rules/*.conf\nIncludeOptional none/*.conf\nInclude /etc/crs/rules/b.more',
    'rules/b.more': 'SecAction "id:3"',
  }
  const files = new Map(
    Object.entries({ ...source, 'rules/1.conf': 'SecAction "id:1"', 'rules/2.conf': 'SecAction "id:2"' }),
  )
  const { steps, problems } = parseSecLang(files, ['main.conf'])
  t.deepEqual(problems, [])
  t.deepEqual(
    steps.map(step => step.at.file),
    ['rules/1.conf', 'rules/2.conf', 'rules/b.more'],
  )
})

test('no text makes reading fail or take long', t => {
  const piece = constantFrom(
    'SecRule ',
    'SecAction ',
    'ARGS',
    '|',
    '!',
    '&',
    ':',
    '/',
    "'",
    '"',
    '\\',
    '\n',
    ' ',
    ',',
    'id:1',
    'chain',
    '@rx ',
    '%{',
    '}',
    't:',
    'setvar:tx.a=',
    'ctl:ruleRemoveTargetById=1;ARGS:',
    'SecMarker ',
    'skipAfter:x',
    '(',
    '[',
    'SecRuleUpdateTargetById 1 ',
    '#',
  )
  const text = array(oneof(piece, string({ maxLength: 4 })), { maxLength: 60 }).map(parts => parts.join(''))
  assert(
    property(text, source => {
      const result = compiled(source)
      return result.problems.every(({ message, at }) => message !== '' && at.line >= 0)
    }),
    { numRuns: 1500 },
  )
  const long = `SecRule ${'ARGS|'.repeat(20_000)}ARGS "@rx ${'a'.repeat(50_000)}" "${"msg:'".repeat(10_000)}"`
  t.true(compiled(long).problems.length > 0)
})
