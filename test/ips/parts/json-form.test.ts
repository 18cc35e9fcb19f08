// Forms and JSON: what encoders write is read back, what lenient servers take is seen, limits hold.
import test from 'ava'
import * as fc from 'fast-check'
import { readForm } from '../../../src/ips/parts/form.ts'
import { INSPECTION_LIMITS } from '../../../src/ips/parts/limits.ts'
import { readJson } from '../../../src/ips/parts/json.ts'
import { pairs, read, utf8 } from './support.ts'

const FORM = 'application/x-www-form-urlencoded'
const JSON_TYPE = 'application/json'

test('a form is split and decoded once, byte by byte; order, case and duplicates stay', t => {
  const { kind, args, problems } = read(FORM, 'B=1&a=%41%2541+x&B=2&&flag&=v&n%00m=%e4%zz%4&x=a=b')
  t.is(kind, 'form')
  t.deepEqual(pairs(args), [
    ['B', '1'],
    ['a', 'A%41 x'],
    ['B', '2'],
    ['flag', ''],
    ['', 'v'],
    ['n\0m', '\xe4%zz%4'],
    ['x', 'a=b'],
  ])
  t.deepEqual(problems, [])
})

test('what the URL encoder of the platform writes is read back', t => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.string({ unit: 'binary' }), fc.string({ unit: 'binary' }))), entries => {
      const wanted = entries.filter(([name, value]) => name !== '' || value !== '')
      const text = new URLSearchParams(wanted).toString()
      const { parts } = readForm(text, 1000)
      t.deepEqual(
        pairs(parts),
        wanted.map(([name, value]) => [utf8(name.toWellFormed()), utf8(value.toWellFormed())]),
      )
    }),
    { numRuns: 200 },
  )
})

test('bomb: ten thousand parameters; the rest is one value', t => {
  const body = `${'a=1&'.repeat(10_000)}last=evil`
  const { args, problems } = read(FORM, body)
  t.is(args.length, INSPECTION_LIMITS.formParameters + 1)
  t.deepEqual(problems, ['form-count'])
  t.true(args.at(-1)?.value.endsWith('&last=evil'))
})

test('JSON gives its leaves by path, with escapes undone to UTF-8 and duplicates kept', t => {
  const { kind, args, problems } = read(
    JSON_TYPE,
    utf8('{"a":{"b":[1,"x\\u00e9\\ud83d\\ude00\\n",{"c":null}]},"a":true,"é":-1.5e3,"e":{},"l":[]}'),
  )
  t.is(kind, 'json')
  t.deepEqual(pairs(args), [
    ['a.b.0', '1'],
    ['a.b.1', utf8('xé😀\n')],
    ['a.b.2.c', 'null'],
    ['a', 'true'],
    [utf8('é'), '-1.5e3'],
    ['e', ''],
    ['l', ''],
  ])
  t.deepEqual(problems, ['json-duplicate'])
  t.deepEqual(pairs(read(JSON_TYPE, '"evil"').args), [['', 'evil']])
  t.deepEqual(pairs(read(JSON_TYPE, ' \ufeff'.slice(0, 1) + '["a"]').args), [['0', 'a']])
})

function leaves(value: unknown, path: string, into: [string, string][]): void {
  const name = (key: string): string => (path === '' ? key : `${path}.${key}`)
  if (typeof value === 'object' && value !== null) {
    const entries = Object.entries(value)
    if (entries.length === 0 && path !== '') into.push([path, ''])
    for (const [key, item] of entries) leaves(item, name(key), into)
  } else
    into.push([
      utf8(path.toWellFormed()),
      typeof value === 'string' ? utf8(value.toWellFormed()) : String(value),
    ])
}

test('what the JSON encoder of the platform writes is read back, and nothing of it is a problem', t => {
  fc.assert(
    fc.property(fc.jsonValue({ maxDepth: 5 }), fc.constantFrom(undefined, 1), (value, indent) => {
      const text = JSON.stringify(value, null, indent)
      const expected: [string, string][] = []
      leaves(JSON.parse(text), '', expected)
      const { parts, problems } = readJson(utf8(text), true, INSPECTION_LIMITS)
      t.deepEqual([...problems], [])
      // Empty keys make paths that this test writes otherwise.
      if (!/""\s*:/.test(text))
        t.deepEqual(
          pairs(parts)
            .map(([, v]) => v)
            .sort(),
          expected.map(([, v]) => v).sort(),
        )
      if (!/""\s*:/.test(text) && !/[^\0-\x7f]|\\u/.test(text)) t.deepEqual(pairs(parts), expected)
    }),
    { numRuns: 300 },
  )
})

test('the same documents as the parser of the platform are broken', t => {
  const text = fc.string({
    unit: fc.constantFrom('{', '}', '[', ']', ',', ':', '"', 'a', '1', '-', '.', ' ', '\\', 'true', '"k":'),
  })
  fc.assert(
    fc.property(text, document => {
      let isJson = true
      try {
        JSON.parse(document)
      } catch {
        isJson = false
      }
      const { problems } = readJson(document, true, INSPECTION_LIMITS)
      t.is(!problems.has('json-broken'), isJson, document)
    }),
    { numRuns: 3_000 },
  )
})

test('attack: JSON for lenient servers: the leaf is named all the same, and the whole text is a value', t => {
  for (const body of [
    '{"url":"evil",}',
    '{"url":/**/"evil"}',
    "{'url':'evil'}",
    '{url:"evil"}',
    '// c\n{"url":"evil"}',
    '{"url":"\\x65vil"}',
    '{"url" "evil"}',
    '{"a":NaN,"url":"evil"}',
    '{"url":"evil"}}',
    '{"url":"evil"} {"b":1}',
    '[{"url":"evil"}',
  ]) {
    const { args, problems } = read(JSON_TYPE, body)
    t.true(
      args.some(({ name, value }) => /^(?:0\.)?url$/.test(name) && value === 'evil'),
      body,
    )
    t.true(problems.includes('json-broken'), body)
    t.deepEqual(args.at(-1), { name: '', value: body })
  }
  const cut = read(JSON_TYPE, '{"a":1,"url":"evi', { complete: false })
  t.deepEqual(pairs(cut.args), [
    ['a', '1'],
    ['url', 'evi'],
  ])
  t.deepEqual(cut.problems, ['cut-off'])
  t.deepEqual(pairs(read(JSON_TYPE, '{"a', { complete: false }).args), [['a', '']])
})

test('bomb: JSON of a depth of 100,000, of 100,000 leaves, and a long key above many leaves', t => {
  const deep = read(JSON_TYPE, `${'['.repeat(100_000)}"evil"${']'.repeat(100_000)}`)
  t.deepEqual(deep.problems, ['json-depth'])
  t.is(deep.args.length, 1)
  t.true(deep.args[0]?.value.includes('"evil"'))
  const objects = read(JSON_TYPE, `${'{"a":'.repeat(100_000)}1${'}'.repeat(100_000)}`)
  t.deepEqual(objects.problems, ['json-depth'])
  const wide = read(JSON_TYPE, `[${'1,'.repeat(100_000)}"evil"]`)
  t.deepEqual(wide.problems, ['json-count'])
  t.is(wide.args.length, INSPECTION_LIMITS.jsonLeaves + 1)
  t.true(wide.args.at(-1)?.value.endsWith('"evil"]'))
  const key = 'k'.repeat(60_000)
  const { args } = read(JSON_TYPE, `{"${key}":[${'1,'.repeat(9_000)}1]}`)
  t.is(args[0]?.name, key)
  t.true(args.reduce((sum, { name }) => sum + name.length, 0) < 200_000)
})
