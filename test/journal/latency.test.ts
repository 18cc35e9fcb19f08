// Histograms of latency: quantiles right to a bucket, bounded, and added up in the store.
import test from 'ava'
import * as fc from 'fast-check'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { bucketEnd, bucketOf, BUCKETS, createLatencyTally, quantileOf } from '../../src/journal/latency.ts'
import { openStoreCore } from '../../src/journal/store-core.ts'
import { EVENT_SAMPLES } from '../support/event-samples.ts'

const HOUR_MS = 3_600_000

test('every time falls into the bucket that ends at or above it', t => {
  fc.assert(
    fc.property(fc.double({ min: 0, max: 1e9, noNaN: true }), ms => {
      const bucket = bucketOf(ms)
      t.true(bucket >= 0 && bucket < BUCKETS)
      if (bucket < BUCKETS - 1) t.true(ms <= bucketEnd(bucket) * 1.000_001)
      if (bucket > 0) t.true(ms > bucketEnd(bucket - 1) * 0.999_999)
    }),
  )
  for (const odd of [Number.NaN, -1, Infinity]) t.true(bucketOf(odd) >= 0 && bucketOf(odd) < BUCKETS)
})

test('a quantile is right to a bucket', t => {
  const times = fc.array(fc.double({ min: 0.05, max: 60_000, noNaN: true }), { minLength: 1, maxLength: 200 })
  fc.assert(
    fc.property(times, fc.constantFrom(0.5, 0.95, 0.99), (list, share) => {
      const buckets = Array<number>(BUCKETS).fill(0)
      for (const ms of list) buckets[bucketOf(ms)] = (buckets[bucketOf(ms)] ?? 0) + 1
      const exact = list.toSorted((a, b) => a - b)[Math.ceil(list.length * share) - 1] ?? 0
      const found = quantileOf(buckets, share) ?? 0
      t.true(found >= exact / 1.26 && found <= exact * 1.26, `${found} for ${exact}`)
    }),
  )
  t.is(quantileOf([], 0.5), null)
})

test('what is drained is added up in the store, by class and part, and goes with the ledger', t => {
  const directory = mkdtempSync(join(tmpdir(), 'portcullis latency-'))
  t.teardown(() => rmSync(directory, { recursive: true, force: true }))
  const core = openStoreCore(join(directory, 'journal.db'))
  t.teardown(() => core.close())
  const tally = createLatencyTally()
  const nowMs = 1_000 * HOUR_MS
  const closed = {
    ...EVENT_SAMPLES['request.closed'],
    class: 'agent',
    webSocket: false,
    ending: 'complete',
  } as const
  const record = (atMs: number, times: object): void =>
    tally.record(
      'request.closed',
      { ...closed, upstreamMs: 10, forwardedMs: 2, gateMs: 1, durationMs: 12, ...times },
      atMs,
    )
  const write = (): void =>
    core.write({ events: [], ledger: null, tally: { traffic: [], rules: [], latency: tally.drain() ?? [] } })
  record(nowMs, {})
  record(nowMs, { gateMs: -1, forwardedMs: -1 })
  record(nowMs, { webSocket: true })
  record(nowMs, { upstreamMs: 0 })
  write()
  record(nowMs, {})
  record(nowMs + HOUR_MS, {})
  write()
  t.is(tally.drain(), null)
  const of = (part: string, sinceMs: number): readonly number[] =>
    core.latency.since(sinceMs).find(entry => entry.part === part && entry.class === 'agent')?.buckets ?? []
  t.is(of('gate', 0)[bucketOf(1)], 3)
  t.is(of('server', 0)[bucketOf(8)], 3)
  t.is(of('total', 0)[bucketOf(12)], 3)
  t.is(of('gate', nowMs + HOUR_MS)[bucketOf(1)], 1)
  core.upkeep({ eventDays: 1, ledgerDays: 1, maxStoreBytes: 1e9 }, nowMs + 48 * HOUR_MS)
  t.deepEqual(core.latency.since(0), [])
})

test('a store that takes nothing for days costs bounded memory', t => {
  const tally = createLatencyTally()
  const closed = {
    ...EVENT_SAMPLES['request.closed'],
    webSocket: false,
    upstreamMs: 1,
    gateMs: 1,
    forwardedMs: 1,
  }
  for (let hour = 0; hour < 1_000; hour++) tally.record('request.closed', closed, hour * HOUR_MS)
  t.true((tally.drain() ?? []).length <= 24 * 9 * 3)
})
