// Rule files that are remembered by content: lines point into the right file, changes are seen, mistakes are found again.
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { loadPolicy, type LoadResult } from '../../src/config/load.ts'

const POLICIES = resolve(import.meta.dirname, '../../policies')
const NOW = Date.parse('2026-11-21T12:00:00Z')

function copy(t: ExecutionContext): {
  readonly directory: string
  readonly load: (label?: string) => LoadResult
} {
  const directory = mkdtempSync(join(tmpdir(), 'portcullis-rules-'))
  t.teardown(() => rmSync(directory, { recursive: true, force: true }))
  cpSync(POLICIES, directory, { recursive: true })
  return { directory, load: (label = directory) => loadPolicy({ directory, label, nowMs: NOW }) }
}

function rulesOf(result: LoadResult): ReadonlyMap<string, string> {
  if (!result.ok) throw new Error(result.problems.map(({ message }) => message).join())
  const own = result.snapshot.rules.rules.filter(({ at }) => at.line > 0)
  return new Map(own.map(({ id, at }) => [id, `${at.file}:${at.line}`]))
}

test('the same content under another name points into that file, and is the same otherwise', t => {
  const [one, two] = [copy(t), copy(t)]
  const first = rulesOf(one.load('here'))
  const second = rulesOf(two.load('there'))
  t.true(first.size > 50)
  t.deepEqual([...second.keys()], [...first.keys()])
  for (const [id, place] of second) {
    t.regex(place, /^there\/rules\//)
    t.is(place.replace('there', 'here'), first.get(id) ?? '')
  }
  t.deepEqual(rulesOf(one.load('here')), first)
})

test('a changed file is read again, a mistake is found each time, and the old content is the old content', t => {
  const { directory, load } = copy(t)
  const before = rulesOf(load())
  const file = join(directory, 'rules/scanners.yaml')
  const text = readFileSync(file, 'utf8')
  writeFileSync(file, text.replace('rules:\n', '# one line more\nrules:\n'))
  const id = [...before.keys()].find(key => before.get(key)?.includes('scanners.yaml')) ?? ''
  const moved = rulesOf(load()).get(id)
  t.is(
    moved,
    before.get(id)?.replace(/\d+$/, line => String(Number(line) + 1)),
  )
  writeFileSync(file, text.replace('rules:\n', 'rulez:\n'))
  for (let turn = 0; turn < 2; turn++) {
    const broken = load()
    t.false(broken.ok)
    t.true(!broken.ok && broken.problems.some(problem => problem.file.endsWith('scanners.yaml')))
  }
  writeFileSync(file, text)
  t.deepEqual(rulesOf(load()), before)
})
