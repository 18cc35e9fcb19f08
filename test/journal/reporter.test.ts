// The reporter as adapters see it: lines, rows, metrics and ledger from one call, and nothing that can break or stall it.
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { CATALOGUE, EVENT_NAMES } from '../../src/journal/catalogue.ts'
import type { EventName } from '../../src/journal/events.ts'
import { createLedger } from '../../src/journal/ledger.ts'
import {
  createLineSink,
  type ChunkWriter,
  type LineSink,
  type SinkLimits,
} from '../../src/journal/line-sink.ts'
import { createMetrics } from '../../src/journal/metrics.ts'
import { createReporter, type JournalReporter, type ReporterOptions } from '../../src/journal/reporter.ts'
import { createRotatingFile, rotatedPath } from '../../src/journal/rotating-file.ts'
import type { EventRow } from '../../src/journal/store-events.ts'
import type { JournalPolicy } from '../../src/policy/snapshot.ts'
import { EVENT_SAMPLES } from '../support/event-samples.ts'

const NOW = Date.UTC(2026, 10, 21, 12, 30, 0)
const policy: JournalPolicy = {
  log: 'stdout',
  logDir: '/nonexistent',
  logMaxBytes: 1_000_000,
  logFiles: 3,
  requests: 'refused',
  eventDays: 30,
  ledgerDays: 30,
  maxStoreBytes: 1 << 30,
}

type Setup = {
  readonly reporter: JournalReporter
  readonly lines: () => Promise<Record<string, unknown>[]>
  readonly rows: EventRow[]
  readonly metrics: ReturnType<typeof createMetrics>
}

function setUp(t: ExecutionContext, overrides: Partial<ReporterOptions> = {}): Setup {
  const chunks: Buffer[] = []
  const rows: EventRow[] = []
  const metrics = createMetrics({ clock: () => NOW, processMetrics: false })
  const reporter = createReporter({
    journalPolicy: policy,
    logDestination: createLineSink({
      write: chunk => {
        chunks.push(chunk)
        return Promise.resolve()
      },
      close: () => Promise.resolve(),
    }),
    metrics,
    ledger: null,
    store: {
      add: row => {
        rows.push(row)
        return true
      },
      listen: () => undefined,
      setRetention: () => undefined,
    },
    clock: () => NOW,
    ...overrides,
  })
  t.teardown(() => reporter.close())
  return {
    reporter,
    rows,
    metrics,
    lines: async () => {
      await reporter.flush()
      const text = Buffer.concat(chunks).toString()
      return text
        .split('\n')
        .filter(line => line !== '')
        .map(line => JSON.parse(line) as Record<string, unknown>)
    },
  }
}

function directory(t: ExecutionContext): string {
  const path = mkdtempSync(join(tmpdir(), 'portcullis-log-'))
  t.teardown(() => rmSync(path, { recursive: true, force: true }))
  return path
}

function reportAll(reporter: JournalReporter): void {
  const report = reporter.report as (name: EventName, fields: unknown) => void
  for (const name of EVENT_NAMES) report(name, EVENT_SAMPLES[name])
}

