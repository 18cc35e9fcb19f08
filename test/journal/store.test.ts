// The store: queries, overlay, crash safety, damage, full queue, and the thread behind its handle.
import { execFile, fork } from 'node:child_process'
import { once } from 'node:events'
import {
  closeSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import test, { type ExecutionContext } from 'ava'
import type { EventFields, EventName } from '../../src/journal/events.ts'
import { openOrReplaceStore, openStoreCore, openStoreReader } from '../../src/journal/store-core.ts'
import type { EventRow } from '../../src/journal/store-events.ts'
import { buildOverlay } from '../../src/journal/store-overlay.ts'
import { openStore, type Store, type StoreOptions } from '../../src/journal/store.ts'
import { parseAddress } from '../../src/net/address.ts'
import { cidr } from '../support/snapshot.ts'

const NOW = Date.UTC(2026, 10, 21, 12, 0, 0)
const DAY = 86_400_000
const retention = { eventDays: 30, ledgerDays: 30, maxStoreBytes: 1 << 30 }

function directory(t: ExecutionContext): string {
  const path = mkdtempSync(join(tmpdir(), 'portcullis-store-'))
  t.teardown(() => rmSync(path, { recursive: true, force: true }))
  return path
}

function row(overrides: Partial<EventRow> = {}): EventRow {
  return {
    timeMs: NOW,
    name: 'request.refused',
    severity: 'info',
    address: '203.0.113.7',
    site: null,
    class: 'console',
    reason: 'class-country',
    reference: null,
    fields: '{"a":1}',
    ...overrides,
  }
}

async function open(t: ExecutionContext, options: Partial<StoreOptions> & { file: string }): Promise<Store> {
  const store = await openStore({ retention, clock: () => NOW, ledger: null, ...options })
  t.teardown(() => store.close())
  return store
}

test('events are found by reference, address, range, name, site, class, reason, severity and time', t => {
  const file = join(directory(t), 'journal.db')
  const core = openStoreCore(file)
  t.teardown(() => core.close())
  core.write({
    ledger: null,
    events: [
      row({ reference: 'P7F3-K9QX-M2A' }),
      row({ address: '203.0.113.200', timeMs: NOW + 1, class: 'agent' }),
      row({ address: '203.0.114.1', timeMs: NOW + 2, reason: 'banned', site: 'acme' }),
      row({ address: '2001:db8::1', timeMs: NOW + 3 }),
      row({
        address: null,
        timeMs: NOW + 4,
        name: 'upstream.down',
        severity: 'error',
        reason: null,
        class: null,
      }),
    ],
  })
  const times = (query: Parameters<typeof core.events.find>[0]): number[] =>
    core.events.find(query).map(event => event.timeMs - NOW)
  t.like(core.events.byReference('P7F3-K9QX-M2A')[0], {
    address: '203.0.113.7',
    reason: 'class-country',
    fields: { a: 1 },
    severity: 'info',
  })
  t.deepEqual(core.events.byReference('P7F3-K9QX-M2B'), [])
  t.deepEqual(times({ limit: 10 }), [4, 3, 2, 1, 0])
  t.deepEqual(times({ limit: 2 }), [4, 3])
  t.deepEqual(times({ range: cidr('203.0.113.7'), limit: 10 }), [0])
  t.deepEqual(times({ range: cidr('203.0.113.0/24'), limit: 10 }), [1, 0])
  t.deepEqual(times({ range: cidr('0.0.0.0/0'), limit: 10 }), [2, 1, 0])
  t.deepEqual(times({ range: cidr('2001:db8::/32'), limit: 10 }), [3])
  t.deepEqual(times({ range: cidr('203.0.112.0/22'), sinceMs: NOW + 1, untilMs: NOW + 2, limit: 10 }), [1])
  t.deepEqual(times({ name: 'upstream.down', limit: 10 }), [4])
  t.deepEqual(times({ minimumSeverity: 'warning', limit: 10 }), [4])
  t.deepEqual(times({ site: 'acme', limit: 10 }), [2])
  t.deepEqual(times({ class: 'agent', limit: 10 }), [1])
  t.deepEqual(times({ reason: 'banned', name: 'request.refused', limit: 10 }), [2])
  t.deepEqual(core.events.countsByReason(NOW), [
    { name: 'request.refused', reason: 'class-country', count: 3 },
    { name: 'request.refused', reason: 'banned', count: 1 },
    { name: 'upstream.down', reason: null, count: 1 },
  ])
  t.is(core.size().events, 5)
  t.is(statSync(file).mode & 0o077, 0, 'nobody else reads it')
})

test('overlay entries are replaced, listed, removed and expire; the overlay matches like the policy', t => {
  const core = openStoreCore(join(directory(t), 'journal.db'))
  t.teardown(() => core.close())
  const base = { reason: 'tests', owner: 'alice', createdMs: NOW, classes: null } as const
  const first = core.overlay.add({ ...base, kind: 'ban', range: '203.0.113.0/24', expiresMs: NOW + 5 })
  const again = core.overlay.add({ ...base, kind: 'ban', range: '203.0.113.0/24', expiresMs: NOW + 9 })
  t.is(first.id, again.id)
  core.overlay.add({
    ...base,
    kind: 'ban',
    range: '203.0.113.0/24',
    classes: ['console', 'api'],
    expiresMs: null,
  })
  core.overlay.add({ ...base, kind: 'allow', range: '2001:db8::/32', expiresMs: null })
  const overlay = buildOverlay(core.overlay.list())
  const address = parseAddress('203.0.113.9')
  if (address === undefined) return t.fail()
  t.is(overlay.ban.match(address, entry => entry.classes === null)?.expiresMs, NOW + 9)
  t.deepEqual(
    overlay.ban.matchAll(address).map(entry => entry.classes),
    [new Set(['console', 'api']), null],
  )
  t.is(overlay.allow.size, 1)
  t.regex(overlay.ban.match(address)?.at.file ?? '', /ban \d+ set by alice/)
  t.deepEqual(core.overlay.removeExpired(NOW + 8), [])
  t.deepEqual(
    core.overlay.removeExpired(NOW + 9).map(entry => entry.range),
    ['203.0.113.0/24'],
  )
  t.is(core.overlay.remove('ban', '203.0.113.0/24').length, 1)
  t.is(core.overlay.remove('ban', '203.0.113.0/24').length, 0)
  t.is(core.overlay.list().length, 1)
})

test('a reader reads while the gate writes, and when no gate runs', async t => {
  const file = join(directory(t), 'journal.db')
  t.throws(() => openStoreReader(file), { code: 'store-missing' } as never)
  const store = await open(t, { file })
  store.add(row({ reference: 'P7F3-K9QX-M2A' }))
  await store.flush()
  const reader = openStoreReader(file)
  t.is(reader.events.byReference('P7F3-K9QX-M2A').length, 1)
  store.add(row({ reference: 'P7F3-K9QX-M2B' }))
  await store.flush()
  t.is(reader.events.byReference('P7F3-K9QX-M2B').length, 1)
  reader.close()
  await store.close()
  const later = openStoreReader(file)
  t.is(later.events.find({ limit: 10 }).length, 2)
  later.close()
})

test('rows go in without being flushed by hand, and questions are answered by the thread', async t => {
  const file = join(directory(t), 'journal.db')
  const store = await open(t, { file, flushMs: 10 })
  t.true(store.add(row({ reference: 'P7F3-K9QX-M2A' })))
  while ((await store.call('eventsByReference', 'P7F3-K9QX-M2A')).length === 0);
  const entry = await store.call('addOverlayEntry', {
    kind: 'ban',
    range: '203.0.113.0/24',
    classes: null,
    reason: 'x',
    owner: 'y',
    createdMs: NOW,
    expiresMs: NOW - 1,
  })
  t.deepEqual(await store.call('overlayEntries'), [entry])
  await t.throwsAsync(store.call('findEvents', { limit: 1, range: null as never }))
  t.is((await store.call('findEvents', { limit: 5, range: cidr('203.0.0.0/16') })).length, 1)
})

test('upkeep removes what is old, reports ended bans and tells that the overlay changed', async t => {
  const file = join(directory(t), 'journal.db')
  const events: [EventName, unknown][] = []
  let expired = 0
  const store = await open(t, { file, onExpired: entries => (expired += entries.length) })
  store.listen((name, fields) => events.push([name, fields]))
  for (let index = 0; index < 2_500; index++) store.add(row({ timeMs: NOW - 31 * DAY }))
  store.add(row())
  await store.flush()
  await store.call('addOverlayEntry', {
    kind: 'ban',
    range: '203.0.113.0/24',
    classes: null,
    reason: 'x',
    owner: 'alice',
    createdMs: NOW - 10,
    expiresMs: NOW - 1,
  })
  await store.upkeep()
  t.is((await store.call('findEvents', { limit: 100 })).length, 1)
  t.is(expired, 1)
  t.deepEqual(events.map(([name]) => name).toSorted(), ['ban.removed', 'journal.trimmed'])
  t.like(Object.fromEntries(events)['journal.trimmed'], { rows: 2_500 })
  t.true(store.state().usedBytes > 0)
})

test('size limit: old rows go in steps until the store is small enough, and the file shrinks', async t => {
  const file = join(directory(t), 'journal.db')
  const store = await open(t, { file })
  const fields = JSON.stringify({ text: 'x'.repeat(1_000) })
  for (let index = 0; index < 8_000; index++) store.add(row({ timeMs: NOW - 8_000 + index, fields }))
  await store.flush()
  store.setRetention({ ...retention, maxStoreBytes: 4_000_000 })
  await store.upkeep()
  const { usedBytes } = await store.call('size')
  t.true(usedBytes <= 4_000_000 && usedBytes > 1_000_000, String(usedBytes))
  const [newest] = await store.call('findEvents', { limit: 1 })
  t.is(newest?.timeMs, NOW - 1)
  await store.close()
  t.true(statSync(file).size < 8_000_000, String(statSync(file).size))
})

test('kill -9 while writing: the database opens, is whole, and lost at most what was not acknowledged', async t => {
  const file = join(directory(t), 'journal.db')
  const child = fork(new URL('./store-writer.ts', import.meta.url), [file], {
    execArgv: ['--disable-warning=ExperimentalWarning'],
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  })
  let acknowledged = 0
  for (let batches = 0; batches < 20; batches++) {
    const [written] = (await once(child, 'message')) as [number]
    acknowledged = written
  }
  child.kill('SIGKILL')
  await once(child, 'exit')
  const database = new DatabaseSync(file)
  t.is(database.prepare('PRAGMA integrity_check').get()?.['integrity_check'], 'ok')
  database.close()
  const { core, replaced } = openOrReplaceStore(file, NOW)
  t.is(replaced, null)
  t.true(core.size().events >= acknowledged && acknowledged > 0)
  core.close()
})

for (const [what, damage] of [
  ['text', () => Buffer.from('this is not a database, it is a letter '.repeat(200))],
  [
    'random pages',
    (good: Buffer) => Buffer.concat([good.subarray(0, 4096), Buffer.alloc(good.length - 4096, 0xa5)]),
  ],
] as const) {
  test(`a file of ${what} is moved aside, loudly, and the store goes on`, async t => {
    const where = directory(t)
    const file = join(where, 'journal.db')
    const core = openStoreCore(file)
    core.write({ events: Array.from({ length: 500 }, () => row()), ledger: null })
    core.close()
    writeFileSync(file, damage(readFileSync(file)))
    const store = await open(t, { file })
    const events: [EventName, EventFields[EventName]][] = []
    store.listen((name, fields) => events.push([name, fields]))
    t.is(events[0]?.[0], 'journal.store-replaced')
    t.like(events[0]?.[1], { file, entriesKept: 0 })
    t.true(readdirSync(where).some(name => name.includes('.damaged-')))
    t.true(store.add(row()))
    await store.flush()
    t.is((await store.call('findEvents', { limit: 10 })).length, 1)
  })
}

test('bans survive a damaged event table', t => {
  const file = join(directory(t), 'journal.db')
  const core = openStoreCore(file)
  core.overlay.add({
    kind: 'ban',
    range: '203.0.113.0/24',
    classes: null,
    reason: 'x',
    owner: 'alice',
    createdMs: NOW,
    expiresMs: null,
  })
  core.write({ events: Array.from({ length: 2_000 }, () => row()), ledger: null })
  core.close()
  const descriptor = openSync(file, 'r+')
  writeSync(descriptor, Buffer.alloc(4096 * 4, 0xa5), 0, 4096 * 4, statSync(file).size - 4096 * 6)
  closeSync(descriptor)
  const { core: fresh, replaced } = openOrReplaceStore(file, NOW)
  t.teardown(() => fresh.close())
  t.is(replaced?.entriesKept, 1)
  t.is(fresh.overlay.list()[0]?.owner, 'alice')
})

test('a store that cannot be opened is reported, drops with a count, and is used as soon as it can be', async t => {
  const where = directory(t)
  const file = join(where, 'state', 'journal.db')
  writeFileSync(join(where, 'state'), 'a file where the directory should be')
  let nowMs = NOW
  const store = await open(t, { file, retryMs: 20, flushMs: 10, clock: () => (nowMs += 1_000) })
  const events: [EventName, EventFields[EventName]][] = []
  let wake: () => void = () => undefined
  store.listen((name, fields) => {
    events.push([name, fields])
    wake()
  })
  t.is(events[0]?.[0], 'journal.store-failed')
  t.false(store.add(row()))
  while (!events.some(([name]) => name === 'journal.dropped'))
    await new Promise<void>(resolve => {
      wake = resolve
    })
  rmSync(join(where, 'state'))
  while (!store.state().usable) await new Promise(resolve => setImmediate(resolve))
  t.true(store.add(row()))
  await store.flush()
  t.is((await store.call('findEvents', { limit: 10 })).length, 1)
})

test('a flood fills the queue to its bound and no further, and says so', async t => {
  const file = join(directory(t), 'journal.db')
  const store = await open(t, { file, maxQueuedRows: 1_000, flushMs: 20 })
  let wake: (fields: unknown) => void = () => undefined
  const reported = new Promise(resolve => {
    wake = resolve
  })
  store.listen((name, fields) => {
    if (name === 'journal.dropped') wake(fields)
  })
  let taken = 0
  for (let index = 0; index < 50_000; index++) if (store.add(row())) taken++
  t.is(taken, 1_000)
  t.is(store.state().queuedRows, 1_000)
  t.is(store.state().droppedRows, 49_000)
  t.like(await reported, { rows: 49_000 })
  await store.flush()
  t.is((await store.call('size')).events, 1_000)
})

test('a journal of a newer version is left alone', async t => {
  const file = join(directory(t), 'journal.db')
  openStoreCore(file).close()
  const database = new DatabaseSync(file)
  database.exec('PRAGMA user_version = 999')
  database.close()
  t.throws(() => openOrReplaceStore(file, NOW), { code: 'store-newer' } as never)
  t.throws(() => openStoreReader(file), { code: 'store-unreadable' } as never)
  const store = await open(t, { file })
  t.false(store.state().usable)
})

test('a full disk stops recording, not the process: rows are counted as lost, what was stored can be read', async t => {
  const file = join(directory(t), 'journal.db')
  const script = fileURLToPath(new URL('./store-limited.ts', import.meta.url))
  const command = 'ulimit -f 3000; exec "$0" --disable-warning=ExperimentalWarning "$@"'
  const { stdout } = await promisify(execFile)('sh', ['-c', command, process.execPath, script, file])
  const told = JSON.parse(stdout) as {
    usable: boolean
    droppedRows: number
    writtenRows: number
    found: number
  }
  t.true(told.usable)
  t.is(told.found, 5)
  t.true(told.writtenRows > 0 && told.droppedRows > 0, stdout)
  t.is(told.writtenRows + told.droppedRows, 10_000)
  const reader = openStoreReader(file)
  t.is(reader.size().events, told.writtenRows)
  reader.close()
})
