// From a stored refusal to the narrowest exception for it: the same for `portcullis allow --from` and the dashboard.
import { isReason } from './cli/diagnosis-report.ts'
import { ruleHitOf } from './cli/evidence.ts'
import { narrowestException, type ExceptionResult, type Wanted } from './diagnose/exception.ts'
import type { HitRule } from './diagnose/finding.ts'
import type { RuleHit } from './ips/rule-set.ts'
import type { StoredEvent } from './journal/store-events.ts'
import { parseAddress } from './net/address.ts'
import { TLS_VERSIONS } from './net/tls-version.ts'
import { CLASSES } from './policy/classes.ts'
import type { Snapshot } from './policy/snapshot.ts'

const DAY_MS = 86_400_000
/** Longest life of an exception; it can be renewed when it is about to end. */
export const MAX_EXCEPTION_DAYS = 366

/** The last day of an exception that lasts so long, in UTC: `2026-11-28`. Policies count in days. */
export function lastDay(spanMs: number, nowMs: number): string {
  const days = Math.min(Math.max(spanMs, DAY_MS), MAX_EXCEPTION_DAYS * DAY_MS)
  return new Date(nowMs + days).toISOString().slice(0, 10)
}

/** The exception for an event, or why there is none. */
export function exceptionForEvent(event: StoredEvent, snapshot: Snapshot, wanted: Wanted): ExceptionResult {
  const { fields, reason } = event
  const address = event.address === null ? undefined : parseAddress(event.address)
  if (address === undefined) {
    const reference = event.reference ?? ''
    return {
      ok: false,
      code: 'no-exception',
      problem: `${reference === '' ? 'this event' : reference} belongs to no address`,
      remedy: reference === '' ? 'Look for the refusal itself.' : `See it: portcullis diagnose ${reference}`,
    }
  }
  const offered = Array.isArray(fields['offered']) ? (fields['offered'] as readonly unknown[]) : []
  const thing = {
    address: address.text,
    site: snapshot.siteByAddress.match(address) ?? null,
    reason: reason !== null && isReason(reason) ? reason : null,
    class: CLASSES.find(name => name === event.class) ?? null,
    path: typeof fields['path'] === 'string' ? fields['path'] : '',
    offered: TLS_VERSIONS.filter(version => offered.includes(version)),
    rules: rulesOf(event),
  }
  return narrowestException(snapshot, thing, wanted)
}

/** The rules to be excepted: those that refused, or the one that was detected. */
function rulesOf(event: StoredEvent): readonly HitRule[] {
  const hit = ruleHitOf([event])
  if (hit !== null) return [hit, ...hit.others]
  const detected = event.fields['hit'] as RuleHit | undefined
  return detected === undefined
    ? []
    : [{ ruleId: detected.ruleId, field: detected.field, alsoIn: detected.alsoIn ?? [] }]
}
