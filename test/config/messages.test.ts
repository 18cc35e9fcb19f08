// Rendered messages, whole: what an admin sees.
import test, { type ExecutionContext } from 'ava'
import { formatProblem, renderProblem } from '../../src/config/problems.ts'
import { editDistance, suggest } from '../../src/config/spelling.ts'
import { GOOD_POLICY, load, policyDirectory } from './support.ts'

function rendered(t: ExecutionContext, text: string): string {
  const result = load(policyDirectory(t, { 'portcullis.yaml': text }))
  return result.ok ? 'accepted' : result.problems.map(renderProblem).join('\n')
}

test('a misspelt key is shown with its line, a caret and the right spelling', t => {
  const text = GOOD_POLICY.replace('{ upstream: rmm }', '{ upstraem: rmm }')
  t.is(
    rendered(t, text),
    `policies/portcullis.yaml:8:23: unknown key "upstraem" in names.rmm.example.test
  8 |   rmm.example.test: { upstraem: rmm }
    |                       ^
  hint: did you mean "upstream"?`,
  )
})

test('several problems are told at once, from schema and references alike, without their consequences', t => {
  const text = `version: 1
home: [US, UK]
model: agents-only
profile: tiny
listeners:
  https: { address: "127.0.0.1:8443", tls: modren }
names:
  rmm.example.test: { upstream: rmm }
  two.example.test: { upstream: rmn }
upstreams:
  rmm: { primary: "http://127.0.0.1:9080" }
trusted:
  - 203.0.113.7/24
  - 203.0.113.0/24
  - 0.0.0.0/0
`
  t.is(
    rendered(t, text),
    `policies/portcullis.yaml:2:12: "UK" is not an ISO 3166-1 country code
  2 | home: [US, UK]
    |            ^
  hint: did you mean GB?
policies/portcullis.yaml:3:8: "agents-only" is not a value of model
  3 | model: agents-only
    |        ^
  hint: did you mean "agent-only"? possible: all-traffic, agent-only, mixed
policies/portcullis.yaml:6:44: "modren" is not a value of tls
  6 |   https: { address: "127.0.0.1:8443", tls: modren }
    |                                            ^
  hint: did you mean "modern"? possible: modern, strict, legacy
policies/portcullis.yaml:9:33: there is no upstream "rmn"
  9 |   two.example.test: { upstream: rmn }
    |                                 ^
  hint: did you mean "rmm"?
policies/portcullis.yaml:13:5: "203.0.113.7/24" is not a network: the address has bits set beyond the prefix
  13 |   - 203.0.113.7/24
     |     ^
  hint: did you mean the network 203.0.113.0/24 or the one address 203.0.113.7?
policies/portcullis.yaml:15:5: 0.0.0.0/0 is everybody: nothing would be trusted any more
  15 |   - 0.0.0.0/0
     |     ^
  hint: name the addresses`,
  )
})

test('a secret in the offending line is covered', t => {
  const text = `${GOOD_POLICY}classes: { api: { keys: [{ header: A, value: "top-secret-top-secret", sha: x }] } }\n`
  const message = rendered(t, text)
  t.regex(message, /unknown key "sha"/)
  t.false(message.includes('top-secret'))
  const caret = message.split('\n')
  t.is(caret[1]?.indexOf('sha: x'), caret[2]?.indexOf('^'))
})

test('escape sequences of a file do not reach the terminal, and long lines are cut around the place', t => {
  const text = `${GOOD_POLICY}"a\\e[31m": 1 # ${'x'.repeat(300)}\nbans: [ ${' '.repeat(400)} 5 ]\n`
  const message = rendered(t, text)
  t.false(message.includes('\u001b'))
  for (const line of message.split('\n')) t.true(line.length < 420, line)
})

test('a problem on one line carries its hint', t => {
  const result = load(policyDirectory(t, { 'portcullis.yaml': GOOD_POLICY.replace('[US]', '[UK]') }))
  t.is(
    result.ok ? '' : result.problems.map(formatProblem).join(),
    'policies/portcullis.yaml:2:8: "UK" is not an ISO 3166-1 country code (did you mean GB?)',
  )
})

test('missing files are told by name', t => {
  const directory = policyDirectory(t)
  const result = load(`${directory}/nowhere`)
  t.is(result.ok ? '' : result.problems.map(renderProblem).join(), 'policies/portcullis.yaml: no such file')
})

test('spelling: swaps and neighbours count one, strangers get no suggestion', t => {
  t.is(editDistance('abc', 'acb'), 1)
  t.is(editDistance('abc', 'abc'), 0)
  t.is(editDistance('', 'abc'), 3)
  t.is(editDistance('kitten', 'sitting'), 3)
  t.is(suggest('lisnters', ['listeners', 'limits']), 'listeners')
  t.is(suggest('tls_exception', ['tlsException']), 'tlsException')
  t.is(suggest('zzzz', ['listeners', 'limits']), undefined)
})
