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

/** What gives way to size: the older of the two; the ledger of today and yesterday is kept while events remain. */
export function givesWay(
  oldestEventMs: number | null,
  oldestLedgerDay: number | null,
  nowMs: number,
): 'events' | 'ledger' | null {
  if (oldestLedgerDay === null) return oldestEventMs === null ? null : 'events'
  if (oldestEventMs === null) return 'ledger'
  if (oldestLedgerDay >= Math.floor(nowMs / DAY_MS) - 1) return 'events'
  return oldestEventMs <= oldestLedgerDay * DAY_MS + DAY_MS ? 'events' : 'ledger'
}
