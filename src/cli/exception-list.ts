// Every deviation that ends by itself: allows, TLS exceptions, exceptions from rules and trials, with who, why, until when and last use.
import { trialScope } from '../config/describe.ts'
import type { StoreReader } from '../journal/store-core.ts'
import type { Cidr } from '../net/cidr.ts'
import { tlsRank } from '../net/tls-version.ts'
import type { ListedException } from '../policy/expiring.ts'
import type { AllowEntry, Overlay, Snapshot } from '../policy/snapshot.ts'
import { formatSourceLine } from '../policy/source-line.ts'
import { shortRange } from './format.ts'

const MAX_SOURCES = 200
const USE_MS = 30 * 86_400_000

/** Lists them, those that end soonest first; those without an end last. */
export function listExceptions(
  snapshot: Snapshot,
  overlay: Overlay,
  store: StoreReader | undefined,
  nowMs: number,
): readonly ListedException[] {
  const sinceMs = nowMs - USE_MS
  const ended = (expiresMs: number | null): boolean => expiresMs !== null && expiresMs <= nowMs
  const found: ListedException[] = []
  for (const entry of [...snapshot.allow.values(), ...overlay.allow.values()]) {
    const { range, classes, reason, owner, expiresMs, at } = entry
    found.push({
      kind: 'allow',
      what: `${shortRange(range.text)}${classes === null ? '' : ` for ${[...classes].join(', ')}`}`,
      reason,
      owner,
      expiresMs,
      ended: ended(expiresMs),
      line: formatSourceLine(at),
      lastUsedMs: lastPassed(store, entry, sinceMs),
    })
  }
  for (const { id, ranges, tlsException } of snapshot.sites) {
    if (tlsException === null) continue
    const { minimum, reason, owner, expiresMs, at } = tlsException
    found.push({
      kind: 'tls',
      what: `site ${id} down to ${minimum}`,
      reason,
      owner,
      expiresMs,
      ended: ended(expiresMs),
      line: formatSourceLine(at),
      lastUsedMs: lastOld(store, ranges, sinceMs),
    })
  }
  found.push(...ruleExceptions(snapshot, store, sinceMs, ended))
  for (const trial of snapshot.trials) {
    const line = formatSourceLine(trial.at)
    found.push({
      kind: 'trial',
      what: `trial of ${trialScope(trial)}`,
      reason: 'recorded instead of refused',
      owner: 'policy',
      expiresMs: trial.expiresMs,
      ended: ended(trial.expiresMs),
      line,
      lastUsedMs: lastTried(store, line, sinceMs),
    })
  }
  return found.sort((a, b) => (a.expiresMs ?? Infinity) - (b.expiresMs ?? Infinity))
}

/** An exception of the policy may be for a whole pack: it is listed once. */
function ruleExceptions(
  snapshot: Snapshot,
  store: StoreReader | undefined,
  sinceMs: number,
  ended: (expiresMs: number | null) => boolean,
): readonly ListedException[] {
  const places = new Map<string, { rules: string[]; reason: string; owner: string; expiresMs: number }>()
  for (const rule of snapshot.rules.rules) {
    for (const { reason, owner, at, expiresMs } of rule.exceptions) {
      const line = formatSourceLine(at)
      const known = places.get(line)
      if (known === undefined) places.set(line, { rules: [rule.id], reason, owner, expiresMs })
      else known.rules.push(rule.id)
    }
  }
  const uses = ruleUses(store, sinceMs)
  return [...places].map(([line, { rules, reason, owner, expiresMs }]) => ({
    kind: 'rule',
    what: rules.length === 1 ? `rule ${rules[0] ?? ''}` : `${rules.length} rules, first ${rules[0] ?? ''}`,
    reason,
    owner,
    expiresMs,
    ended: ended(expiresMs),
    line,
    lastUsedMs: rules.reduce<number | null>((last, id) => later(last, uses.get(id) ?? null), null),
  }))
}

/** When each rule was last kept from acting by an exception. */
function ruleUses(store: StoreReader | undefined, sinceMs: number): ReadonlyMap<string, number> {
  const uses = new Map<string, number>()
  for (const { timeMs, fields } of store?.events.find({ name: 'rule.detected', sinceMs, limit: 1_000 }) ??
    []) {
    const hit = fields['hit']
    if (typeof hit !== 'object' || hit === null || !('ruleId' in hit) || !('exception' in hit)) continue
    const { ruleId, exception } = hit
    if (exception === null || typeof ruleId !== 'string' || uses.has(ruleId)) continue
    uses.set(ruleId, timeMs)
  }
  return uses
}

/** The newest of what only this trial let pass, by where it stands; the gate may call the directory something else. */
function lastTried(store: StoreReader | undefined, line: string, sinceMs: number): number | null {
  const events = store?.events.find({ name: 'trial.admitted', sinceMs, limit: 1_000 }) ?? []
  const place = line.slice(line.lastIndexOf('/') + 1)
  return events.find(({ fields }) => String(fields['trial']).endsWith(place))?.timeMs ?? null
}

function lastPassed(
  store: StoreReader | undefined,
  { range, classes }: AllowEntry,
  sinceMs: number,
): number | null {
  let last: number | null = null
  for (const { shape, lastMs } of store?.ledger.ofRange(range, sinceMs, MAX_SOURCES) ?? []) {
    const isMeant = classes === null || (shape.class !== null && classes.has(shape.class))
    if (shape.outcome === 'passed' && isMeant) last = later(last, lastMs)
  }
  return last
}

/** The last connection with a TLS version that nobody else may use. */
function lastOld(store: StoreReader | undefined, ranges: readonly Cidr[], sinceMs: number): number | null {
  let last: number | null = null
  for (const range of ranges) {
    for (const { shape, lastMs } of store?.ledger.ofRange(range, sinceMs, MAX_SOURCES) ?? []) {
      const { outcome, negotiated } = shape
      if (outcome === 'passed' && negotiated !== null && tlsRank(negotiated) < tlsRank('TLSv1.2'))
        last = later(last, lastMs)
    }
  }
  return last
}

function later(a: number | null, b: number | null): number | null {
  return a === null ? b : b === null ? a : Math.max(a, b)
}
