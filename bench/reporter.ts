// Measures what reporting costs: microseconds per event by name on the hot path, stalls of the event loop while rows are
// written, and query times at a million events. `node bench/reporter.ts [events]`, 1,000,000 stored events unless told.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import type { EventFields, EventName } from '../src/journal/events.ts'
import { createLedger } from '../src/journal/ledger.ts'
import { createLineSink } from '../src/journal/line-sink.ts'
import { createMetrics } from '../src/journal/metrics.ts'
import { createReporter } from '../src/journal/reporter.ts'
import { openStoreCore } from '../src/journal/store-core.ts'
import type { EventRow } from '../src/journal/store-events.ts'
import { openStore } from '../src/journal/store.ts'
import { parseCidr } from '../src/net/cidr.ts'
import type { JournalPolicy } from '../src/policy/snapshot.ts'
import { EVENT_SAMPLES } from '../test/support/event-samples.ts'

const stored = Number(process.argv[2] ?? 1_000_000)
const directory = mkdtempSync(join(tmpdir(), 'portcullis-bench-reporter-'))
process.on('exit', () => rmSync(directory, { recursive: true, force: true }))
const retention = { eventDays: 3_650, ledgerDays: 30, maxStoreBytes: 1e12 }
const policy: JournalPolicy = {
  log: 'stdout',
  logDir: directory,
  logMaxBytes: 1e7,
  logFiles: 3,
  requests: 'refused',
  ...retention,
}
const sink = createLineSink({ write: () => Promise.resolve(), close: () => Promise.resolve() })
const unlimited = { burst: 1e12, perSecond: 1e12 }

function print(text: string): void {
  process.stdout.write(`${text}\n`)
}

async function hotPath(): Promise<void> {
  const ledger = createLedger()
  const make = (requests: JournalPolicy['requests']): ReturnType<typeof createReporter> =>
    createReporter({
      journalPolicy: { ...policy, requests },
      logDestination: sink,
      metrics: createMetrics({ clock: Date.now, processMetrics: false }),
      ledger,
      store: { add: () => true, listen: () => undefined, setRetention: () => undefined },
      clock: Date.now,
      floodLimits: { perAddress: unlimited, perEvent: unlimited, addresses: 100_000 },
    })
  const quiet = make('refused')
  const loud = make('all')
  const closed = Array.from({ length: 2_000 }, (_, index) => ({
    ...EVENT_SAMPLES['request.closed'],
    address: `10.0.${index >> 8}.${index & 255}`,
    class: index % 3 === 0 ? ('agent' as const) : ('console' as const),
  }))
  const cost = async (label: string, rounds: number, work: (index: number) => void): Promise<void> => {
    for (let index = 0; index < rounds / 10; index++) work(index)
    await sink.flush()
    const started = process.cpuUsage()
    for (let index = 0; index < rounds; index++) {
      work(index)
      if (index % 2_000 === 1_999) await sink.flush()
    }
    const { user, system } = process.cpuUsage(started)
    print(`${label}: ${((user + system) / rounds).toFixed(2)} us`)
  }
  const event =
    <K extends EventName>(reporter: typeof quiet, name: K, fields: EventFields[K]) =>
    () =>
      reporter.report(name, fields)
  for (let round = 0; round < 2; round++) {
    await cost('request.closed, no line (2,000 sources)', 200_000, index => {
      const fields = closed[index % closed.length]
      if (fields !== undefined) quiet.report('request.closed', fields)
    })
    await cost(
      'request.closed, no line (one source)',
      200_000,
      event(quiet, 'request.closed', EVENT_SAMPLES['request.closed']),
    )
    await cost(
      'connection.closed, no line',
      200_000,
      event(quiet, 'connection.closed', EVENT_SAMPLES['connection.closed']),
    )
    await cost(
      'request.closed with a line',
      50_000,
      event(loud, 'request.closed', EVENT_SAMPLES['request.closed']),
    )
    await cost(
      'request.refused, line and row',
      50_000,
      event(quiet, 'request.refused', EVENT_SAMPLES['request.refused']),
    )
  }
}