test('every event gives what the catalogue says: line, row and metric', async t => {
  const { reporter, lines, rows, metrics } = setUp(t)
  reportAll(reporter)
  const logged = await lines()
  t.deepEqual(
    rows.map(row => row.name),
    EVENT_NAMES.filter(name => CATALOGUE[name].stored),
  )
  const silent = [
    'connection.silent',
    'connection.closed',
    'request.closed',
    'websocket.opened',
    'heartbeat.opened',
    'heartbeat.counted',
    'heartbeat.closed',
    'stream.opened',
    'stream.counted',
    'stream.closed',
  ]
  t.deepEqual(
    logged.map(line => line['event']),
    EVENT_NAMES.filter(name => !silent.includes(name)),
  )
  const refused = logged.find(line => line['event'] === 'request.refused')
  t.like(refused, {
    level: 'info',
    time: '2026-11-21T12:30:00.000Z',
    code: 'R01',
    address: '203.0.113.7',
    reference: 'P7F3-K9QX-M2A',
  })
  t.like(
    logged.find(line => line['event'] === 'upstream.failed'),
    { code: 'U04', cause: 'reset', level: 'warn' },
  )
  const row = rows.find(given => given.name === 'request.refused')
  t.like(row, { address: '203.0.113.7', site: 'acme-berlin', class: 'console', reason: 'class-country' })
  t.is(rows.find(given => given.name === 'client.key-refused')?.address, '203.0.113.7')
  const text = await metrics.render()
  for (const name of EVENT_NAMES) t.true(text.includes(`portcullis_events_total{event="${name}"} 1`), name)
  t.true(
    text.includes(
      'portcullis_requests_refused_total{reason="class-country",class="console",listener="https",country="DE"} 1',
    ),
    text,
  )
  t.true(text.includes('portcullis_bytes_total{class="agent",direction="in"} 512'))
  t.regex(text, /portcullis_request_duration_seconds_count\{class="agent"\} 1/)
  t.notRegex(text, /203\.0\.113|192\.168|Agent\.aspx/)
})

for (const [requests, expected] of [
  ['all', ['request.refused', 'request.closed', 'request.closed']],
  ['refused', ['request.refused', 'request.closed']],
  ['none', []],
] as const) {
  test(`journal.requests: ${requests}`, async t => {
    const ledger = createLedger()
    const { reporter, lines, rows, metrics } = setUp(t, { journalPolicy: { ...policy, requests }, ledger })
    reporter.report('request.refused', EVENT_SAMPLES['request.refused'])
    reporter.report('request.closed', EVENT_SAMPLES['request.closed'])
    reporter.report('request.closed', { ...EVENT_SAMPLES['request.closed'], ending: 'limit' })
    t.deepEqual(
      (await lines()).map(line => line['event']),
      [...expected],
    )
    t.is(rows.length, 1)
    t.is(ledger.state().cells, 3)
    t.regex(await metrics.render(), /portcullis_events_total\{event="request.closed"\} 2/)
  })
}

test('trap 39: secrets and control characters reach neither line nor row nor gateway log', async t => {
  const logDir = directory(t)
  const { reporter, lines, rows } = setUp(t, { journalPolicy: { ...policy, log: 'both', logDir } })
  reporter.report('request.refused', {
    ...EVENT_SAMPLES['request.refused'],
    path: '/LabTech/Deployment.aspx?InstallerToken=S3cr3tValue9x',
    saw: 'ServerPassword=S3cr3tValue9x\n{"event":"forged"}\u001b[2J\u202e',
    userAgent: 'x\r\nforged: Bearer S3cr3tValue9x',
  })
  const text = JSON.stringify([await lines(), rows]) + readFileSync(join(logDir, 'GW001.log'), 'utf8')
  t.false(text.includes('S3cr3tValue9x'), text)
  t.is((await lines()).length, 1)
  t.is(readFileSync(join(logDir, 'GW001.log'), 'utf8').split('\n').length, 2)
  t.notRegex(text.replaceAll('\n', ''), /[\p{Cc}\p{Cf}]/u)
})

test('log files: both kinds, reload from standard output to files and back', async t => {
  const logDir = join(directory(t), 'made', 'by', 'the', 'log')
  const { reporter, lines } = setUp(t)
  reporter.report('keys.reloaded', { keys: 1 })
  reporter.reconfigure({ ...policy, log: 'file', logDir })
  reporter.report('keys.reloaded', { keys: 2 })
  reporter.report('gate.started', EVENT_SAMPLES['gate.started'])
  reporter.reconfigure({ ...policy, log: 'stdout' })
  reporter.report('keys.reloaded', { keys: 3 })
  t.deepEqual(
    (await lines()).map(line => line['keys']),
    [1, 3],
  )
  await reporter.close()
  const json = readFileSync(join(logDir, 'GW001.json'), 'utf8').trimEnd().split('\n')
  t.deepEqual(
    json.map(line => (JSON.parse(line) as { event: string }).event),
    ['keys.reloaded', 'gate.started'],
  )
  t.deepEqual(readFileSync(join(logDir, 'GW001.log'), 'utf8').trimEnd().split('\n'), [
    '21-Nov-26, 12:30:00, Reloading Gateway Keys',
    '21-Nov-26, 12:30:00, Portcullis 0.1.0, running on Debian 12, linux x64',
    '21-Nov-26, 12:30:00, Gateway started. Max connections: 20000',
  ])
})

