// What pages ask of the store: sums against totals counted beside the program, scope of operators, migration, the reading thread.
import { mkdtempSync, renameSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import test, { type ExecutionContext } from 'ava'
import * as fc from 'fast-check'
import type { EventFields } from '../../src/journal/events.ts'
import { HOUR_MS } from '../../src/journal/ledger-facts.ts'
import { openStoreCore, openStoreReader, type StoreCore } from '../../src/journal/store-core.ts'
import { openStoreReading } from '../../src/journal/store-reading.ts'
import { openStore } from '../../src/journal/store.ts'
import { createTrafficTally } from '../../src/journal/traffic-tally.ts'
import { cidr } from '../support/snapshot.ts'
import { EVENT_SAMPLES } from '../support/event-samples.ts'
import {
  agentAddress,
  agentSite,
  fillLargeStore,
  sumOf,
  type LargeStoreTotals,
} from '../support/large-store.ts'

const END = Date.UTC(2026, 10, 21, 12)
const FLEET = { agents: 40, sites: 8, days: 2, events: 1_500, endMs: END }
const FIRST_HOUR = END / HOUR_MS - 48
const retention = { eventDays: 30, ledgerDays: 30, maxStoreBytes: 1 << 30 }

function fileFor(t: ExecutionContext): string {
  const path = mkdtempSync(join(tmpdir(), 'portcullis-pages-'))
  t.teardown(() => rmSync(path, { recursive: true, force: true }))
  return join(path, 'journal.db')
}

function opened(t: ExecutionContext, file = fileFor(t)): StoreCore {
  const core = openStoreCore(file)
  t.teardown(() => core.close())
  return core
}

const VERSION_2 = new Set(
  (
    'event event_count overlay source shape ledger_open ledger_day rule_watch event_time event_name event_loud ' +
    'event_address event_site event_class event_reason event_reference'
  ).split(' '),
)

/** Takes everything out of a store that came after its second version. */
function toVersion2(file: string): DatabaseSync {
  const raw = new DatabaseSync(file)
  const later = raw
    .prepare(
      "SELECT type, name FROM sqlite_master WHERE type IN ('index', 'table') AND name NOT LIKE 'sqlite_%'",
    )
    .all()
    .filter(row => !VERSION_2.has(String(row['name'])))
    .toSorted((a, b) => String(a['type']).localeCompare(String(b['type'])))
  for (const row of later) raw.exec(`DROP ${String(row['type'])} IF EXISTS ${String(row['name'])}`)
  raw.exec('ALTER TABLE event DROP COLUMN country; PRAGMA user_version = 2')
  return raw
}

/** One filled store for all tests that only read. */
let filled: { readonly core: StoreCore; readonly file: string; readonly totals: LargeStoreTotals }
const directory = mkdtempSync(join(tmpdir(), 'portcullis-pages-'))
test.before(() => {
  const file = join(directory, 'journal.db')
  const core = openStoreCore(file)
  filled = { core, file, totals: fillLargeStore(core, FLEET) }
})
test.after.always(() => {
  filled.core.close()
  rmSync(directory, { recursive: true, force: true })
})

test('traffic by country is what went in, for everybody and for an operator with two sites', t => {
  const { core, totals } = filled
  const since = END - 24 * HOUR_MS
  for (const sites of [null, ['site-1', 'site-2'], ['site-1', ''], [], ['no-such-site']]) {
    const found = core.traffic.byCountry(since, sites)
    const seen = new Set([...totals.traffic.keys()].map(key => key.split(' ')[2] ?? ''))
    for (const country of seen) {
      const expected = (kind: string): number =>
        sumOf(
          totals.traffic,
          (hour, site = '', of, as) =>
            Number(hour) >= since / HOUR_MS &&
            of === country &&
            as === kind &&
            (sites === null || (site !== '' && sites.includes(site))),
        )
      const row = found.find(entry => entry.country === country)
      t.is(row?.admitted ?? 0, expected('admitted'), `${country} ${String(sites)}`)
      t.is(row?.failed ?? 0, expected('failed'))
      t.is(row?.refused ?? 0, expected('refused'))
    }
  }
  t.deepEqual(core.traffic.byCountry(since, []), [])
})

test('sites with their trend, and timelines by hour and day, add up to what went in', t => {
  const { core, totals } = filled
  const bySite = core.traffic.bySite(END - 1, 24, null)
  for (const { site, admitted, refused, admittedByHour, refusedByHour } of bySite) {
    const expected = (kind: string): number =>
      sumOf(
        totals.traffic,
        (hour, of, _, as) => Number(hour) >= FIRST_HOUR + 24 && of === (site ?? '') && as === kind,
      )
    t.is(admitted, expected('admitted'), String(site))
    t.is(refused, expected('refused'))
    t.is(admittedByHour.length, 24)
    t.is(
      admittedByHour.reduce((sum, value) => sum + value, 0),
      admitted,
    )
    t.is(
      refusedByHour.reduce((sum, value) => sum + value, 0),
      refused,
    )
  }
  t.true(bySite.some(entry => entry.site === null))
  t.deepEqual(
    core.traffic.bySite(END - 1, 24, ['site-3']).map(entry => entry.site),
    ['site-3'],
  )
  const hours = core.traffic.timeline({
    sinceMs: FIRST_HOUR * HOUR_MS,
    untilMs: END - 1,
    step: 'hour',
    sites: ['site-3'],
  })
  t.is(hours.length, 48)
  for (const [index, step] of hours.entries()) {
    t.is(step.fromMs, (FIRST_HOUR + index) * HOUR_MS)
    t.is(
      step.admitted,
      sumOf(
        totals.traffic,
        (hour, site, _, kind) =>
          Number(hour) === FIRST_HOUR + index && site === 'site-3' && kind === 'admitted',
      ),
    )
  }
  const days = core.traffic.timeline({
    sinceMs: FIRST_HOUR * HOUR_MS,
    untilMs: END - 1,
    step: 'day',
    sites: null,
    country: 'CN',
  })
  t.is(
    days.reduce((sum, step) => sum + step.refused, 0),
    sumOf(totals.traffic, (_, __, country, kind) => country === 'CN' && kind === 'refused'),
  )
  t.is(core.traffic.countedSinceMs(), FIRST_HOUR * HOUR_MS)
})

test('rule hits are what went in; details name sources, places and known agents', t => {
  const { core, totals } = filled
  const since = FIRST_HOUR * HOUR_MS
  for (const sites of [null, ['site-1', 'site-2']]) {
    for (const entry of core.traffic.ruleHits(since, sites)) {
      const expected = (kind: string): number =>
        sumOf(
          totals.rules,
          (_, rule, site = '', as) =>
            rule === entry.rule && as === kind && (sites === null || sites.includes(site)),
        )
      t.is(entry.detected, expected('detected'), entry.rule)
      t.is(entry.refused, expected('refused'))
      t.true(sites === null || (!entry.outside && entry.sites.every(site => sites.includes(site))))
    }
  }
  const detail = core.ruleHits.detail('path-traversal', since, null)
  t.is(detail.examples.length, 20)
  t.is(
    detail.read,
    Math.min(
      1_000,
      sumOf(totals.rules, (_, rule) => rule === 'path-traversal'),
    ),
  )
  const agents = new Set(Array.from({ length: FLEET.agents }, (_, agent) => agentAddress(agent)))
  for (const source of detail.sources) t.is(source.knownAgent, agents.has(source.address), source.address)
  t.true(detail.sources.some(source => source.knownAgent))
  t.is(
    detail.places.reduce((sum, place) => sum + place.hits, 0),
    detail.read,
  )
  const scoped = core.ruleHits.detail('path-traversal', since, ['site-1'])
  t.true(scoped.read > 0)
  t.deepEqual([...new Set(scoped.sources.map(source => source.site))], ['site-1'])
  const [looked] = core.ruleHits.agents(['path-traversal'], since, null, END)
  t.true((looked?.knownAgents ?? 0) > 0)
  t.deepEqual(core.ruleHits.agents(['never'], since, null, END), [
    { rule: 'never', knownAgents: 0, sources: 0 },
  ])
})

test('events by country, rule and sites are those that a walk over all of them finds', t => {
  const { core } = filled
  const all = Array.from({ length: 48 }, (_, hour) =>
    core.events.find({
      sinceMs: (FIRST_HOUR + hour) * HOUR_MS,
      untilMs: (FIRST_HOUR + hour + 1) * HOUR_MS,
      limit: 1_000,
    }),
  )
    .toReversed()
    .flat()
  t.is(all.length, filled.totals.events)
  const ids = (query: Parameters<typeof core.events.find>[0]): number[] =>
    core.events.find(query).map(event => event.id)
  const expect = (fits: (event: (typeof all)[number]) => boolean): number[] =>
    all
      .filter(fits)
      .map(event => event.id)
      .slice(0, 100)
  const rulesOf = ({ fields }: (typeof all)[number]): readonly string[] => {
    const { hit, hits } = fields as { hit?: { ruleId: string }; hits?: { ruleId: string }[] }
    return hit === undefined ? (hits ?? []).map(entry => entry.ruleId) : [hit.ruleId]
  }
  t.deepEqual(
    ids({ country: 'KP', limit: 100 }),
    expect(event => event.fields['country'] === 'KP'),
  )
  t.deepEqual(
    ids({ rule: 'script-injection', limit: 100 }),
    expect(event => rulesOf(event).includes('script-injection')),
  )
  const sites = ['site-1', 'site-4']
  t.deepEqual(
    ids({ sites, limit: 100 }),
    expect(event => event.site !== null && sites.includes(event.site)),
  )
  t.deepEqual(
    ids({ sites, site: 'site-4', limit: 100 }),
    expect(event => event.site === 'site-4'),
  )
  t.deepEqual(ids({ sites, site: 'site-5', limit: 100 }), [])
  t.deepEqual(ids({ sites: [], limit: 100 }), [])
  t.deepEqual(
    ids({ sites, rule: 'path-traversal', limit: 100 }),
    expect(
      event => event.site !== null && sites.includes(event.site) && rulesOf(event).includes('path-traversal'),
    ),
  )
})

test('a search that looks at a few events at a time finds, question by question, what one without a limit finds', t => {
  const { events } = filled.core
  const all = events.find({ limit: 1_000 })
  const { name, class: trafficClass } = all.find(event => event.class !== null) ?? { name: '', class: null }
  const wide = cidr('0.0.0.0/0')
  for (const query of [
    { name, ...(trafficClass === null ? {} : { class: trafficClass }) },
    { name, reason: 'nothing-has-this' },
    { range: wide, name },
    { range: wide, minimumSeverity: 'warning' },
  ] as const) {
    const wanted = events.find({ ...query, limit: 1_000 })
    const found = []
    let untilMs: number | undefined
    let questions = 0
    for (;;) {
      const more = untilMs === undefined ? {} : { untilMs }
      const { events: some, olderMs } = events.search({ ...query, ...more, limit: 1_000 }, 100)
      found.push(...some)
      questions++
      if (olderMs === null) break
      t.true(untilMs === undefined || olderMs < untilMs, 'it gets on')
      untilMs = olderMs
    }
    t.deepEqual(
      found.map(({ id }) => id),
      wanted.map(({ id }) => id),
    )
    // A range with few events has a way of its own.
    t.is(questions > 1, !('range' in query), `${questions} questions`)
  }
  t.is(events.search({ name, limit: 10 }, 100).olderMs, null, 'an index leads there')
  t.is(events.search({ name, class: 'agent', site: 'site-3', limit: 10 }, 100).olderMs, null)
})

test('devices of a site and addresses without one', t => {
  const { core } = filled
  const members = Array.from({ length: FLEET.agents }, (_, agent) => agent).filter(
    agent => agentSite(agent, FLEET.sites) === 'site-1',
  )
  const found = core.devices.ofRanges(members.map(agentAddress), END - 24 * HOUR_MS)
  t.deepEqual(new Set(found.sources), new Set(members.map(agentAddress)))
  t.true(found.complete)
  t.true(found.devices.every(device => device.admitted > 0 || device.refused > 0))
  t.true(found.tls.some(use => use.version === 'TLSv1.3' && use.admitted > 0))
  const ranges = Array.from({ length: FLEET.agents }, (_, agent) => agent)
    .filter(agent => agentSite(agent, FLEET.sites) !== null)
    .map(agentAddress)
  const outside = core.devices.outside(ranges, END - 24 * HOUR_MS)
  const addresses = new Set(outside.sources.map(source => source.address))
  t.true([9, 19, 29, 39].every(agent => addresses.has(agentAddress(agent))))
  t.false(ranges.some(range => addresses.has(range)))
  t.deepEqual(core.devices.ofRanges(['not a range'], 0).devices, [])
})

test('heartbeats of a site: answered and not, and when last', t => {
  const core = opened(t)
  const tally = createTrafficTally()
  const fields = { ...EVENT_SAMPLES['heartbeat.counted'], site: 'acme', heartbeats: 7 }
  tally.record('heartbeat.counted', fields, END)
  tally.record('heartbeat.counted', { ...fields, answered: false, heartbeats: 2 }, END + 1)
  core.write({ events: [], ledger: null, tally: tally.drain() })
  t.like(core.traffic.bySite(END, 1, null)[0], { site: 'acme', answered: 7, unanswered: 2 })
  t.deepEqual(core.traffic.seen(null), [{ site: 'acme', lastAdmittedMs: END + 1, lastRefusedMs: null }])
  t.deepEqual(core.traffic.seen([]), [])
})

test('sums do not depend on how often the tally is drained', t => {
  const names = ['request.closed', 'request.refused', 'connection.refused', 'rule.detected'] as const
  fc.assert(
    fc.property(
      fc.array(
        fc.record({
          name: fc.constantFrom(...names),
          site: fc.constantFrom(null, 'a', 'b'),
          country: fc.constantFrom('US', 'CN'),
          hour: fc.integer({ min: 0, max: 2 }),
          drain: fc.boolean(),
        }),
        { maxLength: 40 },
      ),
      steps => {
        const folder = mkdtempSync(join(tmpdir(), 'portcullis-pages-'))
        const read = [0, 1].map(index => {
          const core = openStoreCore(join(folder, `${index}.db`))
          const tally = createTrafficTally()
          for (const { name, site, country, hour, drain } of steps) {
            tally.record(
              name,
              { ...EVENT_SAMPLES[name], site, country } as EventFields[typeof name],
              END + hour * HOUR_MS,
            )
            if (index === 1 && drain) core.write({ events: [], ledger: null, tally: tally.drain() })
          }
          core.write({ events: [], ledger: null, tally: tally.drain() })
          const all = [core.traffic.bySite(END + 2 * HOUR_MS, 3, null), core.traffic.ruleHits(0, null)]
          core.close()
          return all
        })
        rmSync(folder, { recursive: true, force: true })
        t.deepEqual(read[0], read[1])
      },
    ),
    { numRuns: 25 },
  )
})

test('a store that cannot be written does not let the tally grow without end', t => {
  const tally = createTrafficTally()
  for (let site = 0; site < 60_000; site++)
    tally.record('request.closed', { ...EVENT_SAMPLES['request.closed'], site: `s${site}` }, END)
  t.deepEqual(tally.state(), { waiting: 50_000, lost: 10_000 })
  tally.drain()
  t.is(tally.state().waiting, 0)
})

test('a store of the version before gets the ways to its events; its sums begin anew', t => {
  const file = fileFor(t)
  const core = openStoreCore(file)
  fillLargeStore(core, { ...FLEET, days: 1, events: 300 })
  const before = core.events.find({ country: 'CN', limit: 500 }).map(event => event.id)
  const hits = core.events.find({ rule: 'path-traversal', limit: 500 }).map(event => event.id)
  core.close()
  const raw = toVersion2(file)
  raw.exec(`INSERT INTO event (time, name, severity, reason, fields) VALUES (1, 'x', 1, 'rule', 'no json')`)
  raw.close()
  const reopened = opened(t, file)
  t.true(before.length > 5 && hits.length > 5)
  t.deepEqual(
    reopened.events.find({ country: 'CN', limit: 500 }).map(event => event.id),
    before,
  )
  t.deepEqual(
    reopened.events.find({ rule: 'path-traversal', limit: 500 }).map(event => event.id),
    hits,
  )
  const [most] = reopened.traffic.ruleHits(0, null)
  t.is(most?.rule, 'path-traversal')
  t.is((most?.detected ?? 0) + (most?.refused ?? 0), hits.length)
  t.deepEqual(reopened.traffic.byCountry(0, null), [])
})

test('upkeep removes sums and ways to events together with what they are about', t => {
  const core = opened(t)
  fillLargeStore(core, { ...FLEET, days: 1, events: 200 })
  const later = END + 40 * 24 * HOUR_MS
  while (core.upkeep(retention, later).more);
  t.deepEqual(core.traffic.byCountry(0, null), [])
  t.deepEqual(core.traffic.seen(null), [])
  t.deepEqual(core.traffic.ruleHits(0, null), [])
  t.deepEqual(core.events.find({ rule: 'path-traversal', limit: 10 }), [])
})

test('the reading thread answers while the store is written, and finds a file that was replaced', async t => {
  const file = fileFor(t)
  const tally = createTrafficTally()
  const store = await openStore({ file, retention, clock: () => END, ledger: null, tally })
  const reading = openStoreReading({ file })
  t.teardown(async () => {
    await reading.close()
    await store.close()
  })
  tally.record('request.closed', EVENT_SAMPLES['request.closed'], END)
  await store.flush()
  t.is((await reading.ask('trafficByCountry', 0, null))[0]?.admitted, 1)
  tally.record('request.closed', EVENT_SAMPLES['request.closed'], END)
  await store.flush()
  t.is((await reading.ask('trafficByCountry', 0, null))[0]?.admitted, 2)
  await store.close()
  for (const side of ['', '-wal', '-shm']) {
    try {
      renameSync(file + side, `${file}.away${side}`)
    } catch {
      // A store that is closed has no side files.
    }
  }
  openStoreCore(file).close()
  t.deepEqual(await reading.ask('trafficByCountry', 0, null), [])
})

test('a question without an answer in time is given up, the next one finds a fresh thread; too many are turned away', async t => {
  const file = fileFor(t)
  openStoreCore(file).close()
  const hasty = openStoreReading({ file, timeoutMs: 1, maxWaiting: 2 })
  t.teardown(() => hasty.close())
  const first = hasty.ask('size')
  const second = hasty.ask('size')
  await t.throwsAsync(hasty.ask('size'), { message: /too many pages/ })
  await t.throwsAsync(first, { message: /did not answer within/ })
  await t.throwsAsync(second, { message: /did not answer within/ })
  const patient = openStoreReading({ file })
  t.like(await patient.ask('size'), { events: 0 })
  await t.throwsAsync(patient.ask('findEvents', { range: 'nonsense' as never, limit: 1 }), {
    message: /cannot be read/,
  })
  t.like(await patient.ask('size'), { events: 0 })
  await patient.close()
  await t.throwsAsync(patient.ask('size'), { message: /shutting down/ })
  const missing = openStoreReading({ file: `${file}.none` })
  await t.throwsAsync(missing.ask('size'), { message: /no journal/ })
  await missing.close()
})

test('a store that an older gate wrote can still be read by commands', t => {
  const file = fileFor(t)
  openStoreCore(file).close()
  const raw = toVersion2(file)
  raw.close()
  const reader = openStoreReader(file)
  t.teardown(() => reader.close())
  t.deepEqual(reader.events.find({ limit: 10, sites: ['a'] }), [])
  t.deepEqual(reader.rules.effects(null, 0), [])
})
