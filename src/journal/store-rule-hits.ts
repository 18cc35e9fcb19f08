// What a rule has hit, read from its newest stored events: examples, sources, places, and whether known agents are among them.
import type { DatabaseSync } from 'node:sqlite'
import { AGENT_CLASSES } from '../policy/classes.ts'
import { HOUR_MS } from './ledger-facts.ts'
import { pathShape } from './path-shape.ts'
import { createEventTable, type StoredEvent } from './store-events.ts'
import type { LedgerTable } from './store-ledger.ts'
import type { SiteScope } from './store-traffic.ts'

/** A source that a rule has hit. */
export type HitSource = {
  readonly address: string
  readonly site: string | null
  readonly hits: number
  readonly lastMs: number
  /** It has checked in as an agent in several hours of the last 30 days. */
  readonly knownAgent: boolean
}

/** Where a rule has hit: one site, host, shape of path and field. */
export type HitPlace = {
  readonly site: string | null
  readonly host: string
  readonly path: string
  readonly class: string | null
  readonly field: string
  readonly hits: number
  readonly lastMs: number
}

/** What one rule has hit. */
export type RuleDetail = {
  /** Newest first; fields are redacted. */
  readonly examples: readonly StoredEvent[]
  /** Known agents first, then by hits. */
  readonly sources: readonly HitSource[]
  readonly places: readonly HitPlace[]
  /** Events that were read. */
  readonly read: number
  /** False: there are older ones, which are not in these numbers. */
  readonly complete: boolean
}

/** Whether known agents are among the newest sources of a rule. */
export type RuleAgents = {
  readonly rule: string
  readonly knownAgents: number
  /** Sources that were looked at. */
  readonly sources: number
}

/** Works on the events of rules. */
export type RuleHitTable = {
  readonly detail: (rule: string, sinceMs: number, sites: SiteScope) => RuleDetail
  readonly agents: (
    rules: readonly string[],
    sinceMs: number,
    sites: SiteScope,
    nowMs: number,
  ) => RuleAgents[]
}

/** Events of a rule that are read for its page. */
const MAX_READ = 1_000
const EXAMPLES = 20
const SHOWN = 50
/** Sources that are looked up for a list of rules. */
const LOOKED_UP = 400
const KNOWN_HOURS = 3
const KNOWN_DAYS = 30
const REMEMBERED_MS = 600_000
const MAX_REMEMBERED = 20_000

/** Works on an open database. */
export function createRuleHitTable(
  database: DatabaseSync,
  ledger: Pick<LedgerTable, 'ofSource'>,
): RuleHitTable {
  const events = createEventTable(database)
  const known = new Map<string, { readonly answer: boolean; readonly untilMs: number }>()

  const checkedIn = (address: string, sinceMs: number): boolean => {
    const hours = new Set<number>()
    for (const row of ledger.ofSource(address, sinceMs)) {
      const { class: trafficClass, outcome, phase } = row.shape
      // Who a datagram comes from can be forged: heartbeats over UDP make nobody a known agent.
      if (phase === 'datagram' || outcome !== 'passed' || trafficClass === null) continue
      if (AGENT_CLASSES.includes(trafficClass)) hours.add(row.hourMs)
    }
    return hours.size >= KNOWN_HOURS
  }
  const isKnown = (address: string, nowMs: number): boolean => {
    const remembered = known.get(address)
    if (remembered !== undefined && remembered.untilMs > nowMs) return remembered.answer
    // An agent shows in a day; only strangers cost the look at a month.
    const answer =
      checkedIn(address, nowMs - 24 * HOUR_MS) || checkedIn(address, nowMs - KNOWN_DAYS * 24 * HOUR_MS)
    if (known.size >= MAX_REMEMBERED) known.clear()
    known.set(address, { answer, untilMs: nowMs + REMEMBERED_MS })
    return answer
  }
  const newest = (rule: string, sinceMs: number, sites: SiteScope, limit: number): StoredEvent[] =>
    events.find({ rule, sinceMs, sites, limit })

  return {
    detail: (rule, sinceMs, sites) => {
      const found = newest(rule, sinceMs, sites, MAX_READ)
      const nowMs = found[0]?.timeMs ?? sinceMs
      return {
        examples: found.slice(0, EXAMPLES),
        sources: sourcesOf(found, address => isKnown(address, nowMs)),
        places: placesOf(found, rule),
        read: found.length,
        complete: found.length < MAX_READ,
      }
    },
    agents: (rules, sinceMs, sites, nowMs) => {
      const each = Math.max(3, Math.min(50, Math.floor(LOOKED_UP / Math.max(1, rules.length))))
      return rules.map(rule => {
        const addresses = new Set<string>()
        for (const event of newest(rule, sinceMs, sites, each * 2))
          if (event.address !== null && addresses.size < each) addresses.add(event.address)
        let knownAgents = 0
        for (const address of addresses) if (isKnown(address, nowMs)) knownAgents++
        return { rule, knownAgents, sources: addresses.size }
      })
    },
  }
}

function sourcesOf(found: readonly StoredEvent[], isKnown: (address: string) => boolean): HitSource[] {
  const groups = Map.groupBy(
    found.filter(event => event.address !== null),
    event => event.address ?? '',
  )
  const sources = [...groups]
    .map(([address, group]) => ({
      address,
      site: group[0]?.site ?? null,
      hits: group.length,
      lastMs: group[0]?.timeMs ?? 0,
    }))
    .sort((a, b) => b.hits - a.hits)
    .slice(0, 4 * SHOWN)
    .map(source => ({ ...source, knownAgent: isKnown(source.address) }))
  return sources.sort((a, b) => Number(b.knownAgent) - Number(a.knownAgent)).slice(0, SHOWN)
}

function placesOf(found: readonly StoredEvent[], rule: string): HitPlace[] {
  const groups = Map.groupBy(found, event => {
    const { host, path } = event.fields
    return JSON.stringify([event.site, host, pathShape(wordOf(path)), event.class, fieldOf(event, rule)])
  })
  return [...groups.values()]
    .flatMap(group => {
      const [event] = group
      if (event === undefined) return []
      return [
        {
          site: event.site,
          host: wordOf(event.fields['host']),
          path: pathShape(wordOf(event.fields['path'])),
          class: event.class,
          field: fieldOf(event, rule),
          hits: group.length,
          lastMs: event.timeMs,
        },
      ]
    })
    .sort((a, b) => b.hits - a.hits)
    .slice(0, SHOWN)
}

/** The field in which the rule held, of an event with one hit or several. */
function fieldOf({ fields }: StoredEvent, rule: string): string {
  const { hit, hits } = fields
  const list: readonly unknown[] = Array.isArray(hits) ? hits : [hit]
  for (const entry of list) {
    if (typeof entry !== 'object' || entry === null) continue
    const { ruleId, field } = entry as { readonly ruleId?: unknown; readonly field?: unknown }
    if (ruleId === rule) return wordOf(field)
  }
  return ''
}

function wordOf(value: unknown): string {
  return typeof value === 'string' ? value : ''
}
