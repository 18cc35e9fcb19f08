// The tests inside rules: every form of request, rules that score, rules that count.
import test from 'ava'
import { compileRules } from '../../src/ips/compile.ts'
import { runRuleTests } from '../../src/ips/rule-tests.ts'
import { readRules } from './read-rules.ts'

/** What the rule's own tests complain of. */
function problems(rule: string): readonly string[] {
  const documents = readRules(`pack: t\nrules:\n  - ${rule.replaceAll('\n', '\n    ')}\n`)
  const { ruleSet, problems: compiling } = compileRules(documents)
  return [...compiling, ...runRuleTests(ruleSet, documents)].map(({ message }) => message)
}

const rule = (when: string, fires: string, quiet: string, more = ''): string =>
  `{ id: r, title: t, severity: low, when: ${when}, ${more} tests: { fires: [${fires}], quiet: [${quiet}] } }`

const FORMS: readonly (readonly [name: string, when: string, fires: string, quiet: string])[] = [
  ['text', '{ in: body, has: evil }', '{ request: POST /x, body: EVIL }', '{ request: POST /x, body: good }'],
  [
    'bytes',
    '{ all: [{ in: path, has: /x }, { in: body, has: evil }] }',
    '{ request: POST /x, base64Body: ZXZpbA== }',
    '{ request: POST /x, base64Body: Z29vZA== }',
  ],
  [
    'form',
    '{ in: args.a, has: evil }',
    '{ request: POST /x, form: { a: evil } }',
    '{ request: POST /x, form: { b: evil } }',
  ],
  [
    'JSON',
    '{ in: args.a, has: evil }',
    '{ request: POST /x, json: { x: [{ a: evil }] } }',
    '{ request: POST /x, json: { b: evil } }',
  ],
  [
    'multipart field',
    '{ in: args.a, has: evil }',
    '{ request: POST /x, multipart: [{ name: a, content: evil }] }',
    '{ request: POST /x, multipart: [{ name: b, content: evil }] }',
  ],
  [
    'multipart file',
    '{ in: files.names, has: "../" }',
    '{ request: POST /x, multipart: [{ name: a, fileName: ../x.aspx, type: text/plain, base64: AAEC }] }',
    '{ request: POST /x, multipart: [{ name: a, fileName: x.aspx, content: ../ }] }',
  ],
  [
    'messages',
    '{ in: message, has: evil }',
    '{ request: GET /ws, messages: [good, { base64: ZXZpbA== }] }',
    '{ request: GET /ws, messages: [good] }',
  ],
  [
    'ClientHello',
    '{ all: [{ in: hello.ja4, has: bad }, { in: listener, equals: agents }] }',
    '{ hello: { ja4: t13bad }, listener: agents }',
    '{ hello: {}, listener: agents }, { hello: { ja4: t13bad } }',
  ],
  [
    'country',
    '{ in: source.country, equals: de }',
    '{ request: GET /, country: DE }',
    'GET /, { request: GET /, country: FR }',
  ],
]

for (const [name, when, fires, quiet] of FORMS) {
  test(`a test with ${name} fires and is quiet as it says`, t => {
    t.deepEqual(problems(rule(when, fires, quiet)), [])
    const reversed = problems(rule(when, quiet, fires))
    t.regex(reversed.at(0) ?? '', /does not fire on/)
    t.regex(reversed.at(-1) ?? '', /^r fires on/)
  })
}

test('a rule that scores is tested for its own hit, and may refuse nothing that is quiet', t => {
  t.deepEqual(
    problems(rule('{ in: args, has: evil }', "'GET /?a=evil'", "'GET /?a=x'", 'action: score,')),
    [],
  )
  const critical = rule(
    '{ in: args, has: evil }',
    "'GET /?a=evil'",
    "'GET /?b=evil'",
    'action: score,',
  ).replace('severity: low', 'severity: critical')
  t.is(problems(critical).length, 1)
})

const LOGIN = '{ all: [{ in: path, equals: /login }, { in: method, equals: post }] }'
const rate = (parts: string): string => `rate: { over: 5, per: 60s, hold: 5m, ${parts} },`

test('a rule that counts is tested with times over a while', t => {
  const times = (count: number, within: string, more = ''): string =>
    `{ request: POST /login, times: ${count}, within: ${within}${more} }`
  t.deepEqual(problems(rule(LOGIN, times(6, '10s'), times(5, '10s'), rate('by: source'))), [])
  t.deepEqual(problems(rule(LOGIN, times(12, '60s'), times(6, '10m'), rate('by: source'))), [])
  t.is(problems(rule(LOGIN, times(5, '10s'), times(6, '10s'), rate('by: source'))).length, 2)
  const failing = rate('by: source, on: failure')
  const console = (text: string): string => text.replace(' }', ', class: console }')
  t.deepEqual(
    problems(
      rule(
        LOGIN,
        console(times(7, '10s', ', status: 401')),
        console(times(7, '10s', ', status: 200')),
        failing,
      ),
    ),
    [],
  )
  t.deepEqual(
    problems(
      rule(
        LOGIN,
        times(7, '10s', ', form: { user: Bob }'),
        times(5, '10s', ', form: { user: bob }'),
        rate('by: source+user, user: args.user'),
      ),
    ),
    [],
  )
})

test('a rate that cannot count is a problem', t => {
  const one = (parts: string, when = LOGIN): string =>
    problems(rule(when, 'GET /', 'GET /', rate(parts))).join('\n')
  t.regex(one('by: source+user'), /names the field with the user/)
  t.regex(one('by: source, user: args.a'), /names the field with the user/)
  t.regex(one('by: source+user, user: nonsense'), /no field nonsense/)
  t.regex(one('by: source', '{ in: message, has: x }'), /look at requests/)
})
