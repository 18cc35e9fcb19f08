// Patches of a policy file: the result means the merged policy, and no line that the patch does not concern changes.
import { readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import * as fc from 'fast-check'
import test from 'ava'
import { parse } from 'yaml'
import { mergePatch, mergedValue } from '../../src/config/edit-policy.ts'

const SHIPPED = readFileSync(join(resolve(import.meta.dirname, '../..'), 'policies/portcullis.yaml'), 'utf8')

function edited(text: string, patch: string): string {
  const result = mergePatch('portcullis.yaml', text, patch)
  if (!result.ok) throw new Error(result.problem)
  return result.text
}

test('every line of the shipped policy stays when a site is added', t => {
  const after = edited(SHIPPED, 'sites:\n  acme:\n    addresses: [203.0.113.10]\n')
  t.is(after, `${SHIPPED}\nsites:\n  acme:\n    addresses: [203.0.113.10]\n`)
})

const TRICKY = `# Top
home: US # the one
sites: {}
rules:   # rules
  packs: [generic] # only
  exceptions:
  - rule: a   # first
    sites: [x]
  # end of exceptions
names: { a.b: { upstream: rmm } }   # one line
limits:
# nothing here yet

allow: # none
trusted: [ 1.1.1.1, # office
  2.2.2.2 ]
geo:
    private: allow  # four blanks

    # the end`

const CASES: readonly (readonly [string, string, RegExp])[] = [
  ['a scalar that may be a list becomes one', 'home: [GB]', /^home: \[US, GB\] # the one$/m],
  [
    'an empty flow map becomes a block',
    'sites:\n  a:\n    name: b\n',
    /^sites:\n {2}a:\n {4}name: b\nrules:/m,
  ],
  [
    'an item joins a list in the style of that list',
    'rules:\n  exceptions:\n    - rule: b\n      sites: [y]\n',
    / {4}sites: \[x\]\n {2}- rule: b\n {4}sites: \[y\]\n {2}# end/,
  ],
  [
    'a flow map gets a key',
    'names:\n  c.d: { upstream: rmm }\n',
    /upstream: rmm }, c\.d: { upstream: rmm } } {3}# one/,
  ],
  [
    'a flow map deep inside gets a key',
    'names:\n  a.b:\n    tls: strict\n',
    /a\.b: { upstream: rmm, tls: strict } }/,
  ],
  [
    'an empty key gets a block',
    'limits:\n  connections: 9\n',
    /^limits:\n {2}connections: 9\n# nothing here yet\n/m,
  ],
  [
    'an empty key with a comment gets a list',
    'allow:\n  - address: "::1"\n    reason: x\n',
    /^allow: # none\n {2}- address: "::1"\n {4}reason: x\ntrusted/m,
  ],
  [
    'a flow list over several lines gets an item',
    'trusted:\n  - 3.3.3.3\n',
    /# office\n {2}2\.2\.2\.2, 3\.3\.3\.3 \]/,
  ],
  [
    'a block of four blanks keeps them',
    'geo:\n  cgnat: allow\n',
    /private: allow {2}# four blanks\n {4}cgnat: allow\n\n {4}# the end/,
  ],
  ['a value is replaced', 'geo:\n  private: refuse\n', /private: refuse {2}# four blanks/],
  [
    'a new section comes last, also behind a last line without an end',
    'bans:\n  - address: 4.4.4.4\n',
    / {4}# the end\n/,
  ],
]

for (const [title, patch, expected] of CASES) {
  test(title, t => {
    const after = edited(TRICKY, patch)
    t.regex(after, expected)
    t.deepEqual(parse(after), mergedValue(parse(TRICKY), parse(patch)))
    for (const comment of TRICKY.match(/#.*$/gm) ?? []) t.true(after.includes(comment), comment)
  })
}

test('what is there already is not added again, and Windows line ends stay', t => {
  const windows = TRICKY.replaceAll('\n', '\r\n')
  const same = mergePatch('p', windows, 'trusted: [2.2.2.2]\nhome: US\n')
  t.deepEqual(same, { ok: true, text: windows, changed: false })
  const after = edited(windows, 'limits:\n  connections: 9\n')
  t.is(after, windows.replace('limits:\r\n', 'limits:\r\n  connections: 9\r\n'))
})

test('a file or a patch that cannot be read changes nothing', t => {
  t.false(mergePatch('p', 'a: [', 'b: 1').ok)
  t.false(mergePatch('p', 'a: 1\n', 'b: *x').ok)
  t.false(mergePatch('p', 'a: 1\n', '- b').ok)
})

test('whatever the policy looks like: the result means the merge, and no comment is lost', t => {
  const word = fc.constantFrom(
    'a',
    'b',
    'c',
    'x-1',
    '203.0.113.7',
    'yes',
    '12',
    '2027-03-31',
    'a: b',
    '::1',
    '#',
    '',
  )
  const key = fc.constantFrom('a', 'b', 'c', 'd')
  const { value } = fc.letrec<{ value: unknown }>(tie => ({
    value: fc.oneof(
      { depthSize: 'small', withCrossShrink: true },
      word,
      fc.integer({ min: 0, max: 99 }),
      fc.constant(null),
      fc.array(word, { maxLength: 3 }),
      fc.dictionary(key, tie('value'), { maxKeys: 3 }),
      fc.array(fc.dictionary(key, word, { minKeys: 1, maxKeys: 2 }), { maxLength: 2 }),
    ),
  }))
  const block = fc.dictionary(key, value, { minKeys: 1, maxKeys: 4 })
  const style = fc.record({ seed: fc.array(fc.nat(9), { minLength: 24, maxLength: 24 }) })
  fc.assert(
    fc.property(block, block, style, (base, patch, { seed }) => {
      const text = written(base, seed)
      const before: unknown = parse(text)
      const result = mergePatch('p', text, written(patch, seed.toReversed()))
      if (!result.ok) throw new Error(`${result.problem}\n${text}\n---\n${written(patch, seed.toReversed())}`)
      t.deepEqual(parse(result.text), mergedValue(before, patch))
      // A comment inside a value that is replaced goes with it; all others stay, in their order.
      if (Object.keys(patch).every(name => !(name in base))) t.true(result.text.startsWith(text.trimEnd()))
    }),
    { numRuns: 300 },
  )
})

/** Writes a value as YAML with comments, in styles chosen by the seed. */
function written(value: Readonly<Record<string, unknown>>, seed: readonly number[], indent = 0): string {
  let at = indent
  const next = (): number => seed[at++ % seed.length] ?? 0
  const comment = (): string => (next() < 4 ? ` # c${at}` : '')
  const space = ' '.repeat(indent)
  let out = ''
  for (const [name, entry] of Object.entries(value)) {
    if (next() < 3) out += `${space}# about ${name}\n`
    const step = next() < 5 ? 2 : 4
    const head = `${space}${name}:`
    if (isList(entry) && entry.length > 0 && next() < 6) {
      out += `${head}${comment()}\n`
      const dash = ' '.repeat(indent + (next() < 5 ? 0 : 2))
      for (const item of entry) out += `${dash}- ${JSON.stringify(item)}${comment()}\n`
    } else if (isMap(entry) && Object.keys(entry).length > 0 && next() < 7) {
      out += `${head}${comment()}\n${written(entry, seed, indent + step)}`
    } else if (entry === null && next() < 5) out += `${head}${comment()}\n`
    else out += `${head} ${JSON.stringify(entry)}${comment()}\n`
  }
  return out
}

function isList(value: unknown): value is readonly unknown[] {
  return Array.isArray(value)
}

function isMap(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
