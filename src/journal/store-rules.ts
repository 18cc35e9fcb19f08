// What rules in detect mode would have refused, from stored detections and the ledger; and since when each rule is watched.
import type { DatabaseSync } from 'node:sqlite'
import { AGENT_CLASSES } from '../policy/classes.ts'
import { addressText } from './store-address.ts'
import type { LedgerTable } from './store-ledger.ts'

/** A rule that is watched before it enforces. */
export type RuleWatch = {
  readonly ruleId: string
  /** Of the rule's content: a changed rule is a new rule. */
  readonly digest: string
  readonly sinceMs: number
  /** When it began to enforce by itself; null: not yet. */
  readonly promotedMs: number | null
}

/** A source that a rule would have refused. */
export type RefusedSource = {
  readonly address: string
  readonly site: string | null
  readonly hits: number
  readonly lastMs: number
  /** It has checked in as an agent in several hours of the last 30 days. */
  readonly knownAgent: boolean
}

/** What a rule would have refused if it had enforced. */
export type RuleEffect = {
  readonly ruleId: string
  readonly hits: number
  /** Most hits first, known agents before others; at most 100. */
  readonly sources: readonly RefusedSource[]
  readonly sourceCount: number
  readonly knownAgents: number
  /** There were more detections than are read at once: the numbers are too small. */
  readonly incomplete: boolean
}

/** The table of watched rules, and questions about detections. */
export type RuleTable = {
  /** Starts watching what is not watched yet or has changed; forgets the rest. Returns all that are watched. */
  readonly watch: (
    rules: readonly { readonly ruleId: string; readonly digest: string }[],
    nowMs: number,
  ) => RuleWatch[]
  readonly promote: (ruleId: string, nowMs: number) => void
  /** Rules that enforce by themselves. */
  readonly promoted: () => ReadonlySet<string>
  /** What rules would have refused since then; null: every rule that has detections. */
  readonly effects: (ruleIds: readonly string[] | null, sinceMs: number) => RuleEffect[]
}

const MAX_DETECTIONS = 200_000
const MAX_SOURCES_PER_RULE = 2_000
const SHOWN_SOURCES = 100
const KNOWN_WITHIN_MS = 30 * 86_400_000
/** One check-in could be the attack itself, which a rule in detect mode lets pass. */
const KNOWN_HOURS = 3

/** Works on an open database. */
export function createRuleTable(database: DatabaseSync, ledger: Pick<LedgerTable, 'ofSource'>): RuleTable {
  const isKnown = (address: string, aroundMs: number): boolean => {
    const hours = new Set<number>()
    for (const row of ledger.ofSource(address, aroundMs - KNOWN_WITHIN_MS)) {
      const { class: trafficClass, outcome, phase } = row.shape
      // Who a datagram comes from can be forged: heartbeats over UDP make nobody a known agent.
      if (phase === 'datagram') continue
      if (outcome === 'passed' && trafficClass !== null && AGENT_CLASSES.includes(trafficClass))
        hours.add(row.hourMs)
    }
    return hours.size >= KNOWN_HOURS
  }
  return {
    watch: (rules, nowMs) => {
      const insert = database.prepare(
        `INSERT INTO rule_watch (rule, digest, since, promoted) VALUES (?,?,?,NULL)
         ON CONFLICT DO UPDATE SET digest = excluded.digest, since = excluded.since, promoted = NULL
         WHERE digest <> excluded.digest`,
      )
      for (const { ruleId, digest } of rules) insert.run(ruleId, digest, nowMs)
      const wanted = new Set(rules.map(({ ruleId }) => ruleId))
      const watched = database.prepare('SELECT * FROM rule_watch').all()
      const gone = watched.filter(row => !wanted.has(String(row['rule'])))
      const remove = database.prepare('DELETE FROM rule_watch WHERE rule = ?')
      for (const row of gone) remove.run(String(row['rule']))
      return watched
        .filter(row => !gone.includes(row))
        .map(row => ({
          ruleId: String(row['rule']),
          digest: String(row['digest']),
          sinceMs: Number(row['since']),
          promotedMs: row['promoted'] === null ? null : Number(row['promoted']),
        }))
    },
    promote: (ruleId, nowMs) => {
      database.prepare('UPDATE rule_watch SET promoted = ? WHERE rule = ?').run(nowMs, ruleId)
    },
    promoted: () => {
      // A journal that an older version wrote has no such table until a gate opens it.
      const table = database.prepare("SELECT 1 FROM sqlite_master WHERE name = 'rule_watch'").get()
      if (table === undefined) return new Set()
      const rows = database.prepare('SELECT rule FROM rule_watch WHERE promoted IS NOT NULL').all()
      return new Set(rows.map(row => String(row['rule'])))
    },
    effects: (ruleIds, sinceMs) => {
      const found = new Map<string, Gathered>()
      let read = 0
      const rows = database
        .prepare(
          `SELECT time, address, site, fields ->> '$.hit.ruleId' AS rule FROM event
           WHERE name = 'rule.detected' AND time >= ? AND fields ->> '$.hit.exception' IS NULL
           ORDER BY time DESC LIMIT ?`,
        )
        .iterate(Math.floor(sinceMs), MAX_DETECTIONS)
      for (const row of rows) {
        read++
        const ruleId = String(row['rule'])
        if (ruleIds !== null && !ruleIds.includes(ruleId)) continue
        const { address } = row
        if (!(address instanceof Uint8Array)) continue
        const text = addressText(address)
        if (text !== null) gather(found, ruleId, text, row['site'], Number(row['time']))
      }
      const asked = ruleIds ?? [...found.keys()]
      return asked.map(ruleId => effectOf(ruleId, found.get(ruleId), isKnown, read === MAX_DETECTIONS))
    },
  }
}

type Seen = { site: string | null; hits: number; lastMs: number }
type Gathered = { hits: number; overflow: boolean; readonly sources: Map<string, Seen> }

function gather(
  found: Map<string, Gathered>,
  ruleId: string,
  address: string,
  site: unknown,
  timeMs: number,
): void {
  let rule = found.get(ruleId)
  if (rule === undefined) found.set(ruleId, (rule = { hits: 0, overflow: false, sources: new Map() }))
  rule.hits++
  const source = rule.sources.get(address)
  if (source !== undefined) source.hits++
  else if (rule.sources.size < MAX_SOURCES_PER_RULE) {
    // Newest first: the first row of a source is its last hit.
    rule.sources.set(address, { site: typeof site === 'string' ? site : null, hits: 1, lastMs: timeMs })
  } else rule.overflow = true
}

function effectOf(
  ruleId: string,
  rule: Gathered | undefined,
  isKnown: (address: string, aroundMs: number) => boolean,
  cut: boolean,
): RuleEffect {
  const sources = [...(rule?.sources ?? [])].map(([address, { site, hits, lastMs }]) => ({
    address,
    site,
    hits,
    lastMs,
    knownAgent: isKnown(address, lastMs),
  }))
  sources.sort((a, b) => Number(b.knownAgent) - Number(a.knownAgent) || b.hits - a.hits)
  return {
    ruleId,
    hits: rule?.hits ?? 0,
    sources: sources.slice(0, SHOWN_SOURCES),
    sourceCount: sources.length,
    knownAgents: sources.filter(source => source.knownAgent).length,
    incomplete: cut || (rule?.overflow ?? false),
  }
}
