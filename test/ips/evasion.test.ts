// Attacks on the reading of bodies: what a lenient server understands, rules must have seen.
import test from 'ava'
import { compileRules } from '../../src/ips/compile.ts'
import type { RuleSet } from '../../src/ips/rule-set.ts'
import { requestFacts } from '../policy/request.ts'
import { readRules } from './read-rules.ts'

const CRLF = '\r\n'

function ruleSet(when: string): RuleSet {
  const { ruleSet: compiled, problems } = compileRules(
    readRules(`pack: test\nrules:\n  - id: r\n    title: a rule\n    severity: high\n    when: ${when}\n`),
  )
  if (problems.length > 0) throw new Error(problems.map(({ message }) => message).join('\n'))
  return compiled
}

const named = ruleSet(`{ in: args.url, has: evil }`)
const anywhere = ruleSet(`{ in: args, has: evil }`)

/** Whether a body is held and the rule fires on it. */
function fires(rules: RuleSet, types: readonly string[], body: string | Buffer): boolean {
  const plain = requestFacts('POST', '/x', { headers: { 'content-length': '9' } })
  const raw = [...plain.headers.raw, ...types.flatMap(type => ['Content-Type', type])]
  const get = (name: string): string | undefined =>
    name === 'content-type' ? types[0] : plain.headers.get(name)
  const facts = { ...plain, headers: { raw, get } }
  const scope = {
    class: 'other',
    listener: 'https',
    country: 'US',
    site: null,
    sourceText: '198.51.100.1',
    nowMs: 0,
  } as const
  if (!rules.wantsBody(facts, scope)) return false
  const bytes = typeof body === 'string' ? Buffer.from(body, 'latin1') : body
  return rules.matchBody(facts, scope, bytes, true).length > 0
}

const JSON_TYPE = ['application/json']
const MULTIPART = ['multipart/form-data; boundary=b']
const part = (head: string, value: string): string =>
  `--b${CRLF}${head}${CRLF}${CRLF}${value}${CRLF}--b--${CRLF}`
const DISPOSITION = 'Content-Disposition: form-data'

test('attack: JSON that only lenient servers take (late comma, comments, single quotes, cut off)', t => {
  for (const body of [
    '{"url":"evil",}',
    '{"url":/**/"evil"/**/,}',
    "{'url':'evil'}",
    '{url:evil}',
    '// comment\n{"url":"evil"}',
    '{"u\\u0072l":"\\u0065vil",}',
    `{"url":"evil","padding":"${'x'.repeat(1_000)}`,
  ])
    t.true(fires(named, JSON_TYPE, body), body)
  t.false(fires(named, JSON_TYPE, '{"other":"evil",}'))
})

test('attack: a part that is made to look like a file, or to have another name', t => {
  for (const body of [
    part(`${DISPOSITION}; name="url"; x="; filename=z"`, 'evil'),
    part(`${DISPOSITION}; name="url"; filename=""`, 'evil'),
    part(`X: ; filename=z${CRLF}${DISPOSITION}; name="url"`, 'evil'),
    part(`${DISPOSITION}; x="; name=a"; name="url"`, 'evil'),
    part(`X: y; name=a${CRLF}${DISPOSITION}; name="url"`, 'evil'),
    part(`${DISPOSITION}; name="u\\rl"`, 'evil'),
    part(`${DISPOSITION};${CRLF} name="url"`, 'evil'),
    part(`${DISPOSITION}; name=url`, 'evil'),
    part(`${DISPOSITION}; name="%75rl"`, 'evil'),
  ])
    t.true(fires(named, MULTIPART, body), body)
  t.false(fires(named, MULTIPART, part(`${DISPOSITION}; name="url"; filename="a.txt"`, 'evil')))
})

test('attack: more parts than are read by name, and several boundaries', t => {
  const many = `--b${CRLF}${DISPOSITION}; name="a"${CRLF}${CRLF}1${CRLF}`.repeat(1_100)
  t.true(fires(anywhere, MULTIPART, many + part(`${DISPOSITION}; name="a"`, 'evil')))
  const body = part(`${DISPOSITION}; name="url"`, 'evil')
  t.true(fires(named, ['multipart/form-data; boundary=a; boundary=b'], body))
  t.true(fires(named, ['multipart/form-data; boundary=b; boundary=a'], body))
  t.true(fires(named, ['multipart/form-data; xboundary=a; boundary=b'], body))
  t.true(fires(anywhere, ['multipart/form-data'], body))
})

test('attack: two content types, the first of which says that there is nothing to read', t => {
  const form = 'application/x-www-form-urlencoded'
  t.true(fires(named, ['image/png', form], 'url=evil'))
  t.true(fires(named, [form, 'image/png'], 'url=evil'))
  t.true(fires(named, ['image/png, application/json'], '{"url":"evil"}'))
  t.true(fires(named, ['application/pdf; application/json'], '{"url":"evil"}'))
  t.false(fires(named, ['image/png'], '{"url":"evil"}'))
  t.false(fires(named, ['application/octet-stream; charset=binary'], '{"url":"evil"}'))
})

test('attack: UTF-16 without a mark, and NUL bytes that pretend to be UTF-16', t => {
  const text = '{"url":"evil"}'
  t.true(fires(named, JSON_TYPE, Buffer.from(text, 'utf16le')))
  t.true(fires(named, JSON_TYPE, Buffer.from(text, 'utf16le').swap16()))
  t.true(fires(anywhere, ['application/x-www-form-urlencoded'], 'a\0b\0=1&url=evil'))
})

test('attack: names with blanks or a NUL, as PHP and others cut them', t => {
  for (const body of ['%20url=evil', 'url%00x=evil', '+url=evil', 'url%20=evil'])
    t.true(fires(named, ['application/x-www-form-urlencoded'], body), body)
})
