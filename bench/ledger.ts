// Measures the ledger: bytes per row and source-hour after 30 days of a fleet, the projection for 10,000 agents, times of
// an hour's turn, of queries and of a replay. `node bench/ledger.ts [agents] [days]`, 1,000 agents and 30 days unless told.
import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { EventFields } from '../src/journal/events.ts'
import { HOUR_MS, type LedgerRow } from '../src/journal/ledger-facts.ts'
import { createLedger, type Ledger } from '../src/journal/ledger.ts'
import { openStoreCore, type StoreCore } from '../src/journal/store-core.ts'

const agents = Number(process.argv[2] ?? 1_000)
const days = Number(process.argv[3] ?? 30)
const TARGET = { agents: 10_000, days: 30 }
const RETENTION = { eventDays: 30, ledgerDays: 365, maxStoreBytes: 1e12 }
const START = Date.UTC(2026, 0, 1)

// A seeded generator: every run measures the same fleet.
let seed = 42
function random(limit: number): number {
  seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0
  return Math.floor((seed / 2 ** 32) * limit)
}

function address(agent: number): string {
  return `${11 + (agent >> 16)}.${(agent >> 8) & 255}.${agent & 255}.7`
}

function request(
  agent: number,
  path: string,
  method: string,
  bytesIn: number,
  bytesOut: number,
  trafficClass: EventFields['request.closed']['class'],
): EventFields['request.closed'] {
  const old = agent % 20 === 0
  return {
    address: address(agent),
    port: 50_000,
    listener: 'https',
    site: null,
    country: 'US',
    serverName: 'rmm.example.com',
    offered: old ? ['TLSv1.2', 'TLSv1.1', 'TLSv1'] : ['TLSv1.3', 'TLSv1.2'],
    ja4: old ? 't12d190800_d83cc789557e_7af1ed941c26' : 't13d1516h2_8daaf6152771_b186095e22b6',
    host: 'rmm.example.com',
    method,
    path,
    class: trafficClass,
    tls: old ? 'TLSv1.2' : 'TLSv1.3',
    status: 200,
    upstream: 'rmm/primary',
    bytesIn,
    bytesOut,
    durationMs: 20,
    upstreamMs: 10,
    ending: 'complete',
    webSocket: false,
    userAgent: 'LabTech Agent',
  }
}

/** One hour of one agent: check-ins, commands, heartbeat over HTTP, and now and then a transfer or an update. */
function work(ledger: Ledger, agent: number, hourMs: number): void {
  const at = (): number => hourMs + random(HOUR_MS)
  for (let count = 2 + random(3); count > 0; count--)
    ledger.record(
      'request.closed',
      request(agent, '/LabTech/Agent.aspx', 'POST', 400 + random(9_000), 200 + random(30_000), 'agent'),
      at(),
    )
  ledger.record(
    'request.closed',
    request(agent, '/LabTech/Agent.aspx', 'GET', 200 + random(100), 30 + random(900), 'agent'),
    at(),
  )
  ledger.record('request.closed', request(agent, '/LabTech/Heartbeat', 'GET', 90, 20, 'heartbeat'), at())
  if (random(4) === 0)
    ledger.record(
      'request.closed',
      request(agent, `/LabTech/Transfer/${random(1e6)}.bin`, 'GET', 300, random(5e7), 'transfer'),
      at(),
    )
  if (random(24) === 0)
    ledger.record(
      'request.closed',
      request(agent, '/LabTech/Updates/LabtechUpdate.zip', 'GET', 300, 40_000_000, 'update'),
      at(),
    )
}

function drain(
  ledger: Ledger,
  core: StoreCore,
): { drainMs: number; batchMs: number; batches: number; worstMs: number } {
  let drainMs = 0
  let batchMs = 0
  let batches = 0
  let worstMs = 0
  for (;;) {
    const started = performance.now()
    const batch = ledger.drain(1_000)
    const drained = performance.now()
    if (batch === null) return { drainMs, batchMs, batches, worstMs }
    core.write({ events: [], ledger: batch })
    drainMs += drained - started
    worstMs = Math.max(worstMs, drained - started)
    batchMs += performance.now() - drained
    batches++
  }
}

