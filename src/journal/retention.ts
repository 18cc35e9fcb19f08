// PURE. What the journal may keep, as cutoffs, and which part has to give way when the file grows too large.

const DAY_MS = 86_400_000

/** Limits of the store. */
export type Retention = {
  readonly eventDays: number
  readonly ledgerDays: number
  readonly maxStoreBytes: number
}

/** Everything before these goes. */
export type Cutoffs = {
  readonly eventsBeforeMs: number
  /** Day number since the epoch; this day is kept. */
  readonly ledgerBeforeDay: number
}

/** Cutoffs by age. */
export function cutoffs(retention: Retention, nowMs: number): Cutoffs {
  return {
    eventsBeforeMs: nowMs - retention.eventDays * DAY_MS,
    ledgerBeforeDay: Math.floor(nowMs / DAY_MS) - retention.ledgerDays,
  }
}

/** What a stored event takes with its index entries, as measured by bench/reporter.ts. */
const EVENT_BYTES = 750

/** What is in the store. */
export type Holdings = {
  /** Null: no events. */
  readonly oldestEventMs: number | null
  readonly eventRows: number
  /** Null: no ledger. */
  readonly oldestLedgerDay: number | null
  readonly maxStoreBytes: number
  readonly nowMs: number
}

/**
 * What gives way to size: events beyond half of the store (a flood of refusals must not push the ledger out), else the
 * older of the two; the ledger of today and yesterday is kept while events remain.
 */
export function givesWay(holdings: Holdings): 'events' | 'ledger' | null {
  const { oldestEventMs, eventRows, oldestLedgerDay, maxStoreBytes, nowMs } = holdings
  if (oldestLedgerDay === null) return oldestEventMs === null ? null : 'events'
  if (oldestEventMs === null) return 'ledger'
  if (eventRows * EVENT_BYTES > maxStoreBytes / 2) return 'events'
  if (oldestLedgerDay >= Math.floor(nowMs / DAY_MS) - 1) return 'events'
  return oldestEventMs <= oldestLedgerDay * DAY_MS + DAY_MS ? 'events' : 'ledger'
}