test('rotation: numbered files stay within size and count, lines stay whole and in order', async t => {
  const where = directory(t)
  const options = { directory: where, name: 'GW', extension: '.log', maxBytes: 2_000, files: 3 }
  const limits: SinkLimits = { maxBuffered: 1_000_000, maxChunk: 500, retryMs: 1 }
  const lineOf = (index: number): string => `line ${index} ${'x'.repeat(40)}`
  for (const [from, to] of [
    [0, 150],
    [150, 300],
  ] as const) {
    // The second round continues in the file of the first, as after a restart.
    const sink = createLineSink(createRotatingFile(options), limits)
    for (let index = from; index < to; index++) sink.write(lineOf(index))
    await sink.close()
  }
  t.deepEqual(readdirSync(where).toSorted(), ['GW001.log', 'GW002.log', 'GW003.log'])
  const numbers: number[] = []
  for (const number of [3, 2, 1]) {
    const path = rotatedPath(options, number)
    t.true(statSync(path).size <= 2_000)
    for (const line of readFileSync(path, 'utf8').trimEnd().split('\n')) {
      const index = Number(line.split(' ')[1])
      t.is(line, lineOf(index))
      numbers.push(index)
    }
  }
  t.is(numbers.at(-1), 299)
  t.deepEqual(
    numbers,
    Array.from({ length: numbers.length }, (_, index) => 300 - numbers.length + index),
  )
})

function stalled(): { writer: ChunkWriter; release: () => void; written: () => number } {
  let release = (): void => undefined
  let written = 0
  const gate = new Promise<void>(resolve => {
    release = resolve
  })
  return {
    writer: {
      write: async chunk => {
        await gate
        written += chunk.toString().split('\n').length - 1
      },
      close: () => Promise.resolve(),
    },
    release,
    written: () => written,
  }
}

test('flood onto a disk that does not move: memory is bounded, lost lines are counted and reported', async t => {
  const { writer, release, written } = stalled()
  const sink: LineSink = createLineSink(writer, { maxBuffered: 100_000, maxChunk: 10_000, retryMs: 1 })
  const rows: EventRow[] = []
  const { reporter, metrics } = setUp(t, {
    logDestination: sink,
    store: { add: row => rows.push(row) > 0, listen: () => undefined, setRetention: () => undefined },
    floodLimits: {
      perAddress: { burst: 1e9, perSecond: 1 },
      perEvent: { burst: 1e9, perSecond: 1 },
      addresses: 10,
    },
  })
  for (let index = 0; index < 5_000; index++)
    reporter.report('connection.refused', EVENT_SAMPLES['connection.refused'])
  const before = rows.length
  t.is(before, 5_000)
  release()
  await reporter.flush()
  t.true(written() < 400, String(written()))
  await reporter.close()
  const dropped = rows.find(row => row.name === 'journal.dropped')
  t.is(JSON.parse(dropped?.fields ?? '{}').rows, 5_000 - written() + 1)
  t.regex(await metrics.render(), /portcullis_events_total\{event="connection.refused"\} 5000/)
})

test('flood of refusals: a bounded number of lines and rows, one summary, all counted', async t => {
  const { reporter, lines, rows, metrics } = setUp(t)
  for (let index = 0; index < 20_000; index++)
    reporter.report('connection.refused', {
      ...EVENT_SAMPLES['connection.refused'],
      address: `10.0.${index % 200}.1`,
    })
  await reporter.close()
  t.is(rows.filter(row => row.name === 'connection.refused').length, 3_000)
  t.is((await lines()).length, 3_001)
  t.is(JSON.parse(rows.find(row => row.name === 'journal.dropped')?.fields ?? '{}').rows, 17_000)
  t.regex(await metrics.render(), /portcullis_events_total\{event="connection.refused"\} 20000/)
})

