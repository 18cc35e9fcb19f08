// The store as seen by the thread that owns the file: batches in, answers out, upkeep in small steps. Synchronous.
import type { DatabaseSync } from 'node:sqlite'
import type { LedgerBatch } from './ledger-facts.ts'
import { cutoffs, type Retention } from './retention.ts'
import {
  closeQuietly,
  inTransaction,
  isDamage,
  moveAside,
  openReadOnly,
  openWritable,
  problemOf,
  type Replaced,
} from './store-database.ts'
import { createEventTable, type EventRow, type EventTable } from './store-events.ts'
import { createDetectionTable, type DetectionTable } from './store-detections.ts'
import { createLatencyTable, type LatencyTable } from './store-latency.ts'
import { createLedgerTable, type LedgerTable } from './store-ledger.ts'
import { createOverlayTable, type OverlayEntry, type OverlayTable } from './store-overlay.ts'
import { createDeviceTable, type DeviceTable } from './store-devices.ts'
import { createRuleHitTable, type RuleHitTable } from './store-rule-hits.ts'
import { createRuleTable, type RuleTable } from './store-rules.ts'
import { createTrafficTable, type TrafficTable } from './store-traffic.ts'
import type { TallyBatch } from './traffic-facts.ts'
import { eventRows, giveBackPages, trimStep, usedBytes } from './store-retention.ts'

/** Rows that go into the store together. */
export type Batch = {
  readonly events: readonly EventRow[]
  readonly ledger: LedgerBatch | null
  readonly tally?: TallyBatch | null
}

/** What one step of upkeep did. */
export type Upkeep = {
  readonly rows: number
  readonly why: 'age' | 'size' | null
  readonly expired: readonly OverlayEntry[]
  readonly more: boolean
}

/** How large the store is. */
export type StoreSize = {
  readonly usedBytes: number
  readonly events: number
  readonly ledgerSources: number
}

/** Everything that can be asked of a store without changing it. */
export type StoreReader = {
  readonly events: Pick<EventTable, 'byReference' | 'find' | 'search' | 'countsByReason'>
  readonly latency: Pick<LatencyTable, 'since'>
  readonly detections: DetectionTable
  readonly ledger: Pick<LedgerTable, 'ofSource' | 'ofRange' | 'all' | 'sums'>
  readonly overlay: Pick<OverlayTable, 'list'>
  readonly rules: Pick<RuleTable, 'effects' | 'promoted'>
  readonly traffic: Omit<TrafficTable, 'add'>
  readonly ruleHits: RuleHitTable
  readonly devices: DeviceTable
  readonly size: () => StoreSize
  readonly close: () => void
}

/** A store that can be written. */
export type StoreCore = StoreReader & {
  readonly overlay: OverlayTable
  readonly rules: RuleTable
  readonly traffic: TrafficTable
  /** Writes a batch in one transaction: all of it or nothing. */
  readonly write: (batch: Batch) => void
  readonly upkeep: (retention: Retention, nowMs: number) => Upkeep
}

/** Sources that a step of upkeep packs: a few milliseconds of work. */
const PACKED_PER_STEP = 100

/** Opens a store for writing. Throws what SQLite throws; see openOrReplaceStore for damaged files. */
export function openStoreCore(file: string): StoreCore {
  const database = openWritable(file)
  const ledger = createLedgerTable(database)
  const overlay = createOverlayTable(database)
  const events = createEventTable(database)
  const traffic = createTrafficTable(database)
  const ruleHits = createRuleHitTable(database, ledger)
  const latency = createLatencyTable(database)
  return {
    events,
    latency,
    detections: createDetectionTable(database),
    ledger,
    traffic,
    ruleHits,
    devices: createDeviceTable(database, ledger),
    overlay,
    rules: createRuleTable(database, ledger),
    size: () => sizeOf(database),
    close: () => closeQuietly(database),
    write: batch => {
      try {
        inTransaction(database, () => {
          events.insert(batch.events)
          if (batch.ledger !== null) ledger.add(batch.ledger)
          if (batch.tally !== undefined && batch.tally !== null) {
            traffic.add(batch.tally)
            latency.add(batch.tally.latency ?? [])
          }
        })
      } catch (error) {
        // Ids that the rolled-back transaction had made are void.
        ledger.forget()
        throw error
      }
    },
    upkeep: (retention, nowMs) => {
      const expired = overlay.removeExpired(nowMs)
      const packed = inTransaction(database, () => ledger.pack(nowMs, PACKED_PER_STEP))
      const trimmed = inTransaction(database, () => trimStep(database, retention, nowMs, ledger.forget))
      latency.trim(cutoffs(retention, nowMs).ledgerBeforeDay)
      const pagesLeft = giveBackPages(database)
      const more = packed === PACKED_PER_STEP || trimmed.more || pagesLeft
      return { rows: trimmed.rows, why: trimmed.why, expired, more }
    },
  }
}

/** Opens a store for writing; a damaged file is moved aside first, its bans and allows carried over where readable. */
export function openOrReplaceStore(
  file: string,
  nowMs: number,
): { readonly core: StoreCore; readonly replaced: Replaced | null } {
  try {
    return { core: openStoreCore(file), replaced: null }
  } catch (error) {
    if (!isDamage(error)) throw error
    return replaceStore(file, nowMs, problemOf(error))
  }
}

/** Moves a damaged file aside and opens a fresh one with the bans and allows that could still be read. */
export function replaceStore(
  file: string,
  nowMs: number,
  problem: string,
): { readonly core: StoreCore; readonly replaced: Replaced } {
  const kept = salvageOverlay(file)
  const movedTo = moveAside(file, nowMs)
  const core = openStoreCore(file)
  for (const entry of kept) core.overlay.add(entry)
  return { core, replaced: { movedTo, problem, entriesKept: kept.length } }
}

/** Opens a store for reading, with or without a running gate. Throws PortcullisError. */
export function openStoreReader(file: string): StoreReader {
  const database = openReadOnly(file)
  const ledger = createLedgerTable(database)
  return {
    events: createEventTable(database),
    ledger,
    latency: createLatencyTable(database),
    detections: createDetectionTable(database),
    traffic: createTrafficTable(database),
    ruleHits: createRuleHitTable(database, ledger),
    devices: createDeviceTable(database, ledger),
    overlay: createOverlayTable(database),
    rules: createRuleTable(database, ledger),
    size: () => sizeOf(database),
    close: () => closeQuietly(database),
  }
}

function salvageOverlay(file: string): OverlayEntry[] {
  try {
    const database = openReadOnly(file)
    try {
      return createOverlayTable(database).list()
    } finally {
      closeQuietly(database)
    }
  } catch {
    return []
  }
}

function sizeOf(database: DatabaseSync): StoreSize {
  const sources = database
    .prepare('SELECT (SELECT max(id) FROM source) - (SELECT min(id) FROM source) + 1 AS value')
    .get()
  return {
    usedBytes: usedBytes(database),
    events: eventRows(database),
    ledgerSources: Number(sources?.['value'] ?? 0),
  }
}
