// What stands behind addresses: devices told apart by address, TLS fingerprint and user agent, TLS versions, heartbeats.
import type { DatabaseSync } from 'node:sqlite'
import { CidrTrie, parseCidr } from '../net/cidr.ts'
import { parseAddress } from '../net/address.ts'
import { TLS_VERSIONS, type TlsVersion } from '../net/tls-version.ts'
import { HOUR_MS, type LedgerOutcome, type LedgerRow } from './ledger-facts.ts'
import { addressText } from './store-address.ts'
import type { LedgerTable } from './store-ledger.ts'

/** What looks like one device, or several that are alike. */
export type Device = {
  readonly address: string
  /** Fingerprint of its first connection of an hour, for orientation; null: it got no further than connecting. */
  readonly ja4: string | null
  /** Family of its user agent; `none`: it sent none. */
  readonly userAgent: string
  readonly classes: readonly string[]
  readonly admitted: number
  readonly failed: number
  readonly refused: number
  /** Why it was refused most often; null: it was not. */
  readonly trouble: Exclude<LedgerOutcome, 'passed' | 'failed'> | null
  /** Strongest version that it uses, or offers when it never got in. */
  readonly tls: TlsVersion | null
  readonly lastMs: number
}

/** Heartbeats of an address. Times are null before the first one. */
export type DeviceHeartbeats = {
  readonly address: string
  readonly answered: number
  readonly unanswered: number
  readonly lastMs: number
  readonly lastAnsweredMs: number | null
}

/** How much traffic uses a TLS version; null: offered only versions that are not known. */
export type TlsUse = {
  readonly version: TlsVersion
  readonly admitted: number
  readonly refused: number
  readonly devices: number
}

/** What stands behind the addresses of a site. */
export type SiteDevices = {
  /** Newest first. */
  readonly devices: readonly Device[]
  readonly deviceCount: number
  readonly heartbeats: readonly DeviceHeartbeats[]
  readonly tls: readonly TlsUse[]
  readonly sources: readonly string[]
  /** False: more addresses sent something than were looked at. */
  readonly complete: boolean
}

/** An address that belongs to no site. */
export type UnknownSource = {
  readonly address: string
  readonly admitted: number
  readonly failed: number
  readonly refused: number
  readonly trouble: Device['trouble']
  readonly lastMs: number
}

/** Addresses that belong to no site. */
export type UnknownSources = {
  readonly sources: readonly UnknownSource[]
  /** False: there are more than were looked at. */
  readonly complete: boolean
}

/** Works on the ledger. */
export type DeviceTable = {
  readonly ofRanges: (ranges: readonly string[], sinceMs: number) => SiteDevices
  /** Addresses outside the given ranges, the last heard first; of very many, those known longest and the newest. */
  readonly outside: (ranges: readonly string[], sinceMs: number) => UnknownSources
}

const MAX_SOURCES = 300
const SHOWN_DEVICES = 200
const MAX_OUTSIDE = 300
const DAY_MS = 24 * HOUR_MS

/** Works on an open database. */
export function createDeviceTable(
  database: DatabaseSync,
  ledger: Pick<LedgerTable, 'ofRange' | 'ofSource'>,
): DeviceTable {
  return {
    ofRanges: (ranges, sinceMs) => {
      const rows: LedgerRow[] = []
      const sources = new Set<string>()
      for (const text of ranges) {
        const range = parseCidr(text)
        if (typeof range === 'string' || sources.size > MAX_SOURCES) continue
        for (const row of ledger.ofRange(range, sinceMs, MAX_SOURCES + 1 - sources.size)) {
          rows.push(row)
          if (row.source !== null) sources.add(row.source)
        }
      }
      const devices = devicesOf(rows)
      return {
        devices: devices.slice(0, SHOWN_DEVICES),
        deviceCount: devices.length,
        heartbeats: heartbeatsOf(rows),
        tls: tlsOf(rows),
        sources: [...sources].slice(0, MAX_SOURCES),
        complete: sources.size <= MAX_SOURCES,
      }
    },
    outside: (ranges, sinceMs) => {
      const recorded = new CidrTrie<true>()
      for (const text of ranges) {
        const range = parseCidr(text)
        if (typeof range !== 'string') recorded.insert(range, true)
      }
      const found = new Set<string>()
      let complete = true
      // Half of the room for those known longest, which are agents, half for new ones: a flood of strangers hides neither.
      for (const [order, room] of [
        ['ASC', MAX_OUTSIDE / 2],
        ['DESC', MAX_OUTSIDE],
      ] as const) {
        const walk = database.prepare(`SELECT address FROM source WHERE last_day >= ? ORDER BY id ${order}`)
        for (const row of walk.iterate(Math.floor(sinceMs / DAY_MS))) {
          const text = row['address'] instanceof Uint8Array ? addressText(row['address']) : null
          const address = text === null ? undefined : parseAddress(text)
          if (text === null || address === undefined || recorded.match(address) !== undefined) continue
          if (found.size >= room && !found.has(text)) {
            complete = order === 'ASC'
            break
          }
          found.add(text)
        }
      }
      const sources = [...found].flatMap(address => {
        const rows = ledger.ofSource(address, sinceMs).filter(row => row.shape.outcome !== 'silent')
        return rows.length === 0
          ? []
          : [{ address, ...countsOf(rows), trouble: troubleOf(rows), lastMs: lastOf(rows) }]
      })
      return { sources: sources.sort((a, b) => b.lastMs - a.lastMs), complete }
    },
  }
}

