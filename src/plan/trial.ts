// The trial report: what was carried and what failed, what is refused now, and what rules would refuse, with known agents told apart. Pure.
import type { LedgerOutcome, LedgerRow } from '../journal/ledger-facts.ts'
import type { Detections, WatchedRule } from '../journal/store-detections.ts'
import { parseAddress } from '../net/address.ts'
import { AGENT_CLASSES, CLASSES, type TrafficClass } from '../policy/classes.ts'
import { REASONS } from '../policy/reasons.ts'
import type { Snapshot } from '../policy/snapshot.ts'

/** The families in which support looks for a cause, in the order in which they are asked. */
const FAMILIES = ['country', 'tls', 'rules', 'access', 'other'] as const

/** One of them. */
export type Family = (typeof FAMILIES)[number]

/** Requests of one class. */
export type ClassTraffic = {
  readonly class: TrafficClass
  readonly passed: number
  /** Let through, but cut short or answered with a server error. */
  readonly failed: number
}

/** Refusals of one family for one site and class. */
export type TrialRefusal = {
  readonly family: Family
  readonly outcome: LedgerOutcome
  readonly site: string | null
  readonly class: TrafficClass | null
  readonly count: number
  readonly sources: number
  /** Sources whose agents checked in within several hours of the span. */
  readonly knownAgents: number
  readonly lastMs: number
  /** The known agents first, at most 10. */
  readonly examples: readonly string[]
}

/** What a rule that only detects would have refused. */
export type TrialDetection = {
  readonly rule: string
  readonly site: string | null
  readonly class: TrafficClass | null
  readonly hits: number
  readonly sources: number
  readonly knownAgents: number
  readonly lastMs: number
  readonly examples: readonly string[]
}

/** A rule that begins to enforce by itself. */
export type TrialWatch = {
  readonly rule: string
  readonly sinceMs: number
  readonly enforces: boolean
}

/** The report. */
export type Trial = {
  readonly classes: readonly ClassTraffic[]
  /** Sources whose agents checked in within several hours. */
  readonly knownAgents: number
  readonly refusals: readonly TrialRefusal[]
  readonly detections: readonly TrialDetection[]
  readonly watched: readonly TrialWatch[]
  /** False: there were more detections than are read. */
  readonly complete: boolean
}

/** One check-in could be the attack itself. */
const KNOWN_HOURS = 3
const EXAMPLES = 10

type Gathering = {
  readonly family: Family
  readonly outcome: LedgerOutcome
  readonly site: string | null
  readonly class: TrafficClass | null
  count: number
  lastMs: number
  readonly sources: Set<string>
}

/** Makes the report of ledger rows (hour by hour) and detections. */
export function reportTrial(
  snapshot: Snapshot,
  rows: Iterable<LedgerRow>,
  detections: Detections,
  watched: readonly WatchedRule[],
): Trial {
  const hours = new Map<string, Set<number>>()
  const classes = new Map<TrafficClass, { passed: number; failed: number }>()
  const refusals = new Map<string, Gathering>()
  const sites = new Map<string, string | null>()

  const siteOf = (source: string): string | null => {
    let site = sites.get(source)
    if (site === undefined) {
      const address = parseAddress(source)
      site = address === undefined ? null : (snapshot.siteByAddress.match(address)?.id ?? null)
      sites.set(source, site)
    }
    return site
  }

  for (const { source, hourMs, shape, count, lastMs } of rows) {
    const { class: trafficClass, outcome, phase } = shape
    if (outcome === 'passed' || outcome === 'failed') {
      if (trafficClass === null) continue
      let entry = classes.get(trafficClass)
      if (entry === undefined) classes.set(trafficClass, (entry = { passed: 0, failed: 0 }))
      entry[outcome] += count
      // Who a datagram comes from can be forged.
      const isAgent = outcome === 'passed' && phase !== 'datagram' && AGENT_CLASSES.includes(trafficClass)
      if (isAgent && source !== null) {
        const seen = hours.get(source)
        if (seen === undefined) hours.set(source, new Set([hourMs]))
        else if (seen.size < KNOWN_HOURS) seen.add(hourMs)
      }
      continue
    }
    const family = familyOf(outcome)
    if (family === null) continue
    const site = source === null ? null : siteOf(source)
    const key = `${outcome} ${trafficClass} ${site}`
    let entry = refusals.get(key)
    if (entry === undefined) {
      entry = { family, outcome, site, class: trafficClass, count: 0, lastMs: 0, sources: new Set() }
      refusals.set(key, entry)
    }
    entry.count += count
    entry.lastMs = Math.max(entry.lastMs, lastMs)
    if (source !== null) entry.sources.add(source)
  }

  const isKnown = (source: string): boolean => (hours.get(source)?.size ?? 0) >= KNOWN_HOURS
  const who = (sources: readonly string[]) => {
    const known = sources.filter(isKnown)
    const examples = [...known, ...sources.filter(source => !isKnown(source))].slice(0, EXAMPLES)
    return { sources: sources.length, knownAgents: known.length, examples }
  }
  return {
    classes: CLASSES.flatMap(name => {
      const entry = classes.get(name)
      return entry === undefined ? [] : [{ class: name, ...entry }]
    }),
    knownAgents: [...hours.values()].filter(seen => seen.size >= KNOWN_HOURS).length,
    refusals: [...refusals.values()]
      .map(({ sources, ...rest }) => ({ ...rest, ...who([...sources]) }))
      .sort(worstFirst),
    detections: detections.counts
      .map(({ addresses, ...rest }) => ({ ...rest, ...who(addresses) }))
      .sort((a, b) => b.knownAgents - a.knownAgents || b.hits - a.hits),
    watched: watched.map(({ rule, sinceMs, promotedMs }) => ({
      rule,
      sinceMs,
      enforces: promotedMs !== null,
    })),
    complete: detections.complete,
  }
}

function worstFirst(a: TrialRefusal, b: TrialRefusal): number {
  return (
    b.knownAgents - a.knownAgents ||
    FAMILIES.indexOf(a.family) - FAMILIES.indexOf(b.family) ||
    b.count - a.count
  )
}

const FAMILY: Partial<Readonly<Record<LedgerOutcome, Family | null>>> = {
  passed: null,
  failed: null,
  silent: null,
  'handshake-failed': 'tls',
  'tls-version-too-low': 'tls',
  'tls-version-class': 'tls',
  rule: 'rules',
  'country-refused': 'country',
  'country-unknown': 'country',
  'network-refused': 'country',
  'geo-unavailable': 'country',
  'class-country': 'country',
  'class-closed': 'access',
  'class-source': 'access',
  'class-key': 'access',
  'class-window': 'access',
  banned: 'access',
}

/** The family of an outcome; null: it is no refusal (a port test, say). */
function familyOf(outcome: LedgerOutcome): Family | null {
  const family = FAMILY[outcome]
  if (family !== undefined) return family
  // A ledger of another version may know other words.
  return Object.hasOwn(REASONS, outcome) ? 'other' : null
}