function upkeep(core: StoreCore, nowMs: number): { steps: number; worstMs: number; totalMs: number } {
  let steps = 0
  let worstMs = 0
  let totalMs = 0
  for (let more = true; more; steps++) {
    const started = performance.now()
    more = core.upkeep(RETENTION, nowMs).more
    const took = performance.now() - started
    worstMs = Math.max(worstMs, took)
    totalMs += took
  }
  return { steps, worstMs, totalMs }
}

function print(text: string): void {
  process.stdout.write(`${text}\n`)
}

function mb(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`
}

const directory = mkdtempSync(join(tmpdir(), 'portcullis-bench-ledger-'))
process.on('exit', () => rmSync(directory, { recursive: true, force: true }))
const file = join(directory, 'journal.db')
const core = openStoreCore(file)
const ledger = createLedger()
print(`${agents} agents, ${days} days, SQLite file in ${tmpdir()}`)

let cells = 0
let worstStep = 0
let packMs = 0
for (let day = 0; day < days; day++) {
  for (let hour = 0; hour < 24; hour++) {
    const hourMs = START + (day * 24 + hour) * HOUR_MS
    for (let agent = 0; agent < agents; agent++) work(ledger, agent, hourMs)
    cells += ledger.state().cells
    drain(ledger, core)
  }
  const packed = upkeep(core, START + (day + 1) * 24 * HOUR_MS + 2 * HOUR_MS)
  worstStep = Math.max(worstStep, packed.worstMs)
  packMs += packed.totalMs
}
const { usedBytes } = core.size()
const sourceHours = agents * days * 24
const scale = (TARGET.agents * TARGET.days) / (agents * days)
print(`rows: ${cells} (${(cells / sourceHours).toFixed(2)} per source and hour)`)
print(`store: ${mb(usedBytes)} used, ${mb(statSync(file).size)} file`)
print(
  `bytes per row: ${(usedBytes / cells).toFixed(1)}, per source and hour: ${(usedBytes / sourceHours).toFixed(1)}`,
)
print(`projection for ${TARGET.agents} agents x ${TARGET.days} days x 24 h: ${mb(usedBytes * scale)}`)
print(
  `packing: ${(packMs / days).toFixed(0)} ms a day, worst step ${worstStep.toFixed(1)} ms (in the store's thread)`,
)

let queryMs = 0
for (let round = 0; round < 200; round++) {
  const started = performance.now()
  core.ledger.ofSource(address(random(agents)), START + (days - 1) * 24 * HOUR_MS)
  queryMs += performance.now() - started
}
print(`last 24 h of one source: ${(queryMs / 200).toFixed(2)} ms`)
const replayStarted = performance.now()
let replayed = 0
let last: LedgerRow | undefined
for (const row of core.ledger.all(START + (days - 1) * 24 * HOUR_MS)) {
  replayed++
  last = row
}
const replayMs = performance.now() - replayStarted
print(
  `replay of one day: ${replayed} rows in ${replayMs.toFixed(0)} ms, ${((replayMs * 1_000) / replayed).toFixed(2)} us a row (last: ${last?.source ?? 'none'})`,
)

const fleet = createLedger()
const turnMs = START + days * 24 * HOUR_MS
const recordStarted = performance.now()
let records = 0
for (let agent = 0; agent < TARGET.agents; agent++) {
  work(fleet, agent, turnMs)
  records += 5
}
const recordMs = performance.now() - recordStarted
const turn = drain(fleet, core)
print(
  `an hour of ${TARGET.agents} agents at once: about ${((recordMs * 1_000) / records).toFixed(2)} us a request into memory; ` +
    `${turn.batches} batches, main thread ${turn.drainMs.toFixed(1)} ms in all and ${turn.worstMs.toFixed(1)} ms at worst, ` +
    `store's thread ${(turn.batchMs / turn.batches).toFixed(1)} ms a batch`,
)
core.close()