function devicesOf(rows: readonly LedgerRow[]): Device[] {
  const groups = Map.groupBy(
    rows.filter(row => row.shape.phase !== 'datagram' && row.source !== null),
    ({ source, shape }) => `${source} ${shape.ja4} ${shape.userAgent}`,
  )
  return [...groups.values()]
    .flatMap(group => {
      const [first] = group
      if (first?.source === null || first?.source === undefined) return []
      return [
        {
          address: first.source,
          ja4: first.shape.ja4,
          userAgent: first.shape.userAgent,
          classes: [...new Set(group.flatMap(row => row.shape.class ?? []))],
          ...countsOf(group),
          trouble: troubleOf(group),
          tls: strongest(group),
          lastMs: lastOf(group),
        },
      ]
    })
    .sort((a, b) => b.lastMs - a.lastMs)
}

function heartbeatsOf(rows: readonly LedgerRow[]): DeviceHeartbeats[] {
  const groups = Map.groupBy(
    rows.filter(row => row.shape.phase === 'datagram' && row.source !== null && isAdmitted(row)),
    row => row.source ?? '',
  )
  return [...groups].map(([address, group]) => {
    const answered = group.filter(row => row.shape.outcome === 'passed')
    return {
      address,
      answered: total(answered),
      unanswered: total(group) - total(answered),
      lastMs: lastOf(group),
      lastAnsweredMs: answered.length === 0 ? null : lastOf(answered),
    }
  })
}

function tlsOf(rows: readonly LedgerRow[]): TlsUse[] {
  const seen = rows.filter(row => row.shape.phase !== 'datagram')
  const groups = Map.groupBy(seen, row => row.shape.negotiated ?? best(row.shape.offered))
  return TLS_VERSIONS.flatMap(version => {
    const group = groups.get(version)
    if (group === undefined) return []
    const { admitted, failed, refused } = countsOf(group)
    return [{ version, admitted: admitted + failed, refused, devices: devicesOf(group).length }]
  })
}

function isAdmitted({ shape }: LedgerRow): boolean {
  return shape.outcome === 'passed' || shape.outcome === 'failed'
}

function countsOf(rows: readonly LedgerRow[]): Pick<Device, 'admitted' | 'failed' | 'refused'> {
  const counts = { admitted: 0, failed: 0, refused: 0 }
  for (const { shape, count } of rows) {
    if (shape.outcome === 'passed') counts.admitted += count
    else if (shape.outcome === 'failed' || shape.outcome === 'handshake-failed') counts.failed += count
    else if (shape.outcome !== 'silent') counts.refused += count
  }
  return counts
}

function troubleOf(rows: readonly LedgerRow[]): Device['trouble'] {
  const counts = new Map<Exclude<LedgerOutcome, 'passed' | 'failed'>, number>()
  for (const { shape, count } of rows) {
    if (shape.outcome === 'passed' || shape.outcome === 'failed') continue
    counts.set(shape.outcome, (counts.get(shape.outcome) ?? 0) + count)
  }
  return [...counts].sort((a, b) => b[1] - a[1])[0]?.[0] ?? null
}

function strongest(rows: readonly LedgerRow[]): TlsVersion | null {
  const used = rows.flatMap(row => row.shape.negotiated ?? [])
  return best(used.length > 0 ? used : rows.flatMap(row => row.shape.offered))
}

function best(versions: readonly TlsVersion[]): TlsVersion | null {
  return TLS_VERSIONS.findLast(version => versions.includes(version)) ?? null
}

function total(rows: readonly LedgerRow[]): number {
  let sum = 0
  for (const row of rows) sum += row.count
  return sum
}

function lastOf(rows: readonly LedgerRow[]): number {
  let last = 0
  for (const row of rows) if (row.lastMs > last) last = row.lastMs
  return last
}
