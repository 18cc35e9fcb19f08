// The journal in hard times, in a real process: kill -9 in the middle of traffic, and a disk that is full for a while.
import { execFile } from 'node:child_process'
import { rmSync, statfsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { userInfo } from 'node:os'
import { promisify } from 'node:util'
import test from 'ava'
import { storeFile } from '../../src/journal/store-file.ts'
import { runPortcullis, startGateProcess, type GateProcess } from '../support/gate-process.ts'
import { ask } from '../support/whole-gate.ts'

const run = promisify(execFile)

/** Requests that pass leave no row, so that the bound on rows of one address is not met. */
const ONLY_REFUSED = { journal: { requests: 'refused' } }

type Refused = { readonly reference: string; readonly loggedMs: number }

/** Asks for what a rule refuses and waits for the line that says so. */
async function refuse(gate: GateProcess, number: number): Promise<Refused> {
  const path = `/LabTech/x${number}?file=../../../../windows/win.ini`
  t403(await ask(gate, { path }))
  const { reference } = await gate.lines.next(
    'request.refused',
    entry => entry.path === `/LabTech/x${number}`,
  )
  return { reference, loggedMs: Date.now() }
}

function t403({ status }: { readonly status: number }): void {
  if (status !== 403) throw new Error(`${status} instead of a refusal`)
}

async function storedReferences(gate: GateProcess): Promise<ReadonlySet<string>> {
  const policies = join(gate.directory, 'policies')
  const { stdout, stderr } = await runPortcullis([
    'events',
    '--name',
    'request.refused',
    '--limit',
    '1000',
    '--json',
    '--policy',
    policies,
  ])
  if (stdout === '') throw new Error(stderr)
  const events = JSON.parse(stdout) as readonly { readonly reference: string }[]
  return new Set(events.map(event => event.reference))
}

/** Resolves with everything stored once this is among it. */
async function stored(gate: GateProcess, { reference }: Refused): Promise<ReadonlySet<string>> {
  for (;;) {
    const found = await storedReferences(gate)
    if (found.has(reference)) return found
  }
}

test('kill -9 under traffic: what was reported more than a second before is there, and the file is whole', async t => {
  await using gate = await startGateProcess(ONLY_REFUSED)
  const refused: Refused[] = []
  // Longer than two rounds of writing, so that both sides of the last second are populated.
  const startedMs = Date.now()
  for (let number = 0; Date.now() - startedMs < 1_800; number++) {
    // Fewer refusals than one address may have recorded at once.
    if (number % 4 === 0) refused.push(await refuse(gate, number))
    else await ask(gate, {})
  }
  gate.signal('SIGKILL')
  const killedMs = Date.now()
  await gate.ended

  const early = refused.filter(({ loggedMs }) => killedMs - loggedMs > 1_000)
  t.true(early.length > 0)
  const database = new DatabaseSync(storeFile(join(gate.directory, 'state')))
  t.is(database.prepare('PRAGMA integrity_check').get()?.['integrity_check'], 'ok')
  database.close()
  const found = await storedReferences(gate)
  t.deepEqual(
    early.filter(({ reference }) => !found.has(reference)),
    [],
  )
})

const fullDisk = userInfo().uid === 0 ? test : test.skip

fullDisk(
  'a full disk stops recording, not traffic, warns, and recording goes on when there is room (needs root)',
  async t => {
    let state = ''
    await using gate = await startGateProcess(ONLY_REFUSED, async directory => {
      state = join(directory, 'state')
      await run('mount', ['-t', 'tmpfs', '-o', 'size=4m', 'tmpfs', state])
    })
    try {
      const before = await refuse(gate, 0)
      await stored(gate, before)
      const filler = join(state, 'filler')
      const free = statfsSync(state)
      // Larger than what is left: the write stops where the disk ends.
      t.throws(() => writeFileSync(filler, Buffer.alloc(free.bavail * free.bsize + 1)), {
        code: 'ENOSPC',
      } as never)
      let number = 1
      // SQLite may have some room left in its own files: refusals go on until it has none, and all are answered.
      while (gate.lines.of('journal.dropped').length === 0) {
        if (number < 200) await refuse(gate, number++)
        else t.is((await ask(gate, {})).status, 200)
      }
      t.regex((await gate.lines.next('journal.dropped')).why, /disk is full/)
      t.is((await ask(gate, {})).status, 200)

      rmSync(filler)
      const after = await refuse(gate, number)
      t.true((await stored(gate, after)).has(before.reference))
    } finally {
      gate.signal('SIGKILL')
      await gate.ended
      await run('umount', [state])
    }
  },
)
