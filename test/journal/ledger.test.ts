// The ledger: what it keeps of each event, its bounds under floods, and the way through store, packing and replay.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import type { EventFields } from '../../src/journal/events.ts'
import { CELL_WIDTH, HOUR_MS, type LedgerRow } from '../../src/journal/ledger-facts.ts'
import { createLedger, type Ledger } from '../../src/journal/ledger.ts'
import { LEDGER_LIMITS } from '../../src/journal/ledger-hour.ts'
import { openStoreCore, openStoreReader, type StoreCore } from '../../src/journal/store-core.ts'
import { openStore } from '../../src/journal/store.ts'
import { EVENT_SAMPLES } from '../support/event-samples.ts'
import { cidr } from '../support/snapshot.ts'

const NOW = Date.UTC(2026, 10, 21, 12, 30, 0)
const DAY = 24 * HOUR_MS
const retention = { eventDays: 30, ledgerDays: 30, maxStoreBytes: 1 << 30 }
const closed = EVENT_SAMPLES['request.closed']

function file(t: ExecutionContext): string {
  const path = mkdtempSync(join(tmpdir(), 'portcullis-ledger-'))
  t.teardown(() => rmSync(path, { recursive: true, force: true }))
  return join(path, 'journal.db')
}

function opened(t: ExecutionContext): StoreCore {
  const core = openStoreCore(file(t))
  t.teardown(() => core.close())
  return core
}

function drainInto(ledger: Ledger, core: StoreCore): void {
  for (let batch = ledger.drain(500); batch !== null; batch = ledger.drain(500))
    core.write({ events: [], ledger: batch })
}

function total(rows: readonly LedgerRow[]): number {
  return rows.reduce((sum, row) => sum + row.count, 0)
}

test("a source's last day: classes, outcomes, TLS offered, last check-in", t => {
  const core = opened(t)
  const ledger = createLedger()
  ledger.record('request.closed', closed, NOW)
  ledger.record('request.closed', { ...closed, bytesIn: 8, status: 502 }, NOW + 5_000)
  ledger.record('request.closed', { ...closed, ending: 'client-abort' }, NOW + 6_000)
  ledger.record('request.refused', EVENT_SAMPLES['request.refused'], NOW + 7_000)
  ledger.record('connection.refused', EVENT_SAMPLES['connection.refused'], NOW + 8_000)
  ledger.record('connection.silent', EVENT_SAMPLES['connection.silent'], NOW + 9_000)
  ledger.record('handshake.failed', EVENT_SAMPLES['handshake.failed'], NOW + 10_000)
  ledger.record('connection.closed', EVENT_SAMPLES['connection.closed'], NOW + 11_000)
  ledger.record('connection.closed', { ...EVENT_SAMPLES['connection.closed'], requests: 0 }, NOW + 12_000)
  ledger.record('upstream.down', EVENT_SAMPLES['upstream.down'], NOW)
  drainInto(ledger, core)
  const rows = core.ledger.ofSource('203.0.113.7', NOW - DAY)
  t.is(rows.length, 7)
  const agent = rows.find(row => row.shape.class === 'agent')
  t.deepEqual(agent, {
    source: '203.0.113.7',
    hourMs: NOW - HOUR_MS / 2,
    shape: {
      phase: 'request',
      listener: 'https',
      host: 'rmm.example.test',
      serverName: 'rmm.example.test',
      class: 'agent',
      method: 'POST',
      path: '/LabTech/Agent.aspx',
      webSocket: false,
      offered: ['TLSv1.2', 'TLSv1.3'],
      negotiated: 'TLSv1.2',
      ja4: 't13d1516h2_8daaf6152771_b186095e22b6',
      userAgent: 'automate',
      outcome: 'passed',
    },
    count: 1,
    bytesIn: 512,
    bytesOut: 1_024,
    firstMs: NOW,
    lastMs: NOW,
  })
  t.deepEqual(rows.map(row => `${row.shape.phase} ${row.shape.outcome}`).toSorted(), [
    'accept silent',
    'hello handshake-failed',
    'hello passed',
    'hello tls-version-too-low',
    'request class-country',
    'request failed',
    'request passed',
  ])
})

