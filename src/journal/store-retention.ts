// Trims the store in small steps: by age, then by size. Each step is one short transaction and gives its space back.
import type { DatabaseSync } from 'node:sqlite'
import { cutoffs, givesWay, type Retention } from './retention.ts'

const HOUR_MS = 3_600_000
const ROWS_PER_STEP = 500
/** Free pages that a step gives back to the file system. */
const PAGES_PER_STEP = 500

/** What one step did. */
export type TrimStep = {
  readonly rows: number
  readonly why: 'age' | 'size' | null
  /** More is to be done now. */
  readonly more: boolean
}

/** Bytes in use: pages of the file without the free ones. */
export function usedBytes(database: DatabaseSync): number {
  return (pragma(database, 'page_count') - pragma(database, 'freelist_count')) * pragma(database, 'page_size')
}

/** Number of events: rows are inserted in order and removed from the old end, so the span of ids is it, without a scan. */
export function eventRows(database: DatabaseSync): number {
  return (
    number(database, 'SELECT (SELECT max(id) FROM event) - (SELECT min(id) FROM event) + 1 AS value') ?? 0
  )
}

/** Does one step of trimming; the caller holds the transaction. `forget` is called when dictionary rows went. */
export function trimStep(
  database: DatabaseSync,
  retention: Retention,
  nowMs: number,
  forget: () => void,
): TrimStep {
  const { eventsBeforeMs, ledgerBeforeDay } = cutoffs(retention, nowMs)
  const aged = removeEvents(database, eventsBeforeMs) + removeLedger(database, ledgerBeforeDay)
  if (aged > 0) return { rows: aged, why: 'age', more: true }
  database.prepare('DELETE FROM event_count WHERE hour < ?').run(Math.floor(eventsBeforeMs / HOUR_MS))
  removeSums(database, eventsBeforeMs, ledgerBeforeDay)
  if (usedBytes(database) > retention.maxStoreBytes) {
    const oldestEvent = number(database, 'SELECT min(time) AS value FROM event')
    const oldestDay = oldestLedgerDay(database)
    const gives = givesWay({
      oldestEventMs: oldestEvent,
      eventRows: eventRows(database),
      oldestLedgerDay: oldestDay,
      maxStoreBytes: retention.maxStoreBytes,
      nowMs,
    })
    const rows =
      gives === 'events'
        ? removeEvents(database, Number.MAX_SAFE_INTEGER)
        : gives === 'ledger'
          ? removeLedger(database, (oldestDay ?? 0) + 1)
          : 0
    if (rows > 0) return { rows, why: 'size', more: true }
  }
  if (removeUnused(database, oldestLedgerDay(database) ?? ledgerBeforeDay) > 0) {
    forget()
    return { rows: 0, why: null, more: true }
  }
  return { rows: 0, why: null, more: false }
}

/** Gives free pages back to the file system; outside any transaction. Returns whether there are more. */
export function giveBackPages(database: DatabaseSync): boolean {
  if (pragma(database, 'freelist_count') < PAGES_PER_STEP) return false
  database.exec(`PRAGMA incremental_vacuum(${PAGES_PER_STEP})`)
  return pragma(database, 'freelist_count') >= PAGES_PER_STEP
}

/** Sums of rules go with the events, those of traffic with the ledger. */
function removeSums(database: DatabaseSync, eventsBeforeMs: number, ledgerBeforeDay: number): void {
  const beforeHour = Math.floor(eventsBeforeMs / HOUR_MS)
  database.prepare('DELETE FROM rule_hour WHERE hour < ?').run(beforeHour)
  for (const table of ['traffic_hour', 'country_hour'])
    database.prepare(`DELETE FROM ${table} WHERE hour < ?`).run(ledgerBeforeDay * 24)
  const beforeMs = ledgerBeforeDay * 24 * HOUR_MS
  database.prepare('DELETE FROM site_seen WHERE admitted < ? AND refused < ?').run(beforeMs, beforeMs)
}

function removeEvents(database: DatabaseSync, beforeMs: number): number {
  const removed = Number(
    database
      .prepare(
        `DELETE FROM event WHERE id IN (SELECT id FROM event WHERE time < ? ORDER BY time LIMIT ${ROWS_PER_STEP})`,
      )
      .run(beforeMs).changes,
  )
  if (removed > 0)
    database.prepare('DELETE FROM rule_event WHERE event < (SELECT coalesce(min(id), 9e18) FROM event)').run()
  return removed
}

function removeLedger(database: DatabaseSync, beforeDay: number): number {
  const packed = database
    .prepare(
      `DELETE FROM ledger_day WHERE (day, source) IN (SELECT day, source FROM ledger_day WHERE day < ? ORDER BY day LIMIT ${ROWS_PER_STEP})`,
    )
    .run(beforeDay)
  const open = database
    .prepare(
      `DELETE FROM ledger_open WHERE (day, source, shape, hour) IN
       (SELECT day, source, shape, hour FROM ledger_open WHERE day < ? ORDER BY day LIMIT ${ROWS_PER_STEP})`,
    )
    .run(beforeDay)
  return Number(packed.changes) + Number(open.changes)
}

function removeUnused(database: DatabaseSync, oldestDay: number): number {
  let removed = 0
  for (const table of ['source', 'shape']) {
    const statement = database.prepare(
      `DELETE FROM ${table} WHERE id IN (SELECT id FROM ${table} WHERE last_day < ? LIMIT ${ROWS_PER_STEP})`,
    )
    removed += Number(statement.run(oldestDay).changes)
  }
  return removed
}

function oldestLedgerDay(database: DatabaseSync): number | null {
  const days = ['ledger_day', 'ledger_open'].map(table =>
    number(database, `SELECT min(day) AS value FROM ${table}`),
  )
  const known = days.filter(day => day !== null)
  return known.length === 0 ? null : Math.min(...known)
}

function number(database: DatabaseSync, sql: string): number | null {
  const value = database.prepare(sql).get()?.['value']
  return typeof value === 'number' ? value : null
}

function pragma(database: DatabaseSync, name: 'page_count' | 'freelist_count' | 'page_size'): number {
  return Number(database.prepare(`PRAGMA ${name}`).get()?.[name] ?? 0)
}
