// The shape of one event's definition: everything that logs, metrics, the store and the documents need to know of it.
import type { EventFields, EventName, Severity } from './events.ts'

/** Labels that metrics may carry. All are few-valued; addresses, paths and host names never are labels. */
export type LabelName =
  | 'class'
  | 'code'
  | 'country'
  | 'direction'
  | 'ending'
  | 'group'
  | 'kind'
  | 'listener'
  | 'member'
  | 'mode'
  | 'phase'
  | 'reason'
  | 'resumed'
  | 'rule'
  | 'status'
  | 'tls'
  | 'trigger'
  | 'websocket'

/** A counter that an event adds one to. */
export type CounterDefinition<K extends EventName> = {
  readonly name: string
  readonly help: string
  readonly labels: readonly LabelName[]
  /** Label values in the order of `labels`. */
  readonly values: (fields: EventFields[K]) => readonly string[]
}

/** Everything that is known of one event. */
export type EventDefinition<K extends EventName> = {
  /** Stable code: `E1` to `E18` for the classic gateway events, a letter and two digits for the others. */
  readonly code: string
  /** Classic gateway codes that this event covers. */
  readonly covers?: readonly string[]
  readonly severity: Severity | ((fields: EventFields[K]) => Severity)
  /** When it is reported; one sentence for the documents. */
  readonly when: string
  /** What happened and what to do about it, for a person. Fields are already redacted. */
  readonly sentence: (fields: EventFields[K]) => string
  /** Lines of the numbered gateway log, when the classic wording differs from the sentence. */
  readonly gatewayLines?: (fields: EventFields[K]) => readonly string[]
  /** Null: the event has no counter beside portcullis_events_total. */
  readonly counter: CounterDefinition<K> | null
  /** Whether it becomes a row of the store. */
  readonly stored: boolean
  /** Clients can cause it at will: lines and rows are limited per address and in all, metrics and ledger are not. */
  readonly fromClients: boolean
}

/** Definitions of some events, each under its own name. */
export type Definitions<K extends EventName> = { readonly [N in K]: EventDefinition<N> }

/** A time for a sentence: `2026-11-21 09:19 UTC`. */
export function formatTime(timeMs: number): string {
  if (!Number.isFinite(timeMs) || Math.abs(timeMs) > 8.64e15) return 'an unknown time'
  return `${new Date(timeMs).toISOString().slice(0, 16).replace('T', ' ')} UTC`
}

/** A duration for a sentence: `450 ms`, `12 s`, `3 min`, `5.2 h`, `4.0 d`. */
export function formatDuration(durationMs: number): string {
  if (durationMs < 1_000) return `${Math.round(durationMs)} ms`
  if (durationMs < 120_000) return `${Math.round(durationMs / 1_000)} s`
  if (durationMs < 7_200_000) return `${Math.round(durationMs / 60_000)} min`
  if (durationMs < 172_800_000) return `${(durationMs / 3_600_000).toFixed(1)} h`
  return `${(durationMs / 86_400_000).toFixed(1)} d`
}

/** `1 key`, `3 keys`. */
export function plural(count: number, one: string, many = `${one}s`): string {
  return `${count} ${count === 1 ? one : many}`
}

/** Ends a text that somebody else wrote as a sentence. */
export function stop(text: string): string {
  const trimmed = text.trim()
  return /[.!?…]$/.test(trimmed) ? trimmed : `${trimmed}.`
}
