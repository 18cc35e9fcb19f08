// What rules written in SecLang do: chains, captures, scores, jumps, exclusions, control of other rules.
import test from 'ava'
import { ask, compiled } from './support.ts'

const fires = (source: string, target: string, asked: Parameters<typeof ask>[2] = {}): readonly number[] => {
  const rules = compiled(source)
  const errors = rules.problems.map(({ message }) => message)
  if (errors.length > 0) throw new Error(errors.join('\n'))
  return ask(rules, target, asked).fired
}

test('all links of a chain must hold; what they set stays when they do not', t => {
  const rules = compiled(`
SecRule ARGS:a "@rx ^(\\d+)-(\\d+)$" "id:1,phase:1,capture,msg:'%{tx.1}',chain,setvar:tx.seen=1"
  SecRule TX:2 "@lt %{tx.1}" "setvar:tx.score=+5"`)
  t.deepEqual(ask(rules, '/?a=9-3').fired, [1])
  const other = ask(rules, '/?a=3-9')
  t.deepEqual(other.fired, [])
  t.is(other.tx.get('seen'), '1')
  t.is(other.tx.get('score'), undefined)
  t.is(ask(rules, '/?a=9-3').tx.get('score'), '5')
  t.deepEqual(ask(rules, '/?a=9-3').log, ['9'])
})

test('every matching value counts, and matched variables can be looked at', t => {
  const rules = compiled(`
SecRule ARGS "@contains x" "id:1,phase:1,setvar:tx.n=+1,chain"
  SecRule MATCHED_VARS "@streq xy" "logdata:'%{MATCHED_VAR_NAME}'"`)
  t.is(ask(rules, '/?a=x&b=xy&c=z').tx.get('n'), '2')
  t.deepEqual(ask(rules, '/?a=x&b=xy&c=z').fired, [1])
  t.deepEqual(ask(rules, '/?a=x&b=xx').fired, [])
})

test('counts, exclusions and patterns of members', t => {
  t.deepEqual(fires('SecRule &ARGS "@eq 2" "id:1"', '/?a=1&b=2'), [1])
  t.deepEqual(fires('SecRule &REQUEST_HEADERS:X-Y "@eq 0" "id:1"', '/'), [1])
  t.deepEqual(fires('SecRule ARGS|!ARGS:b "@streq 2" "id:1"', '/?a=1&B=2'), [])
  t.deepEqual(fires('SecRule ARGS:/^b/ "@streq 2" "id:1"', '/?a=1&Bcd=2'), [1])
  t.deepEqual(fires('SecRule ARGS_NAMES|!ARGS_NAMES:/^a/ "@rx ." "id:1"', '/?ab=2'), [])
})

test('jumps leave out what stands before their marker, in their phase only', t => {
  const source = `
SecAction "id:1,phase:1,skipAfter:END"
SecAction "id:2,phase:1"
SecAction "id:3,phase:2"
SecMarker END
SecAction "id:4,phase:1"`
  t.deepEqual(fires(source, '/'), [1, 4, 3])
  t.deepEqual(fires('SecAction "id:1,phase:1,skipAfter:NONE"\nSecAction "id:2,phase:1"', '/'), [1])
})

