// Measures the processor time of a plan: the recorded traffic of 10,000 agents over 30 days, replayed through two policies.
// `node bench/replay.ts [agents] [days]` (1,000 and 30) fills a ledger with that, and projects. `--short`: for CI, less of it, and the
// goal has room for a busy machine.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { loadPolicy } from '../src/config/load.ts'
import { bundledDatabases } from '../src/geo/bundled.ts'
import { createCountryLookup } from '../src/geo/lookup.ts'
import { openStoreCore, openStoreReader } from '../src/journal/store-core.ts'
import { buildOverlay } from '../src/journal/store-overlay.ts'
import { replay } from '../src/plan/replay.ts'
import { fillLargeStore } from '../test/support/large-store.ts'
import { print } from './report/print.ts'
import { judgeShort } from './report/short.ts'

const END = Date.UTC(2026, 10, 21, 12)
const TARGET = { agents: 10_000, days: 30 }
const GOAL_MS = 10_000

const { values, positionals } = parseArgs({
  options: { short: { type: 'boolean', default: false } },
  allowPositionals: true,
})
const agents = Number(positionals[0] ?? (values.short ? 200 : 1_000))
const days = Number(positionals[1] ?? (values.short ? 10 : 30))

const directory = mkdtempSync(join(tmpdir(), 'portcullis-bench-replay-'))
process.on('exit', () => rmSync(directory, { recursive: true, force: true }))
const file = join(directory, 'journal.db')
const core = openStoreCore(file)
fillLargeStore(core, { agents, sites: agents / 10, days, events: 0, endMs: END })
core.close()

const policies = fileURLToPath(new URL('../policies', import.meta.url))
const loaded = loadPolicy({ directory: policies, nowMs: END, forReading: true })
if (!loaded.ok) throw new Error('the shipped policy does not load')
const { snapshot } = loaded
const countries = await createCountryLookup({
  directory,
  bundled: bundledDatabases(),
  reporter: { report: () => undefined },
  clock: () => END,
})
const reader = openStoreReader(file)
const times: number[] = []
for (let round = 0; round < 3; round++) {
  const before = process.cpuUsage()
  const { rows } = replay({
    current: snapshot,
    candidate: { ...snapshot, id: 'candidate', home: { ...snapshot.home, value: new Set(['IS']) } },
    overlay: buildOverlay([]),
    lookup: countries.lookup,
    rows: reader.ledger.sums(END - TARGET.days * 86_400_000),
    nowMs: END,
  })
  const { user, system } = process.cpuUsage(before)
  times.push((user + system) / 1_000)
  print(`${rows} records of ${agents} agents and ${days} days: ${times.at(-1)?.toFixed(0)} ms`)
}
reader.close()
countries.close()

const projected = (Math.min(...times) * TARGET.agents * TARGET.days) / agents / days
const text = `replay of ${TARGET.days} days of ${TARGET.agents} agents`
if (values.short) process.exitCode = judgeShort([{ text, value: projected, most: GOAL_MS, unit: 'ms' }])
else {
  print(`${text}: ${projected.toFixed(0)} ms, goal ${GOAL_MS} ms`)
  process.exitCode = projected > GOAL_MS ? 1 : 0
}