test('a log directory that cannot be written to loses lines, not traffic', async t => {
  const logDir = join(directory(t), 'file')
  writeFileSync(logDir, 'in the way')
  const { reporter, rows } = setUp(t, { journalPolicy: { ...policy, log: 'file', logDir } })
  reporter.report('keys.reloaded', { keys: 1 })
  await reporter.close()
  t.deepEqual(
    rows.map(row => row.name),
    ['keys.reloaded'],
  )
})

test('report never throws, whatever it is given and whatever breaks below it', async t => {
  const { reporter, metrics } = setUp(t, {
    store: {
      add: () => {
        throw new Error('broken')
      },
      listen: () => undefined,
      setRetention: () => undefined,
    },
  })
  const report = reporter.report as (name: string, fields: unknown) => void
  for (const name of [...EVENT_NAMES, 'no.such-event'])
    for (const fields of [{}, { path: 7 }, { validToMs: Number.NaN, reason: 'none' }]) report(name, fields)
  report('gate.started', null)
  t.regex(await metrics.render(), /portcullis_journal_errors_total [1-9]/)
})

test('metrics: labels beyond their bound become other, gauges are read when asked', async t => {
  let open = 3
  const metrics = createMetrics({
    clock: () => NOW,
    processMetrics: true,
    limits: { valuesPerLabel: 4, series: 6 },
    gauges: {
      connectionsOpen: () => new Map([['https', open]]),
      webSocketsOpen: () => 2,
      upstreams: () => [{ group: 'rmm', member: 'rmm/primary', up: true, openRequests: 1 }],
      certificates: () => [{ name: 'rmm.example.test', validToMs: NOW + 86_400_000 * 2 }],
      geoDatabases: () => [{ role: 'first', builtMs: NOW - 5_000 }],
      policyLoadedMs: () => NOW,
      overlay: () => ({ bans: 4, allows: 1 }),
      store: () => ({ usable: true, usedBytes: 99, queuedRows: 0, droppedRows: 0, lastBatchMs: 2 }),
      ledger: () => ({ sources: 1, cells: 2, overflowed: 0, lost: 0 }),
    },
  })
  for (let index = 0; index < 50; index++)
    metrics.count('connection.refused', {
      ...EVENT_SAMPLES['connection.refused'],
      country: `X${index}`,
      listener: `l${index % 7}`,
    })
  open = 5
  const text = await metrics.render()
  const series = text.split('\n').filter(line => line.startsWith('portcullis_connections_refused_total{'))
  t.true(series.length <= 7, series.join('\n'))
  t.is(
    series.reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0),
    50,
  )
  t.true(series.some(line => line.includes('country="other"')))
  for (const line of [
    'portcullis_connections_open{listener="https"} 5',
    'portcullis_upstream_up{group="rmm",member="rmm/primary"} 1',
    'portcullis_certificate_days_left{name="rmm.example.test"} 2',
    'portcullis_geo_database_age_seconds{role="first"} 5',
    'portcullis_overlay_entries{kind="ban"} 4',
    'portcullis_store_bytes 99',
  ])
    t.true(text.includes(line), line)
  t.regex(text, /nodejs_eventloop_lag_seconds/)
  t.regex(text, /process_cpu_seconds_total/)
})

test('a failure that the gate answered itself is logged and stored, so that its reference can be explained', async t => {
  const { reporter, lines, rows } = setUp(t)
  const { reference: _none, ...served } = { reference: null, ...EVENT_SAMPLES['request.closed'] }
  reporter.report('request.closed', served)
  reporter.report('request.closed', {
    ...served,
    status: 502,
    ending: 'upstream-refused',
    reference: 'P7F3-K9QX-M2A',
  })
  t.deepEqual(
    rows.map(row => [row.name, row.reference]),
    [['request.closed', 'P7F3-K9QX-M2A']],
  )
  const logged = await lines()
  t.is(logged.length, 1)
  t.regex(String(logged[0]?.['msg']), /Reference P7F3-K9QX-M2A\.$/)
})