test('a WebSocket counts when it opens and adds its bytes when it closes, in one row', t => {
  const core = opened(t)
  const ledger = createLedger()
  const { offered, serverName, ja4, tls, userAgent } = closed
  const socket = { host: closed.host, path: '/agent.ashx', class: 'agent' } as const
  ledger.record(
    'websocket.opened',
    { ...EVENT_SAMPLES['websocket.opened'], ...socket, offered, serverName, ja4, tls, userAgent },
    NOW,
  )
  const end: EventFields['request.closed'] = {
    ...closed,
    ...socket,
    method: 'GET',
    webSocket: true,
    status: 101,
  }
  ledger.record('request.closed', { ...end, ending: 'client-abort' }, NOW + 10_000)
  drainInto(ledger, core)
  const rows = core.ledger.ofSource('203.0.113.7', 0)
  t.is(rows.length, 1)
  t.like(rows[0], { count: 1, bytesIn: 512, lastMs: NOW + 10_000 })
})

test('additions of several drains and of a restarted gate add up, by hour', t => {
  const core = opened(t)
  for (let restart = 0; restart < 3; restart++) {
    const ledger = createLedger()
    for (let hour = 0; hour < 4; hour++) {
      ledger.record('request.closed', closed, NOW + hour * HOUR_MS)
      drainInto(ledger, core)
      ledger.record('request.closed', closed, NOW + hour * HOUR_MS + restart)
    }
    drainInto(ledger, core)
  }
  const rows = core.ledger.ofSource('203.0.113.7', 0)
  t.deepEqual(
    rows.map(row => [row.hourMs - (NOW - HOUR_MS / 2), row.count]),
    [0, 1, 2, 3].map(hour => [hour * HOUR_MS, 6]),
  )
  t.is(core.ledger.ofSource('203.0.113.7', NOW + 2 * HOUR_MS).length, 2)
})

test('finished days are packed, read the same, and late additions are merged in', t => {
  const core = opened(t)
  const ledger = createLedger()
  const record = (nowMs: number, address: string): void =>
    ledger.record('request.closed', { ...closed, address }, nowMs)
  for (let day = 0; day < 3; day++)
    for (let hour = 0; hour < 3; hour++)
      for (const address of ['203.0.113.7', '203.0.113.8', '2001:db8::1'])
        record(NOW + day * DAY + hour * HOUR_MS, address)
  drainInto(ledger, core)
  const before = [...core.ledger.all(0)]
  t.is(before.length, 27)
  let steps = 0
  while (core.upkeep(retention, NOW + 2 * DAY).more) steps++
  t.true(steps <= 1)
  t.deepEqual([...core.ledger.all(0)], before)
  t.deepEqual(
    core.ledger.ofSource('2001:db8::1', 0),
    before.filter(row => row.source === '2001:db8::1'),
  )
  record(NOW, '203.0.113.7')
  drainInto(ledger, core)
  t.is(total(core.ledger.ofSource('203.0.113.7', 0)), 10)
  core.upkeep(retention, NOW + 2 * DAY)
  const merged = core.ledger.ofSource('203.0.113.7', 0)
  t.is(merged.length, 9)
  t.is(total(merged), 10)
})

test('ranges and replay see every source once, in order of days', t => {
  const core = opened(t)
  const ledger = createLedger()
  for (let index = 0; index < 300; index++) {
    const address = `198.51.${100 + (index >> 7)}.${index & 127}`
    ledger.record('request.closed', { ...closed, address }, NOW + (index % 2) * DAY)
  }
  drainInto(ledger, core)
  t.is(core.ledger.ofRange(cidr('198.51.100.0/25'), 0, 1_000).length, 128)
  t.is(core.ledger.ofRange(cidr('198.51.100.0/25'), 0, 10).length, 10)
  t.is(core.ledger.ofRange(cidr('198.51.100.0/24'), NOW + HOUR_MS, 1_000).length, 64)
  const replayed = [...core.ledger.all(0)]
  t.is(replayed.length, 300)
  t.is(new Set(replayed.map(row => row.source)).size, 300)
  t.deepEqual(
    replayed.map(row => row.hourMs),
    replayed.map(row => row.hourMs).toSorted((a, b) => a - b),
  )
  t.is([...core.ledger.all(NOW + DAY)].length, 150)
})

