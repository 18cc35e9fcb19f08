// What watched rules would have refused: detections by source, agents that are known from the ledger, and the watch table.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { HOUR_MS } from '../../src/journal/ledger-facts.ts'
import { createLedger } from '../../src/journal/ledger.ts'
import { openStoreCore, openStoreReader, type StoreCore } from '../../src/journal/store-core.ts'
import type { EventRow } from '../../src/journal/store-events.ts'
import { EVENT_SAMPLES } from '../support/event-samples.ts'

const NOW = Date.UTC(2026, 10, 21, 12, 30, 0)
const DAY = 24 * HOUR_MS

function opened(t: ExecutionContext): { readonly core: StoreCore; readonly file: string } {
  const path = mkdtempSync(join(tmpdir(), 'portcullis-rules-'))
  const file = join(path, 'journal.db')
  const core = openStoreCore(file)
  t.teardown(() => {
    core.close()
    rmSync(path, { recursive: true, force: true })
  })
  return { core, file }
}

function detection(
  address: string,
  ruleId: string,
  timeMs: number,
  exception: string | null = null,
  site: string | null = null,
): EventRow {
  const sample = EVENT_SAMPLES['rule.detected']
  const at = exception === null ? null : { file: exception, line: 1, column: 1 }
  return {
    timeMs,
    name: 'rule.detected',
    severity: 'warning',
    address,
    site,
    class: 'agent',
    reason: null,
    reference: 'P7F3-K9QX-M2A',
    fields: JSON.stringify({ ...sample, hit: { ...sample.hit, ruleId, exception: at } }),
  }
}

function checkIns(core: StoreCore, address: string, hours: number, trafficClass: 'agent' | 'console'): void {
  const ledger = createLedger()
  for (let hour = 1; hour <= hours; hour++) {
    const fields = { ...EVENT_SAMPLES['request.closed'], address, class: trafficClass }
    ledger.record('request.closed', fields, NOW - hour * HOUR_MS)
    for (let batch = ledger.drain(500); batch !== null; batch = ledger.drain(500))
      core.write({ events: [], ledger: batch })
  }
}

test('a rule that would have refused known agents says so, agents first', t => {
  const { core, file } = opened(t)
  checkIns(core, '198.51.100.7', 5, 'agent')
  checkIns(core, '198.51.100.8', 1, 'agent')
  checkIns(core, '198.51.100.9', 9, 'console')
  core.write({
    ledger: null,
    events: [
      detection('198.51.100.7', 'sqli', NOW - HOUR_MS, null, 'acme'),
      detection('198.51.100.8', 'sqli', NOW - HOUR_MS),
      detection('198.51.100.9', 'sqli', NOW - 2 * HOUR_MS),
      detection('198.51.100.9', 'sqli', NOW - HOUR_MS),
      detection('198.51.100.9', 'other', NOW - HOUR_MS),
      detection('198.51.100.7', 'sqli', NOW - 20 * DAY),
      detection('198.51.100.7', 'excepted', NOW - HOUR_MS, 'policies/portcullis.yaml'),
    ],
  })
  const reader = openStoreReader(file)
  t.teardown(() => reader.close())
  for (const store of [core, reader]) {
    const [effect, ...more] = store.rules.effects(['sqli'], NOW - 14 * DAY)
    t.deepEqual(more, [])
    t.like(effect, { ruleId: 'sqli', hits: 4, sourceCount: 3, knownAgents: 1, incomplete: false })
    t.deepEqual(effect?.sources, [
      { address: '198.51.100.7', site: 'acme', hits: 1, lastMs: NOW - HOUR_MS, knownAgent: true },
      { address: '198.51.100.9', site: null, hits: 2, lastMs: NOW - HOUR_MS, knownAgent: false },
      { address: '198.51.100.8', site: null, hits: 1, lastMs: NOW - HOUR_MS, knownAgent: false },
    ])
  }
  t.deepEqual(
    core.rules
      .effects(null, NOW - 14 * DAY)
      .map(effect => effect.ruleId)
      .toSorted(),
    ['other', 'sqli'],
  )
  t.like(core.rules.effects(['never'], 0)[0], { ruleId: 'never', hits: 0, sources: [], knownAgents: 0 })
})

test('a rule is watched from its first day; a changed one anew, a removed one no longer', t => {
  const { core } = opened(t)
  const watch = (rules: Readonly<Record<string, string>>, nowMs: number) =>
    core.rules.watch(
      Object.entries(rules).map(([ruleId, digest]) => ({ ruleId, digest })),
      nowMs,
    )
  watch({ a: '1', b: '1' }, NOW)
  core.rules.promote('a', NOW + DAY)
  t.deepEqual(watch({ a: '1', b: '2' }, NOW + 2 * DAY), [
    { ruleId: 'a', digest: '1', sinceMs: NOW, promotedMs: NOW + DAY },
    { ruleId: 'b', digest: '2', sinceMs: NOW + 2 * DAY, promotedMs: null },
  ])
  watch({ b: '2' }, NOW + 3 * DAY)
  t.deepEqual(watch({ a: '1', b: '2' }, NOW + 4 * DAY), [
    { ruleId: 'a', digest: '1', sinceMs: NOW + 4 * DAY, promotedMs: null },
    { ruleId: 'b', digest: '2', sinceMs: NOW + 2 * DAY, promotedMs: null },
  ])
})
