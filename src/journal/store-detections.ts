// What rules that only detect would have refused, per rule, site and class, and whom only a trial lets pass: read for reports and pages.
import type { DatabaseSync } from 'node:sqlite'
import { AGENT_CLASSES, CLASSES, type TrafficClass } from '../policy/classes.ts'
import { addressText } from './store-address.ts'

/** Detections of one rule for one site and class. */
export type DetectionCount = {
  readonly rule: string
  readonly site: string | null
  readonly class: TrafficClass | null
  readonly hits: number
  readonly lastMs: number
  /** At most 2,000. */
  readonly addresses: readonly string[]
}

/** A rule that enforces by itself after a time of watching. */
export type WatchedRule = {
  readonly rule: string
  readonly sinceMs: number
  /** Null: it still watches. */
  readonly promotedMs: number | null
}

/** Detections of a span. `complete` is false when there were more than are read. */
export type Detections = {
  readonly counts: readonly DetectionCount[]
  readonly complete: boolean
}

/** How many pass only because of a trial. */
export type TriedCount = {
  readonly addresses: number
  /** Addresses with requests of agents. */
  readonly agents: number
  /** Recorded sites of those agents. */
  readonly sites: number
}

/** Reads detections. */
export type DetectionTable = {
  readonly tried: (sinceMs: number) => TriedCount
  readonly since: (sinceMs: number) => Detections
  readonly watched: () => readonly WatchedRule[]
}

const MAX_GROUPS = 100_000
const MAX_ADDRESSES = 2_000
const AGENTS = AGENT_CLASSES.map(name => `'${name}'`).join(', ')

/** Works on an open database. */
export function createDetectionTable(database: DatabaseSync): DetectionTable {
  return {
    since: sinceMs => {
      const found = new Map<
        string,
        Omit<DetectionCount, 'addresses'> & { hits: number; lastMs: number; addresses: string[] }
      >()
      let read = 0
      const rows = database
        .prepare(
          `SELECT fields ->> '$.hit.ruleId' AS rule, site, class, address, count(*) AS hits, max(time) AS last FROM event
           WHERE name = 'rule.detected' AND time >= ? AND json_valid(fields) AND fields ->> '$.hit.exception' IS NULL
           GROUP BY 1, 2, 3, 4 LIMIT ${MAX_GROUPS}`,
        )
        .iterate(Math.floor(sinceMs))
      for (const row of rows) {
        read++
        const { rule, site, class: trafficClass } = row
        const key = JSON.stringify([rule, site, trafficClass])
        let entry = found.get(key)
        if (entry === undefined) {
          entry = {
            rule: String(rule),
            site: typeof site === 'string' ? site : null,
            class: CLASSES.find(name => name === trafficClass) ?? null,
            hits: 0,
            lastMs: 0,
            addresses: [],
          }
          found.set(key, entry)
        }
        entry.hits += Number(row['hits'])
        entry.lastMs = Math.max(entry.lastMs, Number(row['last']))
        const address = row['address'] instanceof Uint8Array ? addressText(row['address']) : null
        if (address !== null && entry.addresses.length < MAX_ADDRESSES) entry.addresses.push(address)
      }
      return {
        counts: [...found.values()].sort((a, b) => b.hits - a.hits),
        complete: read < MAX_GROUPS,
      }
    },
    tried: sinceMs => {
      const row = database
        .prepare(
          `SELECT count(DISTINCT address) AS addresses, count(DISTINCT CASE WHEN class IN (${AGENTS}) THEN address END) AS agents,
             count(DISTINCT CASE WHEN class IN (${AGENTS}) THEN site END) AS sites
           FROM event INDEXED BY event_name WHERE name = 'trial.admitted' AND time >= ?`,
        )
        .get(Math.floor(sinceMs))
      return {
        addresses: Number(row?.['addresses'] ?? 0),
        agents: Number(row?.['agents'] ?? 0),
        sites: Number(row?.['sites'] ?? 0),
      }
    },
    watched: () => {
      const table = database.prepare("SELECT 1 FROM sqlite_master WHERE name = 'rule_watch'").get()
      if (table === undefined) return []
      return database
        .prepare('SELECT rule, since, promoted FROM rule_watch ORDER BY rule LIMIT 10000')
        .all()
        .map(row => ({
          rule: String(row['rule']),
          sinceMs: Number(row['since']),
          promotedMs: row['promoted'] === null ? null : Number(row['promoted']),
        }))
    },
  }
}