test('control actions take out rules and targets by id, range and tag', t => {
  const rules = 'SecRule ARGS "@rx x" "id:10,tag:t/a"\nSecRule ARGS "@rx x" "id:20,tag:t/b"'
  t.deepEqual(fires(`SecAction "id:1,phase:1,ctl:ruleRemoveById=10-15"\n${rules}`, '/?a=x'), [1, 20])
  t.deepEqual(fires(`SecAction "id:1,phase:1,ctl:ruleRemoveByTag=t/."\n${rules}`, '/?a=x'), [1])
  t.deepEqual(
    fires(`SecAction "id:1,phase:1,ctl:ruleRemoveTargetById=10;ARGS:a"\n${rules}`, '/?a=x'),
    [1, 20],
  )
  t.deepEqual(
    fires(`SecAction "id:1,phase:1,ctl:ruleRemoveTargetByTag=t/b;ARGS:/^A$/"\n${rules}`, '/?a=x'),
    [1, 10],
  )
  t.deepEqual(
    fires(`SecAction "id:1,phase:1,ctl:ruleRemoveTargetById=10;ARGS:a"\n${rules}`, '/?a=x&b=x'),
    [1, 10, 20],
  )
  t.deepEqual(fires(`SecAction "id:1,phase:1,ctl:ruleEngine=Off"\n${rules}`, '/?a=x'), [1])
  t.deepEqual(fires(`SecAction "id:1,phase:1,allow"\n${rules}`, '/?a=x'), [1])
})

test('directives change and remove rules that stand before them', t => {
  const rule = 'SecRule ARGS "@rx x" "id:10,tag:t"'
  t.deepEqual(fires(`${rule}\nSecRuleRemoveById 10`, '/?a=x'), [])
  t.deepEqual(fires(`${rule}\nSecRuleRemoveByTag t`, '/?a=x'), [])
  t.deepEqual(fires(`${rule}\nSecRuleUpdateTargetById 10 "!ARGS:a"`, '/?a=x'), [])
  t.deepEqual(fires(`${rule}\nSecRuleUpdateTargetByTag t "REQUEST_METHOD"`, '/?a=x'), [10])
  t.is(compiled(`${rule}\nSecRuleUpdateActionById 10 "deny"`).rules[0]?.action, 'block')
})

test('transforms apply in order, none clears the defaults, multiMatch asks after each', t => {
  const source = 'SecDefaultAction "phase:2,pass,t:lowercase"\n'
  t.deepEqual(fires(`${source}SecRule ARGS "@streq ab" "id:1"`, '/?a=AB'), [1])
  t.deepEqual(fires(`${source}SecRule ARGS "@streq ab" "id:1,t:none"`, '/?a=AB'), [])
  t.deepEqual(fires('SecRule ARGS "@streq %41" "id:1,t:urlDecode,t:lowercase"', '/?a=%2541'), [])
  t.deepEqual(fires('SecRule ARGS "@streq %41" "id:1,multiMatch,t:urlDecode,t:lowercase"', '/?a=%2541'), [1])
})

test('what a rule of deny, block and pass is', t => {
  const action = (actions: string, before = ''): string | undefined =>
    compiled(`${before}SecRule ARGS "@rx x" "id:1,${actions}"`).rules[0]?.action
  t.is(action('deny'), 'block')
  t.is(action('drop'), 'block')
  t.is(action('block'), 'score')
  t.is(action('block', 'SecDefaultAction "phase:2,deny"\n'), 'block')
  t.is(action('pass,nolog'), 'control')
})

test('bodies: forms, JSON under its prefix, XML texts and attributes, and the processor that reads them', t => {
  const form = { method: 'POST', headers: { 'content-type': 'application/x-www-form-urlencoded' } }
  t.deepEqual(fires('SecRule ARGS_POST:a "@streq b c" "id:1"', '/', { ...form, body: 'a=b+c' }), [1])
  t.deepEqual(fires('SecRule REQUEST_BODY "@streq a=b+c" "id:1"', '/', { ...form, body: 'a=b+c' }), [1])
  const json = { method: 'POST', headers: { 'content-type': 'application/json' } }
  const source = 'SecRule ARGS:json.a.b "@streq x" "id:1"\nSecRule REQBODY_PROCESSOR "@streq JSON" "id:2"'
  t.deepEqual(fires(source, '/', { ...json, body: '{"a":{"b":["x"]}}' }).slice(-1), [2])
  const odd = { method: 'POST', headers: { 'content-type': 'text/plain' }, body: 'a=%41' }
  t.deepEqual(
    fires(
      'SecAction "id:1,phase:1,nolog,ctl:requestBodyProcessor=URLENCODED"\nSecRule ARGS:a "@streq A" "id:2"',
      '/',
      odd,
    ),
    [1, 2],
  )
})

