// Who stands behind one address: its clients told apart by their TLS fingerprints, as far as the ledger remembers them.
import type { LedgerRow } from '../journal/ledger-facts.ts'
import { TLS_VERSIONS, type TlsVersion } from '../net/tls-version.ts'
import type { TrafficClass } from '../policy/classes.ts'
import type { Trouble } from './activity.ts'

/** Clients with one fingerprint behind one address: one device, or several that are set up alike. */
export type Device = {
  readonly ja4: string
  readonly offered: readonly TlsVersion[]
  /** Families of user agents; `none` is left out. */
  readonly userAgents: readonly string[]
  readonly classes: readonly TrafficClass[]
  readonly passed: number
  /** Refused, or ended before a request. */
  readonly refused: number
  readonly firstMs: number
  readonly lastMs: number
  readonly lastPassedMs: number | null
  /** The newest outcome that was no success; null: there is none, or success followed. */
  readonly trouble: Trouble | null
}

/**
 * Tells the devices of an address apart. The ledger keeps one fingerprint per shape of traffic and hour, so devices that ask
 * for exactly the same with the same TLS versions count as one.
 */
export function devicesOf(rows: readonly LedgerRow[]): readonly Device[] {
  const groups = Map.groupBy(
    rows.filter(row => row.shape.ja4 !== null),
    row => row.shape.ja4 ?? '',
  )
  return [...groups].map(([ja4, group]) => deviceOf(ja4, group)).sort((a, b) => b.lastMs - a.lastMs)
}

function deviceOf(ja4: string, rows: readonly LedgerRow[]): Device {
  let passed = 0
  let refused = 0
  let firstMs = Infinity
  let lastMs = 0
  let lastPassedMs: number | null = null
  let newest: LedgerRow | null = null
  const offered = new Set<TlsVersion>()
  const agents = new Set<string>()
  const classes = new Set<TrafficClass>()
  for (const row of rows) {
    const { shape, count } = row
    firstMs = Math.min(firstMs, row.firstMs)
    lastMs = Math.max(lastMs, row.lastMs)
    for (const version of shape.offered) offered.add(version)
    if (shape.userAgent !== 'none') agents.add(shape.userAgent)
    if (shape.class !== null) classes.add(shape.class)
    if (shape.outcome === 'passed') {
      passed += count
      lastPassedMs = Math.max(lastPassedMs ?? 0, row.lastMs)
    } else if (shape.outcome !== 'failed') {
      refused += count
      if (newest === null || row.lastMs >= newest.lastMs) newest = row
    }
  }
  const isOver = newest === null || (lastPassedMs !== null && lastPassedMs > newest.lastMs)
  return {
    ja4,
    offered: TLS_VERSIONS.filter(version => offered.has(version)),
    userAgents: [...agents].sort(),
    classes: [...classes].sort(),
    passed,
    refused,
    firstMs,
    lastMs,
    lastPassedMs,
    trouble: isOver || newest === null ? null : (newest.shape.outcome as Trouble),
  }
}