test('sums say the same as all rows, whether days are packed, open or cut in two by the question', t => {
  const core = opened(t)
  const ledger = createLedger()
  const record = (nowMs: number, address: string, method: string): void =>
    ledger.record('request.closed', { ...closed, address, method }, nowMs)
  for (let day = 0; day < 4; day++) {
    for (let hour = 0; hour < 5; hour++) {
      for (let index = 0; index < 6; index++)
        record(
          NOW + day * DAY + hour * HOUR_MS + index * 7_000,
          `203.0.113.${index}`,
          hour % 2 === 0 ? 'GET' : 'POST',
        )
    }
  }
  drainInto(ledger, core)
  while (core.upkeep(retention, NOW + 3 * DAY).more);
  // Comes late: this day is packed and open at once.
  record(NOW + DAY, '203.0.113.3', 'PUT')
  drainInto(ledger, core)
  const dayOf = (ms: number): number => Math.floor(ms / DAY)
  for (const sinceMs of [0, NOW + DAY, NOW + 2 * DAY + 2 * HOUR_MS, NOW + 9 * DAY]) {
    const summed = new Map<string, { count: number; hours: number; lastMs: number }>()
    const add = (
      row: { source: string | null; shape: { method: string | null }; count: number; lastMs: number },
      hours: number,
      into: typeof summed,
    ): void => {
      const key = `${dayOf(row.lastMs)} ${row.source} ${row.shape.method}`
      const known = into.get(key) ?? { count: 0, hours: 0, lastMs: 0 }
      into.set(key, {
        count: known.count + row.count,
        hours: known.hours + hours,
        lastMs: Math.max(known.lastMs, row.lastMs),
      })
    }
    for (const row of core.ledger.all(sinceMs)) add(row, 1, summed)
    const sums: typeof summed = new Map()
    let rows = 0
    for (const row of core.ledger.sums(sinceMs)) {
      rows++
      add(row, row.hours, sums)
    }
    const order = ([a]: readonly [string, unknown], [b]: readonly [string, unknown]): number =>
      a < b ? -1 : 1
    t.deepEqual([...sums].toSorted(order), [...summed].toSorted(order))
    if (sinceMs === 0) t.true(rows < [...core.ledger.all(0)].length)
  }
})

test('retention removes days and dictionary entries that nothing points to any more', t => {
  const core = opened(t)
  const ledger = createLedger()
  ledger.record('request.closed', closed, NOW - 40 * DAY)
  ledger.record('request.closed', { ...closed, address: '203.0.113.8' }, NOW)
  drainInto(ledger, core)
  while (core.upkeep(retention, NOW).more);
  t.deepEqual(
    [...core.ledger.all(0)].map(row => row.source),
    ['203.0.113.8'],
  )
  t.is(core.size().ledgerSources, 1)
  ledger.record('request.closed', closed, NOW - 40 * DAY)
  drainInto(ledger, core)
  t.is(core.ledger.ofSource('203.0.113.7', 0).length, 1, 'a late addition makes its dictionary entries anew')
  while (core.upkeep(retention, NOW).more);
  ledger.record('request.closed', closed, NOW)
  drainInto(ledger, core)
  t.is(core.ledger.ofSource('203.0.113.7', 0).length, 1, 'a forgotten source comes back')
})

test('trap 25: a flood from forged sources is bounded, agents keep their own rows, and nothing goes uncounted', t => {
  const core = opened(t)
  const ledger = createLedger({ ...LEDGER_LIMITS, sources: 1_000, cells: 2_000 })
  const refused = EVENT_SAMPLES['connection.refused']
  for (let index = 0; index < 100_000; index++) {
    const address = `10.${index >> 16}.${(index >> 8) & 255}.${index & 255}`
    ledger.record('connection.refused', { ...refused, address, serverName: `x${index}.example` }, NOW)
  }
  for (let index = 0; index < 400; index++)
    ledger.record('request.closed', { ...closed, address: `198.51.100.${index % 200}` }, NOW)
  const { sources, cells, shapes, overflowed, lost } = ledger.state()
  t.true(
    sources <= 1_000 && cells <= 2_200 && shapes <= 2 * LEDGER_LIMITS.shapes,
    JSON.stringify(ledger.state()),
  )
  t.true(overflowed > 90_000)
  t.is(lost, 0)
  drainInto(ledger, core)
  const rows = [...core.ledger.all(0)]
  t.is(total(rows), 100_400)
  t.is(rows.filter(row => row.shape.class === 'agent' && row.source !== null).length, 200)
  t.true(total(rows.filter(row => row.source === null)) > 90_000)
})