const OPERATORS: readonly (readonly [operator: string, holds: readonly string[], not: readonly string[]])[] =
  [
    ['@streq ab', ['ab'], ['a', 'abc']],
    ['@contains b', ['abc'], ['ac']],
    ['@containsWord b', ['a b c', 'b'], ['abc', 'b_']],
    ['@beginsWith ab', ['abc'], ['cab']],
    ['@endsWith bc', ['abc'], ['bca']],
    ['@within a,bc', ['bc', 'a'], ['d', 'abc']],
    ['@pm foo |42|ar', ['xFOOx', 'bar'], ['fo', 'oar']],
    ['@pmFromFile words.data', ['the ONE', 'two words here'], ['comment', 'tw']],
    ['@ge 3', ['3', '4x'], ['2', 'x']],
    ['@gt -1', ['0', ''], ['-1']],
    ['@le 3', ['3', 'x'], ['4']],
    ['@eq 3', ['3', ' +3'], ['33']],
    ['@ipMatch 10.0.0.0/8,2001:db8::/32', ['10.1.2.3', '2001:db8::1'], ['11.0.0.1', 'x']],
    ['@validateByteRange 32-126', ['\x01', 'a\xff'], ['abc', '']],
    ['@validateUrlEncoding', ['%', 'a%2', '%zz'], ['%41', 'a']],
    [
      '@validateUtf8Encoding',
      ['\xff', '\xc0\xae', '\xe0\x80\xae', '\xed\xa0\x80', '\xc3'],
      ['a', '\xc3\xa4', '\xf0\x9f\x98\x80'],
    ],
    ['@unconditionalMatch', ['', 'a'], []],
    ['@noMatch', [], ['a']],
    ['@detectSQLi', ['1 union select 2'], ['a']],
    ['@detectXSS', ['<script>'], ['a']],
    ['@rx ^a.c$', ['abc', 'a\nc'], ['abcd', 'abc\n']],
  ]

test('operators hold where they must and nowhere else', t => {
  for (const [operator, holds, not] of OPERATORS) {
    const rules = compiled({
      'a.conf': `SecRule ARGS:v "${operator}" "id:1"\nSecRule ARGS:v "!${operator}" "id:2"`,
      'words.data': '# comment\none\n\ntwo words\n',
    })
    t.deepEqual(rules.problems, [], operator)
    const escaped = (value: string): string =>
      Array.from(value, character => `%${character.charCodeAt(0).toString(16).padStart(2, '0')}`).join('')
    for (const value of holds)
      t.deepEqual(ask(rules, `/?v=${escaped(value)}`).fired, [1], `${operator}: ${value}`)
    for (const value of not)
      t.deepEqual(ask(rules, `/?v=${escaped(value)}`).fired, [2], `${operator}: ${value}`)
  }
})

test('rules of the response are listed and not asked', t => {
  const rules = compiled('SecRule RESPONSE_BODY "@rx x" "id:1,phase:4,msg:\'leak\'"')
  t.deepEqual(rules.rules, [])
  t.deepEqual(
    rules.unasked.map(({ id, title, reason }) => [id, title, reason]),
    [['x-1', 'leak', 'it looks at responses']],
  )
})

test('bomb: a data file of very many phrases loads, one of too many leaves its rule out', t => {
  const rule = 'SecRule ARGS "@pmFromFile words.data" "id:1,phase:2,deny"'
  const words = (count: number): string => Array.from({ length: count }, (_, at) => `w${at}`).join('\n')
  t.is(compiled({ 'a.conf': rule, 'words.data': words(40_000) }).problems.length, 0)
  const [problem] = compiled({ 'a.conf': rule, 'words.data': words(300_000) }).problems
  t.regex(problem?.message ?? '', /longer than 250000 characters together/)
})
