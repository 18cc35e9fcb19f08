// Taking a key out of a policy file: every other line stays, and what cannot be taken out safely is left alone.
import test from 'ava'
import { removeKey } from '../../src/config/remove-key.ts'

const HEAD = '# ours\nversion: 1 # the format\n\n'
const TAIL = '# rules of ours\nrules:\n  packs: [generic]\n'

const WRITTEN: readonly (readonly [string, string])[] = [
  ['in one line', 'trial: { expires: 2099-01-01 } # until then\n'],
  ['as a block', 'trial:\n  # why\n  expires: 2099-01-01 # the end\n  stages:\n    - tls\n'],
  ['as a list', 'trial:\n  - { expires: 2099-01-01, site: a }\n  - expires: 2099-02-01\n    stages: [tls]\n'],
  ['as a flow over lines', 'trial: {\n  expires: 2099-01-01,\n  stages: [country,\n    tls]\n}\n'],
  ['in quotes', '"trial": { expires: 2099-01-01 }\n'],
]

for (const [how, block] of WRITTEN) {
  for (const newLine of ['\n', '\r\n']) {
    test(`${how}, lines ending in ${JSON.stringify(newLine)}: first, between and last`, t => {
      const crlf = (text: string): string => text.replaceAll('\n', newLine)
      for (const [before, after] of [
        ['', HEAD + TAIL],
        [HEAD, TAIL],
        [HEAD + TAIL, ''],
      ] as const) {
        const edit = removeKey('p.yaml', crlf(before + block + after), 'trial')
        t.deepEqual(edit, { ok: true, text: crlf(before + after), changed: true })
      }
      const end = removeKey('p.yaml', crlf(HEAD + block).trimEnd(), 'trial')
      t.deepEqual(end, { ok: true, text: crlf(HEAD), changed: true })
    })
  }
}

test('a key that is not there changes nothing; what is no block, or no YAML, is left to a person', t => {
  t.deepEqual(removeKey('p.yaml', HEAD, 'trial'), { ok: true, text: HEAD, changed: false })
  t.like(removeKey('p.yaml', '{ version: 1, trial: { expires: 2099-01-01 } }\n', 'trial'), { ok: false })
  t.like(removeKey('p.yaml', 'trial: [\n', 'trial'), { ok: false })
  t.like(removeKey('p.yaml', 'trial: { a: 1 }\ntrial: { a: 2 }\n', 'trial'), { ok: false })
})