test('one source with endless paths, names and agents is summed up', t => {
  const ledger = createLedger()
  for (let index = 0; index < 20_000; index++) {
    ledger.record(
      'request.refused',
      {
        ...EVENT_SAMPLES['request.refused'],
        path: `/${index.toString(26).replace(/[0-9]/g, 'z')}${'q'.repeat(index % 200)}`,
        host: `h${index}.example`,
        userAgent: `agent ${index}`,
        method: `M${index}`,
      },
      NOW,
    )
  }
  const { cells, lost, sources } = ledger.state()
  t.is(sources, 1)
  t.true(cells <= 130, String(cells))
  t.is(lost, 0)
  const batch = ledger.drain(10_000)
  let count = 0
  const numbers = batch?.cells ?? new Float64Array()
  for (let at = 3; at < numbers.length; at += CELL_WIDTH) count += numbers[at] ?? 0
  t.is(count, 20_000)
})

test('a fleet of very many TLS stacks keeps its paths and loses only fingerprints', t => {
  const core = opened(t)
  const ledger = createLedger({ ...LEDGER_LIMITS, shapes: 20 })
  for (let index = 0; index < 200; index++)
    ledger.record('request.closed', { ...closed, address: `10.0.0.${index}`, ja4: `t13d${index}` }, NOW)
  drainInto(ledger, core)
  const rows = [...core.ledger.all(0)]
  t.is(rows.length, 200)
  t.true(rows.every(row => row.shape.path === '/LabTech/Agent.aspx'))
  t.is(rows.filter(row => row.shape.ja4 !== null).length, 20)
})

test('a very long host or name is the same row each time', t => {
  const ledger = createLedger()
  const fields = { ...closed, host: 'h'.repeat(2_000), serverName: 's'.repeat(2_000) }
  for (let index = 0; index < 100; index++) ledger.record('request.closed', fields, NOW)
  t.is(ledger.state().cells, 1)
})

test('when the store takes nothing, the waiting additions stay bounded', t => {
  const ledger = createLedger({ ...LEDGER_LIMITS, sources: 100, cells: 100 })
  for (let hour = 0; hour < 50; hour++)
    for (let index = 0; index < 100; index++)
      ledger.record('request.closed', { ...closed, address: `10.0.0.${index}` }, NOW + hour * HOUR_MS)
  t.true(ledger.state().waiting <= 200)
  t.true(ledger.state().lost > 0)
})

test('a batch that fails leaves nothing behind, and the next one with the same names is whole', t => {
  const core = opened(t)
  const ledger = createLedger()
  ledger.record('request.closed', closed, NOW)
  ledger.record('request.closed', { ...closed, address: '203.0.113.8' }, NOW)
  const batch = ledger.drain(10)
  batch?.cells.fill(Number.NaN, CELL_WIDTH + 3)
  t.throws(() => core.write({ events: [], ledger: batch }))
  t.deepEqual([...core.ledger.all(0)], [])
  ledger.record('request.closed', { ...closed, address: '203.0.113.9' }, NOW)
  ledger.record('request.closed', closed, NOW)
  drainInto(ledger, core)
  const sources = [...core.ledger.all(0)].map(row => row.source)
  t.deepEqual(sources, ['203.0.113.9', '203.0.113.7'])
})

test('numbers that are none do not spoil the batch of everybody else', t => {
  const core = opened(t)
  const ledger = createLedger()
  ledger.record('request.closed', { ...closed, bytesIn: Number.NaN, bytesOut: -5 }, NOW)
  drainInto(ledger, core)
  t.like(core.ledger.ofSource('203.0.113.7', 0)[0], { count: 1, bytesIn: 0, bytesOut: 0 })
})

test('the store drains the ledger by itself, and a reader finds it', async t => {
  const path = file(t)
  const ledger = createLedger()
  const store = await openStore({ file: path, retention, clock: () => NOW, ledger, flushMs: 5, ledgerMs: 5 })
  for (let index = 0; index < 5_000; index++)
    ledger.record('request.closed', { ...closed, address: `10.1.${index >> 8}.${index & 255}` }, NOW)
  while ((await store.call('ledgerOfRange', cidr('10.1.0.0/16'), 0, 10_000)).length < 5_000);
  ledger.record('request.closed', closed, NOW)
  await store.close()
  t.is(ledger.state().waiting, 0)
  const reader = openStoreReader(path)
  t.is([...reader.ledger.all(0)].length, 5_001)
  reader.close()
})
