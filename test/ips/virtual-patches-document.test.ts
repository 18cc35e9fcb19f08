// What docs/virtual-patches.md says per CVE is what the shipped rules are.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { shippedRules } from './read-rules.ts'

type Row = {
  readonly cve: string
  readonly isExploited: boolean
  readonly verdict: string
  readonly rules: readonly string[]
  readonly watching: readonly string[]
}

const document = readFileSync(join(import.meta.dirname, '../../docs/virtual-patches.md'), 'utf8')
const rules = shippedRules()

const rows: readonly Row[] = document
  .split('\n')
  .filter(line => line.startsWith('| CVE-'))
  .map(line => {
    const [, cve = '', , kev, verdict = '', names = ''] = line.split('|').map(cell => cell.trim())
    const listed = names === '–' ? [] : names.split(', ')
    return {
      cve,
      isExploited: kev === 'yes',
      verdict,
      rules: listed.map(name => name.replace(' †', '')),
      watching: listed.filter(name => name.endsWith(' †')).map(name => name.replace(' †', '')),
    }
  })

const pair = (cve: string, rule: string): string => `${cve} ${rule}`

const without = (some: readonly string[], others: readonly string[]): string[] =>
  some.filter(entry => !others.includes(entry)).toSorted()

test('every rule that names a CVE is in its row, and no row names another', t => {
  const stated = rows.flatMap(({ cve, rules: listed }) => listed.map(rule => pair(cve, rule)))
  const shipped = rules.flatMap(({ id, refs }) =>
    refs.filter(ref => ref.startsWith('CVE-')).map(cve => pair(cve, id)),
  )
  t.deepEqual(
    { missing: without(shipped, stated), unknown: without(stated, shipped) },
    { missing: [], unknown: [] },
  )
  t.is(new Set(rows.map(({ cve }) => cve)).size, rows.length)
  t.true(rows.length >= 60)
})

test('verdicts are what the modes of the rules make of them', t => {
  const modes = new Map(rules.map(({ id, mode }) => [id, mode]))
  for (const { cve, verdict, rules: listed, watching } of rows) {
    t.true(['blocked', 'partly', 'not at a proxy'].includes(verdict), cve)
    t.is(listed.length === 0, verdict === 'not at a proxy', cve)
    t.deepEqual(
      watching,
      listed.filter(rule => modes.get(rule) !== 'enforce'),
      cve,
    )
    if (verdict === 'blocked') t.true(watching.length < listed.length, cve)
  }
})

test('rules for what is exploited say so', t => {
  const exploited = new Set(rows.filter(({ isExploited }) => isExploited).map(({ cve }) => cve))
  for (const { id, pack, refs } of rules) {
    if (!['rmm-virtual-patches', 'endpoint-management'].includes(pack)) continue
    t.is(
      refs.includes('KEV'),
      refs.some(ref => exploited.has(ref)),
      id,
    )
  }
})

test('every rule that is named in the text exists', t => {
  const ids = new Set(rules.map(({ id }) => id))
  const named = [...document.matchAll(/\(([a-z-]+(?: †)?(?:, [a-z-]+(?: †)?)*)\)/g)].flatMap(
    ([, list = '']) => list.split(', ').map(name => name.replace(' †', '')),
  )
  t.deepEqual(
    named.filter(name => !ids.has(name)),
    [],
  )
  t.true(named.length >= 4)
})
