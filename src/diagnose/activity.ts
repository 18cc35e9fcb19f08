// What a source really did: ledger rows condensed into what a diagnosis needs.
import type { LedgerOutcome, LedgerRow } from '../journal/ledger-facts.ts'
import { TLS_VERSIONS, type TlsVersion } from '../net/tls-version.ts'
import { CLASSES, type TrafficClass } from '../policy/classes.ts'

/** Outcomes other than success. */
export type Trouble = Exclude<LedgerOutcome, 'passed' | 'failed'>

/** How often one outcome came, and when last. */
export type OutcomeCount = {
  readonly outcome: Trouble
  readonly count: number
  readonly firstMs: number
  readonly lastMs: number
  /** Strongest version offered by clients with this outcome, and their fingerprints: they tell devices apart. */
  readonly offered: readonly (readonly TlsVersion[])[]
  readonly ja4: readonly string[]
  readonly classes: readonly TrafficClass[]
  readonly hosts: readonly string[]
  readonly listeners: readonly string[]
}

/** Traffic of one class that the policy let through. */
export type ClassActivity = {
  readonly class: TrafficClass
  readonly passed: number
  /** Let through, but cut short or answered with a server error. */
  readonly failures: number
  readonly lastMs: number
  readonly lastPassedMs: number | null
  /** Names that it asked for. */
  readonly hosts: readonly string[]
}

/** Heartbeats over UDP that were let through. */
export type HeartbeatActivity = {
  readonly answered: number
  /** In stretches in which no reply came at all. */
  readonly unanswered: number
  readonly lastMs: number
  readonly lastAnsweredMs: number | null
  readonly listeners: readonly string[]
}

/** Activity of a source since a moment. `passed`, `failures` and `lastPassedMs` are about requests, not datagrams. */
export type Activity = {
  readonly sinceMs: number
  /** Null: none came. */
  readonly heartbeats: HeartbeatActivity | null
  readonly passed: number
  readonly refused: number
  readonly failures: number
  readonly lastPassedMs: number | null
  readonly lastRefusedMs: number | null
  readonly classes: readonly ClassActivity[]
  /** Refusals and other ends before a request, newest first. */
  readonly outcomes: readonly OutcomeCount[]
  /** Fingerprints of clients that got through: they tell a healthy device from one that fails behind the same address. */
  readonly passedJa4: readonly string[]
  /** Sets of TLS versions that were offered, weakest first, with counts. */
  readonly offered: readonly { readonly versions: readonly TlsVersion[]; readonly count: number }[]
}

/** Condenses ledger rows. */
export function summariseActivity(rows: readonly LedgerRow[], sinceMs: number): Activity {
  const admitted = rows.filter(row => row.shape.outcome === 'passed')
  const unwell = rows.filter(row => row.shape.outcome === 'failed')
  const passed = admitted.filter(row => row.shape.phase !== 'datagram')
  const failed = unwell.filter(row => row.shape.phase !== 'datagram')
  const troubles = outcomeCounts(rows)
  const refused = troubles.filter(entry => entry.outcome !== 'silent')
  return {
    sinceMs,
    heartbeats: heartbeatActivity(
      admitted.filter(row => row.shape.phase === 'datagram'),
      unwell.filter(row => row.shape.phase === 'datagram'),
    ),
    passed: sum(passed, row => row.count),
    refused: refused.reduce((total, entry) => total + entry.count, 0),
    failures: sum(failed, row => row.count),
    lastPassedMs: latest(passed),
    lastRefusedMs: refused[0]?.lastMs ?? null,
    classes: CLASSES.flatMap(trafficClass => classActivity(trafficClass, admitted, unwell)),
    outcomes: troubles,
    passedJa4: distinct(
      passed.flatMap(row => row.shape.ja4 ?? []),
      String,
    ),
    offered: offeredCounts(rows),
  }
}

function heartbeatActivity(
  answered: readonly LedgerRow[],
  unanswered: readonly LedgerRow[],
): HeartbeatActivity | null {
  const all = [...answered, ...unanswered]
  const lastMs = latest(all)
  if (lastMs === null) return null
  return {
    answered: sum(answered, row => row.count),
    unanswered: sum(unanswered, row => row.count),
    lastMs,
    lastAnsweredMs: latest(answered),
    listeners: distinct(
      all.map(row => row.shape.listener),
      String,
    ),
  }
}

function classActivity(
  trafficClass: TrafficClass,
  passed: readonly LedgerRow[],
  failed: readonly LedgerRow[],
): readonly ClassActivity[] {
  const good = passed.filter(row => row.shape.class === trafficClass)
  const bad = failed.filter(row => row.shape.class === trafficClass)
  const lastMs = latest([...good, ...bad])
  if (lastMs === null) return []
  return [
    {
      class: trafficClass,
      passed: sum(good, row => row.count),
      failures: sum(bad, row => row.count),
      lastMs,
      lastPassedMs: latest(good),
      hosts: distinct(
        [...good, ...bad].flatMap(row => row.shape.host ?? row.shape.serverName ?? []),
        String,
      ),
    },
  ]
}

function outcomeCounts(rows: readonly LedgerRow[]): readonly OutcomeCount[] {
  const groups = Map.groupBy(rows, row => row.shape.outcome)
  const troubles = [...groups].flatMap(([outcome, group]) =>
    outcome === 'passed' || outcome === 'failed' ? [] : [{ outcome, group }],
  )
  const counts = troubles.map(({ outcome, group }): OutcomeCount => ({
    outcome,
    count: sum(group, row => row.count),
    firstMs: group.reduce((first, row) => Math.min(first, row.firstMs), Infinity),
    lastMs: latest(group) ?? 0,
    offered: distinct(
      group.map(row => row.shape.offered),
      versions => versions.join(),
    ),
    ja4: distinct(
      group.flatMap(row => row.shape.ja4 ?? []),
      String,
    ),
    classes: distinct(
      group.flatMap(row => row.shape.class ?? []),
      String,
    ),
    hosts: distinct(
      group.flatMap(row => row.shape.host ?? row.shape.serverName ?? []),
      String,
    ),
    listeners: distinct(
      group.map(row => row.shape.listener),
      String,
    ),
  }))
  return counts.sort((a, b) => b.lastMs - a.lastMs)
}

function offeredCounts(rows: readonly LedgerRow[]): Activity['offered'] {
  const known = rows.filter(row => row.shape.offered.length > 0)
  const groups = Map.groupBy(known, row => byStrength(row.shape.offered).join())
  return [...groups.values()]
    .map(group => ({
      versions: byStrength(group[0]?.shape.offered ?? []),
      count: sum(group, row => row.count),
    }))
    .sort((a, b) => strength(a.versions) - strength(b.versions))
}

function byStrength(versions: readonly TlsVersion[]): readonly TlsVersion[] {
  return TLS_VERSIONS.filter(version => versions.includes(version))
}

function strength(versions: readonly TlsVersion[]): number {
  const strongest = versions.at(-1)
  return strongest === undefined ? -1 : TLS_VERSIONS.indexOf(strongest)
}

function sum(rows: readonly LedgerRow[], value: (row: LedgerRow) => number): number {
  let total = 0
  for (const row of rows) total += value(row)
  return total
}

function latest(rows: readonly LedgerRow[]): number | null {
  let last: number | null = null
  for (const row of rows) if (last === null || row.lastMs > last) last = row.lastMs
  return last
}

function distinct<T>(values: readonly T[], key: (value: T) => string): readonly T[] {
  return [...new Map(values.map(value => [key(value), value])).values()]
}
