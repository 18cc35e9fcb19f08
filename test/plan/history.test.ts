// The history of policies: a change that the watcher of files saw before the command that made it still belongs to that command.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { listVersions } from '../../src/plan/history.ts'
import { createPolicyHistory } from '../../src/policy-history.ts'
import type { Snapshot } from '../../src/policy/snapshot.ts'

test('who asks for what a file reload has already taken gets its version, and the one before it, for the guard', t => {
  const state = mkdtempSync(join(tmpdir(), 'portcullis-history-'))
  t.teardown(() => rmSync(state, { recursive: true, force: true }))
  const file = join(state, 'portcullis.yaml')
  writeFileSync(file, 'home: US\n')
  const history = createPolicyHistory(state, state, (_where, cause) => t.fail(String(cause)))
  const record = (id: string, atMs: number, who: string, why: string) =>
    history.record({ id, files: [file] } as unknown as Snapshot, { atMs, who, why, changes: [] })
  record('a', 0, 'start', '')
  t.is(record('b', 1_000, 'file', '').previous?.number, 1)
  const claimed = record('b', 1_400, 'jane', 'ticket 4711')
  t.is(claimed.previous?.number, 1)
  t.like(claimed.version, { number: 2, who: 'jane', why: 'ticket 4711' })
  t.like(listVersions(state).at(-1), { number: 2, who: 'jane', why: 'ticket 4711', atMs: 1_000 })
  t.is(record('b', 1_500, 'joe', 'again').previous, null, 'it belongs to jane')
  t.is(record('c', 2_000, 'file', '').previous?.number, 2)
  t.is(record('c', 60_000, 'joe', 'reload').previous, null, 'that was somebody else, long ago')
  t.is(record('c', 2_500, 'signal', '').previous, null, 'a reload without a reason claims nothing')
})
