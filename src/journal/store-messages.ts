// The messages between the store's handle on the main thread and the thread that owns the file.
import type { Cidr } from '../net/cidr.ts'
import type { LedgerRow } from './ledger-facts.ts'
import type { Retention } from './retention.ts'
import type { Batch, StoreSize, Upkeep } from './store-core.ts'
import type { Replaced } from './store-database.ts'
import type { EventQuery, ReasonCount, StoredEvent } from './store-events.ts'
import type { NewOverlayEntry, OverlayEntry, OverlayKind } from './store-overlay.ts'
import type { RuleEffect, RuleWatch } from './store-rules.ts'

/** Questions and changes that are answered; each takes and gives plain data. */
export type StoreCalls = {
  readonly eventsByReference: (reference: string) => StoredEvent[]
  readonly findEvents: (query: EventQuery) => StoredEvent[]
  readonly countsByReason: (sinceMs: number) => ReasonCount[]
  readonly ledgerOfSource: (address: string, sinceMs: number) => LedgerRow[]
  readonly ledgerOfRange: (range: Cidr, sinceMs: number, maxSources: number) => LedgerRow[]
  readonly overlayEntries: () => OverlayEntry[]
  readonly addOverlayEntry: (entry: NewOverlayEntry) => OverlayEntry
  readonly removeOverlayEntries: (kind: OverlayKind, range: string) => OverlayEntry[]
  readonly watchRules: (
    rules: readonly { readonly ruleId: string; readonly digest: string }[],
    nowMs: number,
  ) => RuleWatch[]
  readonly promoteRule: (ruleId: string, nowMs: number) => void
  readonly ruleEffects: (ruleIds: readonly string[] | null, sinceMs: number) => RuleEffect[]
  readonly upkeep: (retention: Retention, nowMs: number) => Upkeep
  readonly size: () => StoreSize
}

/** To the thread. */
export type StoreRequest =
  | { readonly kind: 'open'; readonly file: string; readonly nowMs: number }
  | { readonly kind: 'write'; readonly batch: Batch; readonly nowMs: number }
  | {
      readonly kind: 'call'
      readonly id: number
      readonly method: keyof StoreCalls
      readonly args: readonly unknown[]
    }
  | { readonly kind: 'close' }

/** From the thread. */
export type StoreReply =
  | { readonly kind: 'opened'; readonly replaced: Replaced | null }
  | { readonly kind: 'unusable'; readonly problem: string; readonly remedy: string }
  | {
      readonly kind: 'written'
      readonly lost: string | null
      readonly replaced: Replaced | null
      readonly durationMs: number
    }
  | { readonly kind: 'answer'; readonly id: number; readonly value: unknown }
  | { readonly kind: 'problem'; readonly id: number; readonly problem: string }
  | { readonly kind: 'closed' }
