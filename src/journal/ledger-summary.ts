// PURE. What a source (or a site) did, summed up from its ledger rows: the facts behind a diagnosis.
import { TLS_VERSIONS, tlsRank, type TlsVersion } from '../net/tls-version.ts'
import { CLASSES, type TrafficClass } from '../policy/classes.ts'
import type { LedgerOutcome, LedgerRow } from './ledger-facts.ts'

/** One class of traffic. */
export type ClassSummary = {
  readonly class: TrafficClass
  /** Let through and answered. */
  readonly passed: number
  /** Let through, but cut short or answered with a server error. */
  readonly failed: number
  readonly refused: number
  readonly bytesIn: number
  readonly bytesOut: number
  /** Last that passed; null: none did. */
  readonly lastPassedMs: number | null
}

/** One way in which traffic did not get through. */
export type OutcomeSummary = {
  readonly outcome: Exclude<LedgerOutcome, 'passed'>
  readonly phase: LedgerRow['shape']['phase']
  readonly count: number
  readonly firstMs: number
  readonly lastMs: number
  /** Names that were asked for: hosts of requests, else server names; at most 10. */
  readonly names: readonly string[]
}

/** Everything that a source did in a time. */
export type SourceSummary = {
  readonly sources: number
  readonly firstMs: number | null
  readonly lastMs: number | null
  /** In the order of documents; only those that were seen. */
  readonly classes: readonly ClassSummary[]
  /** Most frequent first. */
  readonly outcomes: readonly OutcomeSummary[]
  /** Distinct sets of offered TLS versions, weakest best version first, with how often. */
  readonly offered: readonly { readonly versions: readonly TlsVersion[]; readonly count: number }[]
  readonly userAgents: readonly string[]
  /** Last request of an agent that passed and was answered; null: none. */
  readonly lastCheckInMs: number | null
}

/** Sums rows up. */
export function summarise(rows: readonly LedgerRow[]): SourceSummary {
  const outcomes = new Map<string, OutcomeSummary>()
  const offered = new Map<string, { readonly versions: readonly TlsVersion[]; count: number }>()
  let lastCheckInMs: number | null = null
  for (const row of rows) {
    const { outcome, phase } = row.shape
    if (outcome === 'passed') {
      const agent = row.shape.class === 'agent' || row.shape.class === 'heartbeat'
      if (agent) lastCheckInMs = Math.max(lastCheckInMs ?? 0, row.lastMs)
    } else {
      const key = `${phase} ${outcome}`
      const known = outcomes.get(key)
      const name = row.shape.host ?? row.shape.serverName
      const names = known?.names ?? []
      outcomes.set(key, {
        outcome,
        phase,
        count: (known?.count ?? 0) + row.count,
        firstMs: Math.min(known?.firstMs ?? Infinity, row.firstMs),
        lastMs: Math.max(known?.lastMs ?? 0, row.lastMs),
        names: name === null || names.includes(name) || names.length >= 10 ? names : [...names, name],
      })
    }
    if (row.shape.offered.length > 0) {
      const versions = TLS_VERSIONS.filter(version => row.shape.offered.includes(version))
      const entry = offered.get(versions.join()) ?? { versions, count: 0 }
      entry.count += row.count
      offered.set(versions.join(), entry)
    }
  }
  const best = (versions: readonly TlsVersion[]): number => Math.max(...versions.map(tlsRank))
  return {
    sources: new Set(rows.map(row => row.source)).size,
    firstMs: rows.length === 0 ? null : rows.reduce((first, row) => Math.min(first, row.firstMs), Infinity),
    lastMs: rows.length === 0 ? null : rows.reduce((last, row) => Math.max(last, row.lastMs), 0),
    classes: CLASSES.flatMap(name => classSummary(name, rows)),
    outcomes: [...outcomes.values()].sort((a, b) => b.count - a.count || b.lastMs - a.lastMs),
    offered: [...offered.values()].sort((a, b) => best(a.versions) - best(b.versions)),
    userAgents: [
      ...new Set(rows.filter(row => row.shape.phase === 'request').map(row => row.shape.userAgent)),
    ],
    lastCheckInMs,
  }
}

function classSummary(name: TrafficClass, rows: readonly LedgerRow[]): ClassSummary[] {
  const own = rows.filter(row => row.shape.class === name)
  if (own.length === 0) return []
  let passed = 0
  let failed = 0
  let refused = 0
  let bytesIn = 0
  let bytesOut = 0
  let lastPassedMs: number | null = null
  for (const row of own) {
    bytesIn += row.bytesIn
    bytesOut += row.bytesOut
    if (row.shape.outcome === 'failed') failed += row.count
    else if (row.shape.outcome !== 'passed') refused += row.count
    else {
      passed += row.count
      lastPassedMs = Math.max(lastPassedMs ?? 0, row.lastMs)
    }
  }
  return [{ class: name, passed, failed, refused, bytesIn, bytesOut, lastPassedMs }]
}