async function stalls(): Promise<void> {
  const ledger = createLedger()
  const store = await openStore({
    file: join(directory, 'stalls.db'),
    retention,
    clock: Date.now,
    ledger,
    maxQueuedRows: 1e6,
  })
  const batch = { events: Array.from({ length: 1_000 }, (_, index) => row(index, Date.now())), ledger: null }
  let cloneMs = Infinity
  for (let round = 0; round < 20; round++) {
    const started = performance.now()
    structuredClone(batch)
    cloneMs = Math.min(cloneMs, performance.now() - started)
  }
  print(
    `handing 1,000 rows to the store's thread: ${cloneMs.toFixed(2)} ms of the main thread (copied both ways, best of 20)`,
  )
  const delay = monitorEventLoopDelay({ resolution: 1 })
  let worstBatchMs = 0
  delay.enable()
  const cpu = process.threadCpuUsage()
  const ends = Date.now() + 4_000
  let rows = 0
  while (Date.now() < ends) {
    for (let index = 0; index < 25; index++) {
      store.add(row(rows++, Date.now()))
      ledger.record(
        'request.closed',
        { ...EVENT_SAMPLES['request.closed'], address: `10.${rows & 127}.${index}.1` },
        Date.now(),
      )
    }
    worstBatchMs = Math.max(worstBatchMs, store.state().lastBatchMs)
    await new Promise(resolve => {
      setTimeout(resolve, 5)
    })
  }
  delay.disable()
  const { user, system } = process.threadCpuUsage(cpu)
  await store.close()
  print(
    `event loop while ${rows} rows and as many ledger entries were written in 4 s: p99 ${(delay.percentile(99) / 1e6).toFixed(1)} ms, ` +
      `worst ${(delay.max / 1e6).toFixed(1)} ms; worst batch in the store's thread ${worstBatchMs.toFixed(1)} ms; main thread ${((user + system) / rows).toFixed(1)} us CPU a row, ledger and making of rows included`,
  )
}

function row(index: number, timeMs: number): EventRow {
  const reasons = ['banned', 'class-country', 'class-closed', 'rule', 'tls-version-too-low']
  return {
    timeMs,
    name: index % 50 === 0 ? 'upstream.failed' : index % 3 === 0 ? 'connection.refused' : 'request.refused',
    severity: index % 50 === 0 ? 'warning' : 'info',
    address: `10.${(index * 7) & 63}.${(index * 13) & 255}.${index & 255}`,
    site: index % 10 === 0 ? `site-${index % 200}` : null,
    class: index % 3 === 0 ? null : 'console',
    reason: index % 50 === 0 ? null : (reasons[index % 5] ?? null),
    reference: `R${index}`,
    fields: JSON.stringify(EVENT_SAMPLES['request.refused']),
  }
}

function queries(): void {
  const core = openStoreCore(join(directory, 'queries.db'))
  const startMs = Date.now() - stored * 100
  const started = performance.now()
  for (let index = 0; index < stored; index += 1_000)
    core.write({
      ledger: null,
      events: Array.from({ length: Math.min(1_000, stored - index) }, (_, at) =>
        row(index + at, startMs + (index + at) * 100),
      ),
    })
  const insertMs = performance.now() - started
  print(
    `${stored} events: ${((insertMs * 1_000) / stored).toFixed(1)} us a row to write, ${(core.size().usedBytes / stored).toFixed(0)} bytes a row`,
  )
  const range = (text: string): { readonly range: Exclude<ReturnType<typeof parseCidr>, string> } => {
    const parsed = parseCidr(text)
    if (typeof parsed === 'string') throw new Error(parsed)
    return { range: parsed }
  }
  const all: readonly (readonly [string, () => unknown])[] = [
    ['by reference', () => core.events.byReference(`R${Math.floor(stored / 3)}`)],
    ['last 100', () => core.events.find({ limit: 100 })],
    ['one address', () => core.events.find({ ...range('10.7.13.1'), limit: 100 })],
    ['a /24', () => core.events.find({ ...range('10.7.13.0/24'), limit: 100 })],
    ['a /8 that holds everything', () => core.events.find({ ...range('10.0.0.0/8'), limit: 100 })],
    ['by name', () => core.events.find({ name: 'upstream.failed', limit: 100 })],
    ['warnings', () => core.events.find({ minimumSeverity: 'warning', limit: 100 })],
    ['by site', () => core.events.find({ site: 'site-10', limit: 100 })],
    ['by class and reason', () => core.events.find({ class: 'console', reason: 'rule', limit: 100 })],
    [
      'oldest hour, by name',
      () => core.events.find({ name: 'upstream.failed', untilMs: startMs + 3_600_000, limit: 100 }),
    ],
    ['counts by reason, all time', () => core.events.countsByReason(0)],
    ['size', () => core.size()],
  ]
  for (const [label, ask] of all) {
    ask()
    const asked = performance.now()
    for (let round = 0; round < 5; round++) ask()
    print(`  ${label}: ${((performance.now() - asked) / 5).toFixed(2)} ms`)
  }
  const trimmed = performance.now()
  let steps = 0
  let worstMs = 0
  for (let more = true; more && steps < 50; steps++) {
    const step = performance.now()
    more = core.upkeep({ ...retention, eventDays: 0 }, Date.now()).more
    worstMs = Math.max(worstMs, performance.now() - step)
  }
  print(
    `trimming: ${((performance.now() - trimmed) / steps).toFixed(1)} ms a step of 500 rows, worst ${worstMs.toFixed(1)} ms (store's thread)`,
  )
  core.close()
}

await hotPath()
await stalls()
queries()
