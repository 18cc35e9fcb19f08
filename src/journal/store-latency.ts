// Histograms of latency in the store: one short row per hour, class and part, added to and read as sums.
import type { DatabaseSync } from 'node:sqlite'
import { CLASSES, type TrafficClass } from '../policy/classes.ts'
import { BUCKETS, type LatencyPart, type LatencySum } from './latency.ts'
import { HOUR_MS } from './ledger-facts.ts'

/** A histogram over a span. */
export type LatencyCount = Omit<LatencySum, 'hour'>

/** Latency rows. */
export type LatencyTable = {
  /** Adds counts; the caller holds the transaction. */
  readonly add: (sums: readonly LatencySum[]) => void
  /** Histograms since a time, by class and part. */
  readonly since: (sinceMs: number) => readonly LatencyCount[]
  /** Removes everything before a day (number since the epoch). */
  readonly trim: (beforeDay: number) => void
}

const PARTS: readonly LatencyPart[] = ['gate', 'server', 'total']

/** Works on an open database. */
export function createLatencyTable(database: DatabaseSync): LatencyTable {
  return {
    add: sums => {
      const read = database.prepare('SELECT buckets FROM latency WHERE hour = ? AND class = ? AND part = ?')
      const write = database.prepare(
        'INSERT INTO latency VALUES (?,?,?,?) ON CONFLICT DO UPDATE SET buckets = excluded.buckets',
      )
      for (const { hour, class: trafficClass, part, buckets } of sums) {
        const before = countsOf(read.get(hour, trafficClass, part)?.['buckets'])
        const text = pairsText(buckets.map((count, index) => count + (before[index] ?? 0)))
        write.run(hour, trafficClass, part, text)
      }
    },
    since: sinceMs => {
      // A journal that an older version wrote has no such table until a gate opens it.
      const table = database.prepare("SELECT 1 FROM sqlite_master WHERE name = 'latency'").get()
      if (table === undefined) return []
      const found = new Map<string, { class: TrafficClass; part: LatencyPart; buckets: number[] }>()
      const rows = database
        .prepare('SELECT class, part, buckets FROM latency WHERE hour >= ?')
        .iterate(Math.floor(sinceMs / HOUR_MS))
      for (const row of rows) {
        const trafficClass = CLASSES.find(entry => entry === row['class'])
        const part = PARTS.find(entry => entry === row['part'])
        if (trafficClass === undefined || part === undefined) continue
        const key = `${trafficClass} ${part}`
        let sum = found.get(key)
        if (sum === undefined)
          found.set(key, (sum = { class: trafficClass, part, buckets: Array<number>(BUCKETS).fill(0) }))
        for (const [index, count] of countsOf(row['buckets']).entries())
          sum.buckets[index] = (sum.buckets[index] ?? 0) + count
      }
      return [...found.values()]
    },
    trim: beforeDay => {
      database.prepare('DELETE FROM latency WHERE hour < ?').run(beforeDay * 24)
    },
  }
}

/** `bucket:count` pairs: most buckets are empty. */
function pairsText(buckets: readonly number[]): string {
  return buckets.flatMap((count, index) => (count > 0 ? [`${index}:${count}`] : [])).join(' ')
}

function countsOf(text: unknown): readonly number[] {
  const counts = Array<number>(BUCKETS).fill(0)
  if (typeof text !== 'string') return counts
  for (const pair of text.split(' ')) {
    const [index = Number.NaN, count = Number.NaN] = pair.split(':').map(Number)
    if (Number.isInteger(index) && index >= 0 && index < BUCKETS && count > 0) counts[index] = count
  }
  return counts
}
