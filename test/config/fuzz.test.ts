// Mutated policy files: whatever comes in, the loader answers with a snapshot or with placed problems, soon.
import test from 'ava'
import * as fc from 'fast-check'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { readYaml, decodeText } from '../../src/config/read.ts'
import { validate } from '../../src/config/validate.ts'
import { policyFile } from '../../src/config/schema.ts'
import { GOOD_POLICY, GOOD_PROFILE, GOOD_RULES, load, policyDirectory } from './support.ts'

const FULL = `${GOOD_POLICY}trusted: [203.0.113.10, { address: 198.51.100.0/24, note: Office }]
classes:
  agent: { countries: [home, CA] }
  console: { windows: ["Mon-Fri 07:00-19:00"], limits: { response: 2h, maxBody: 10MiB } }
  api: { keys: [{ header: X-Key, value: 0123456789abcdef0123 }] }
routes: [{ class: other, path: [/WCC2, "/a/**/b$"], methods: GET }]
sites:
  acme:
    name: Acme
    addresses: [192.0.2.0/28]
    tlsException: { minimum: TLSv1, reason: x, owner: y, expires: 2027-03-31 }
bans: [{ address: 192.0.2.77, reason: x, owner: y, expires: 2027-01-01 }]
rules: { modes: { generic: detect }, exceptions: [{ rule: no-secrets, paths: /a, reason: x, owner: y, expires: 2027-01-01 }] }
`

const PIECES = [
  '{',
  '}',
  '[',
  ']',
  ':',
  ': ',
  '- ',
  '\n',
  '\t',
  '  ',
  '"',
  "'",
  '&a ',
  '*a',
  '!x ',
  '#',
  '|',
  '>',
  '%',
  ',',
  '? ',
  '<<: ',
  'null',
  '0x1F',
  '~',
  '__proto__: 1\n',
  '\u0000',
  '\uFEFF',
  '\u2028',
  'ä',
  '---\n',
  '...\n',
  '-1',
  '1e999',
  'NO',
]

type Edit = { readonly at: number; readonly remove: number; readonly insert: string }

const edit: fc.Arbitrary<Edit> = fc.record({
  at: fc.nat({ max: 4_000 }),
  remove: fc.oneof(fc.constant(0), fc.nat({ max: 3 }), fc.nat({ max: 40 })),
  insert: fc.oneof(fc.constantFrom(...PIECES), fc.string({ maxLength: 12 })),
})

function apply(text: string, edits: readonly Edit[]): string {
  let out = text
  for (const { at, remove, insert } of edits) {
    const place = at % (out.length + 1)
    out = out.slice(0, place) + insert + out.slice(place + remove)
  }
  return out
}

test('a mutated policy never throws, and every problem has a place in the file', t => {
  const directory = policyDirectory(t)
  const file = join(directory, 'portcullis.yaml')
  let accepted = 0
  writeFileSync(file, FULL)
  const whole = load(directory)
  t.true(whole.ok, whole.ok ? '' : whole.problems.map(problem => problem.message).join('\n'))
  fc.assert(
    fc.property(fc.array(edit, { minLength: 1, maxLength: 6 }), edits => {
      const text = apply(FULL, edits)
      writeFileSync(file, text)
      const result = load(directory)
      if (result.ok) {
        accepted++
        return
      }
      const lines = text.split(/\r?\n/).length
      t.true(result.problems.length > 0)
      for (const { line, column, message } of result.problems) {
        t.true(line >= 0 && line <= lines && column >= 0, `${line}:${column} ${message}`)
        t.false(
          message.includes('defect') || message.includes('could not be compiled'),
          `${message}\n${text}`,
        )
      }
    }),
    // Seeded, because the last line asks for a share of harmless mutations.
    { numRuns: 250, seed: 20_261_121 },
  )
  t.true(accepted > 0, 'some mutations must be harmless, or nothing was mutated but garbage')
  t.log(`${accepted} of 250 mutations are valid policies`)
})

test('mutated profiles and rule packs never throw', t => {
  const directory = policyDirectory(t)
  fc.assert(
    fc.property(
      fc.constantFrom('profile', 'rules'),
      fc.array(edit, { minLength: 1, maxLength: 4 }),
      (kind, edits) => {
        writeFileSync(
          join(directory, 'profiles/tiny.yaml'),
          kind === 'profile' ? apply(GOOD_PROFILE, edits) : GOOD_PROFILE,
        )
        writeFileSync(
          join(directory, 'rules/generic.yaml'),
          kind === 'rules' ? apply(GOOD_RULES, edits) : GOOD_RULES,
        )
        const result = load(directory)
        for (const { message } of result.ok ? [] : result.problems)
          t.false(message.includes('could not be compiled'), message)
      },
    ),
    { numRuns: 250 },
  )
})

test('any data at all is validated without a throw', t => {
  fc.assert(
    fc.property(fc.jsonValue({ maxDepth: 6 }), value => {
      const read = readYaml('x', JSON.stringify(value))
      if (!read.ok) return
      const { problems } = validate(policyFile, read.source)
      t.true(problems.length > 0)
    }),
    { numRuns: 300 },
  )
})

test('a value under every key of the policy is validated without a throw', t => {
  const keys = Object.keys(policyFile.shape)
  fc.assert(
    fc.property(fc.constantFrom(...keys), fc.jsonValue({ maxDepth: 4 }), (key, value) => {
      const directory = policyDirectory(t, {
        'portcullis.yaml': `${GOOD_POLICY.split('\n')
          .filter((_, index) => !(key === 'home' && index === 1))
          .join('\n')}${JSON.stringify(key)}: ${JSON.stringify(value)}\n`,
      })
      const result = load(directory)
      for (const { message } of result.ok ? [] : result.problems)
        t.false(message.includes('could not be compiled'), message)
    }),
    { numRuns: 150 },
  )
})

test('any bytes are text or a sentence', t => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), bytes => {
      const decoded = decodeText(bytes)
      if ('text' in decoded) t.notThrows(() => readYaml('x', decoded.text))
      else t.true(decoded.problem.length > 0)
    }),
    { numRuns: 500 },
  )
})

test('files that are hard on a parser are refused, not hung on', t => {
  const hard = [
    '['.repeat(20_000),
    '{'.repeat(20_000),
    '- '.repeat(20_000),
    'a: '.repeat(10_000),
    '? '.repeat(10_000),
    '"'.repeat(20_000),
    Array.from({ length: 8_000 }, (_, index) => `k${index}: 1`).join('\n'),
    Array.from({ length: 8_000 }, () => 'k: 1').join('\n'),
    `a: ${'['.repeat(900)}${']'.repeat(900)}`,
    Array.from({ length: 500 }, (_, index) => `${' '.repeat(index)}a:`).join('\n'),
  ]
  for (const text of hard) {
    const read = readYaml('x', text)
    if (read.ok) t.true(validate(policyFile, read.source).problems.length > 0)
    else t.true(read.problems.length <= 25)
  }
})
