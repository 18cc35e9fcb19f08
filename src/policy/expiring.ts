// What ends by itself: allows, exceptions and trials with their last moment, for warnings before they end.
import type { Overlay, Snapshot } from './snapshot.ts'
import type { SourceLine } from './source-line.ts'

/** Something that ends. */
export type Expiring = { readonly what: string; readonly at: SourceLine; readonly expiresMs: number }

/** A deviation from the policy that ends, or should, as lists show it. */
export type ListedException = {
  readonly kind: 'allow' | 'tls' | 'rule' | 'trial'
  /** What it opens: `203.0.113.7 for agent`, `site acme down to TLSv1`, `rule x on /automate`. */
  readonly what: string
  readonly reason: string
  readonly owner: string
  /** Null: without an end. */
  readonly expiresMs: number | null
  readonly ended: boolean
  readonly line: string
  /** When something last passed that needed it; null: nothing on record did. */
  readonly lastUsedMs: number | null
}

/** Everything in force that has an end and ends after `nowMs`, soonest first. Bans are left out: nobody misses them. */
export function expiringEntries(snapshot: Snapshot, overlay: Overlay, nowMs: number): readonly Expiring[] {
  const found: Expiring[] = []
  for (const trie of [snapshot.allow, overlay.allow]) {
    for (const { range, reason, expiresMs, at } of trie.values()) {
      if (expiresMs !== null) found.push({ what: `allow of ${range.text} (${reason})`, at, expiresMs })
    }
  }
  for (const { id, tlsException } of snapshot.sites) {
    if (tlsException === null) continue
    const { minimum, reason, at, expiresMs } = tlsException
    found.push({ what: `TLS exception of site ${id} down to ${minimum} (${reason})`, at, expiresMs })
  }
  for (const { stages, at, expiresMs } of snapshot.trials)
    found.push({ what: `trial of ${[...stages].join(', ')}`, at, expiresMs })
  for (const rule of snapshot.rules.rules) {
    for (const { reason, at, expiresMs } of rule.exceptions) {
      found.push({ what: `exception of rule ${rule.id} (${reason})`, at, expiresMs })
    }
  }
  return found.filter(entry => entry.expiresMs > nowMs).sort((a, b) => a.expiresMs - b.expiresMs)
}
