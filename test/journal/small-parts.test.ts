// References, path shapes, user agent families, the packed ledger day, retention cutoffs and the flood limit.
import { randomFillSync } from 'node:crypto'
import test from 'ava'
import * as fc from 'fast-check'
import { createFloodLimiter } from '../../src/journal/flood-limit.ts'
import { packDay, unpackDay, type PackedEntry } from '../../src/journal/ledger-pack.ts'
import { pathShape, userAgentFamily } from '../../src/journal/path-shape.ts'
import { createReferences, parseReference } from '../../src/journal/reference.ts'
import { cutoffs, givesWay } from '../../src/journal/retention.ts'

test('references are readable, unique and come back from what people type', t => {
  const next = createReferences(bytes => randomFillSync(bytes))
  const seen = new Set<string>()
  for (let index = 0; index < 10_000; index++) seen.add(next())
  t.is(seen.size, 10_000)
  for (const reference of seen) {
    if (!/^[0-9A-HJKMNP-TV-Z]{4}-[0-9A-HJKMNP-TV-Z]{4}-[0-9A-HJKMNP-TV-Z]{3}$/.test(reference))
      t.fail(reference)
  }
  const reference = 'P0F1-K9QX-M2A'
  for (const typed of ['p0f1-k9qx-m2a', 'POFI K9QX M2A', 'PoFl-k9qx-m2a', ' p0f1k9qxm2a '])
    t.is(parseReference(typed), reference, typed)
  for (const typed of ['', 'P0F1', 'P0F1-K9QX-M2U', '203.0.113.7', 'P0F1-K9QX-M2A-X', 'x'.repeat(1000)])
    t.is(parseReference(typed), undefined, typed)
})

test('property: every byte pattern gives a reference that parses to itself', t => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 11, maxLength: 11 }), bytes => {
      const reference = createReferences(pool => pool.set(bytes))()
      return parseReference(reference) === reference && parseReference(reference.toLowerCase()) === reference
    }),
  )
  t.pass()
})

test('path shapes keep what classes are told by and lose what makes paths many', t => {
  for (const [path, shape] of [
    ['/LabTech/Agent.aspx', '/LabTech/Agent.aspx'],
    ['/LabTech/Transfer/Files/123456.bin', '/LabTech/Transfer/Files/0.bin'],
    ['/api/v1/device/0f8fad5b-d9cb-469f-a165-70867728950e', '/api/v1/device/~'],
    ['/d/3f2504e04f8911d39a0c0305e82c3301/x.js', '/d/~/x.js'],
    ['/a/b1/pc12345', '/a/b1/pc0'],
    ['/', '/'],
    ['', ''],
    ['/ä b\u0007', '/~~b~'],
  ] as const)
    t.is(pathShape(path), shape, path)
  t.true(pathShape(`/${'x'.repeat(5_000)}`).length <= 96)
  t.is(userAgentFamily(null), 'none')
  t.is(userAgentFamily('Mozilla/5.0 (Windows NT 10.0) Chrome/140 Safari/537.36 Edg/140'), 'edge')
  t.is(userAgentFamily('Mozilla/4.0 (compatible; MS Web Services Client Protocol 4.0)'), 'dotnet-soap')
  t.is(userAgentFamily('something new'), 'other')
})

const entry = fc.record<PackedEntry>({
  shape: fc.nat(100_000),
  hour: fc.nat(23),
  count: fc.nat(2 ** 31 - 1),
  bytesIn: fc.maxSafeNat(),
  bytesOut: fc.maxSafeNat(),
  first: fc.nat(1_800),
  last: fc.integer({ min: 1_800, max: 3_599 }),
})

test('property: a packed day unpacks to the same entries', t => {
  const distinct = fc.uniqueArray(entry, { selector: given => `${given.shape} ${given.hour}` })
  fc.assert(
    fc.property(distinct, entries => {
      const sorted = entries.toSorted((a, b) => a.shape - b.shape || a.hour - b.hour)
      t.deepEqual(unpackDay(packDay(entries)), sorted)
    }),
    { numRuns: 300 },
  )
})

test('packing adds equal shapes and hours up, and damaged bytes end quietly', t => {
  const one: PackedEntry = {
    shape: 7,
    hour: 3,
    count: 2,
    bytesIn: 5,
    bytesOut: 6,
    first: 10,
    last: 20,
  }
  const [sum, ...rest] = unpackDay(packDay([one, { ...one, first: 5, last: 15 }]))
  t.deepEqual(sum, { ...one, count: 4, bytesIn: 10, bytesOut: 12, first: 5, last: 20 })
  t.is(rest.length, 0)
  fc.assert(fc.property(fc.uint8Array(), bytes => Array.isArray(unpackDay(bytes))))
  const packed = packDay([one, { ...one, hour: 4 }])
  t.is(unpackDay(packed.subarray(0, packed.length - 1)).length, 1)
})

test('retention: age by days, and size takes the older part first', t => {
  const day = 86_400_000
  t.deepEqual(cutoffs({ eventDays: 30, ledgerDays: 10, maxStoreBytes: 1 }, 100.5 * day), {
    eventsBeforeMs: 70.5 * day,
    ledgerBeforeDay: 90,
  })
  const nowMs = 100 * day
  const gives = (oldestEventMs: number | null, oldestLedgerDay: number | null, eventRows = 10) =>
    givesWay({ oldestEventMs, eventRows, oldestLedgerDay, maxStoreBytes: 1_000_000, nowMs })
  t.is(gives(null, null), null)
  t.is(gives(50 * day, null), 'events')
  t.is(gives(null, 99), 'ledger')
  t.is(gives(50 * day, 60), 'events')
  t.is(gives(70 * day, 60), 'ledger')
  t.is(gives(99.9 * day, 99), 'events')
  t.is(gives(99.9 * day, 60, 10_000), 'events', 'a flood of events does not push the ledger out')
})

test('the flood limit holds per address and per event, recovers with time and forgets in bounds', t => {
  const limiter = createFloodLimiter({
    perAddress: { burst: 3, perSecond: 1 },
    perEvent: { burst: 5, perSecond: 100 },
    addresses: 10,
  })
  const taken = (address: string, nowMs: number): number => {
    let count = 0
    for (let index = 0; index < 10; index++) if (limiter('e', address, nowMs)) count++
    return count
  }
  t.is(taken('a', 0), 3)
  t.is(taken('b', 0), 2, 'the event as a whole has room for two more')
  t.is(taken('a', 2_000), 2)
  t.is(taken('a', 1_000), 0, 'a clock that goes back gives nothing')
  for (let index = 0; index < 100; index++) limiter('f', `x${index}`, 0)
  t.is(taken('a', 10_000), 3, 'forgotten, so it starts anew')
})
