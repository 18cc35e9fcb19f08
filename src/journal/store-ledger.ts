// Ledger rows of the store: additions to the open hours, packing of finished days, and the way to read both as one.
import type { DatabaseSync, SQLOutputValue, StatementSync } from 'node:sqlite'
import type { Cidr } from '../net/cidr.ts'
import {
  CELL_WIDTH,
  HOUR_MS,
  OVERFLOW_SOURCE,
  type LedgerBatch,
  type LedgerRow,
  type LedgerShape,
  type LedgerSum,
} from './ledger-facts.ts'
import { packDay, unpackDay, unpackShapes, type PackedEntry } from './ledger-pack.ts'
import { addressKey, addressText, rangeKeys } from './store-address.ts'

const DAY_HOURS = 24
const DAY_MS = HOUR_MS * DAY_HOURS
/** Dictionary entries that are remembered; beyond it the memory starts anew. */
const MAX_REMEMBERED = 100_000

/** Ledger access. */
export type LedgerTable = {
  /** Adds a batch; the caller holds the transaction. */
  readonly add: (batch: LedgerBatch) => void
  /** Rows of one source since a time, oldest first. */
  readonly ofSource: (address: string, sinceMs: number) => LedgerRow[]
  /** Rows of every source in a range since a time, source by source; at most `maxSources` sources. */
  readonly ofRange: (range: Cidr, sinceMs: number, maxSources: number) => LedgerRow[]
  /** Every row since a time, day by day and source by source: what a replay reads. */
  readonly all: (sinceMs: number) => Generator<LedgerRow>
  /** The same with the hours of a day added up where the day is packed: for a replay that does not ask for the time of day. */
  readonly sums: (sinceMs: number) => Generator<LedgerSum>
  /** Packs up to `maxSources` finished source-days; the caller holds the transaction. Returns how many it packed. */
  readonly pack: (nowMs: number, maxSources: number) => number
  /** To be called after dictionary rows were removed. */
  readonly forget: () => void
}

type Remembered = { readonly id: number; day: number }

/** Works on the ledger tables of an open database. */
export function createLedgerTable(database: DatabaseSync): LedgerTable {
  const statements = new Map<string, StatementSync>()
  const prepare = (sql: string): StatementSync => {
    let statement = statements.get(sql)
    if (statement === undefined) statements.set(sql, (statement = database.prepare(sql)))
    return statement
  }
  const sources = new Map<string, Remembered>()
  const shapes = new Map<string, Remembered>()
  const shapesById = new Map<number, LedgerShape>()

  const idOf = (table: 'source' | 'shape', text: string, day: number): number => {
    const memory = table === 'source' ? sources : shapes
    const known = memory.get(text)
    if (known !== undefined && known.day >= day) return known.id
    const column = table === 'source' ? 'address' : 'facts'
    const value = table === 'source' ? (addressKey(text) ?? new Uint8Array(0)) : text
    const row = prepare(
      `INSERT INTO ${table} (${column}, last_day) VALUES (?, ?)
       ON CONFLICT DO UPDATE SET last_day = max(last_day, excluded.last_day) RETURNING id`,
    ).get(value, day)
    const id = Number(row?.['id'])
    if (memory.size >= MAX_REMEMBERED) memory.clear()
    memory.set(text, { id, day })
    return id
  }

  const shapeOf = (id: number): LedgerShape | undefined => {
    const known = shapesById.get(id)
    if (known !== undefined) return known
    const row = prepare('SELECT facts FROM shape WHERE id = ?').get(id)
    const shape = row === undefined ? undefined : parseShape(String(row['facts']))
    if (shape === undefined) return undefined
    if (shapesById.size >= MAX_REMEMBERED) shapesById.clear()
    shapesById.set(id, shape)
    return shape
  }

  const rowsOf = (source: string | null, day: number, entries: readonly PackedEntry[], sinceMs: number) => {
    const rows: LedgerRow[] = []
    for (const entry of entries) {
      const hourMs = day * DAY_MS + entry.hour * HOUR_MS
      const shape = shapeOf(entry.shape)
      if (shape === undefined || hourMs + HOUR_MS <= sinceMs) continue
      rows.push({
        source,
        hourMs,
        shape,
        count: entry.count,
        bytesIn: entry.bytesIn,
        bytesOut: entry.bytesOut,
        firstMs: hourMs + entry.first * 1_000,
        lastMs: hourMs + entry.last * 1_000,
      })
    }
    return rows.sort((a, b) => a.hourMs - b.hourMs)
  }

  const rowsOfSource = (id: number, source: string | null, sinceMs: number): LedgerRow[] => {
    const firstDay = Math.floor(sinceMs / DAY_MS)
    const days = prepare(
      `SELECT DISTINCT day FROM (
         SELECT day FROM ledger_day WHERE source = ?1 AND day IN (SELECT value FROM json_each(?2))
         UNION ALL SELECT day FROM ledger_open WHERE source = ?1 AND day IN (SELECT value FROM json_each(?2))) ORDER BY day`,
    ).all(id, JSON.stringify(knownDays(prepare, firstDay)))
    return days.flatMap(row => {
      const day = Number(row['day'])
      return rowsOf(source, day, entriesOf(prepare, day, id), sinceMs)
    })
  }

  return {
    add: batch => {
      const upsert = prepare(
        `INSERT INTO ledger_open VALUES (?,?,?,?,?,?,?,?,?) ON CONFLICT DO UPDATE SET
         count = count + excluded.count, bytes_in = bytes_in + excluded.bytes_in, bytes_out = bytes_out + excluded.bytes_out,
         first = min(first, excluded.first), last = max(last, excluded.last)`,
      )
      const facts = batch.shapes.map(shape => JSON.stringify(shape))
      const { cells } = batch
      for (let at = 0; at + CELL_WIDTH <= cells.length; at += CELL_WIDTH) {
        const [source = 0, shape = 0, hour = 0, count = 0, bytesIn = 0, bytesOut = 0, first = 0, last = 0] =
          cells.subarray(at, at + CELL_WIDTH)
        const day = Math.floor(hour / DAY_HOURS)
        upsert.run(
          day,
          idOf('source', batch.sources[source] ?? OVERFLOW_SOURCE, day),
          idOf('shape', facts[shape] ?? '{}', day),
          hour - day * DAY_HOURS,
          count,
          bytesIn,
          bytesOut,
          first,
          last,
        )
      }
    },
    ofSource: (address, sinceMs) => {
      const key = addressKey(address)
      if (key === null) return []
      const row = prepare('SELECT id FROM source WHERE address = ?').get(key)
      return row === undefined ? [] : rowsOfSource(Number(row['id']), address, sinceMs)
    },
    ofRange: (range, sinceMs, maxSources) =>
      prepare('SELECT id, address FROM source WHERE address BETWEEN ? AND ? AND last_day >= ? LIMIT ?')
        .all(...rangeKeys(range), Math.floor(sinceMs / DAY_MS), maxSources)
        .flatMap(row => rowsOfSource(Number(row['id']), sourceText(row['address']), sinceMs)),
    *all(sinceMs) {
      for (const day of knownDays(prepare, Math.floor(sinceMs / DAY_MS))) {
        // Own statements: several replays may read at once, and each keeps its cursor.
        const walk = database.prepare(
          `SELECT source, address FROM (SELECT source FROM ledger_day WHERE day = ?1 UNION SELECT source FROM ledger_open WHERE day = ?1)
           JOIN source ON source.id = source`,
        )
        for (const row of walk.iterate(day)) {
          yield* rowsOf(
            sourceText(row['address']),
            day,
            entriesOf(prepare, day, Number(row['source'])),
            sinceMs,
          )
        }
      }
    },
    *sums(sinceMs) {
      for (const day of knownDays(prepare, Math.floor(sinceMs / DAY_MS))) {
        const dayMs = day * DAY_MS
        const isWhole = dayMs >= sinceMs
        const open = new Set<number>()
        for (const row of prepare('SELECT DISTINCT source FROM ledger_open WHERE day = ?').iterate(day))
          open.add(Number(row['source']))
        const walk = database.prepare(
          'SELECT source, address, entries FROM ledger_day JOIN source ON source.id = source WHERE day = ?',
        )
        for (const row of walk.iterate(day)) {
          const id = Number(row['source'])
          const source = sourceText(row['address'])
          if (!isWhole || open.has(id) || !(row['entries'] instanceof Uint8Array)) {
            open.add(id)
            continue
          }
          for (const { shape: shapeId, hours, count, last } of unpackShapes(row['entries'])) {
            const shape = shapeOf(shapeId)
            if (shape !== undefined) yield { source, shape, hours, count, lastMs: dayMs + last * 1_000 }
          }
        }
        // Days that are not packed yet, or that the question cuts in two, are read hour by hour.
        for (const id of open) {
          const row = prepare('SELECT address FROM source WHERE id = ?').get(id)
          for (const hour of rowsOf(sourceText(row?.['address']), day, entriesOf(prepare, day, id), sinceMs))
            yield { ...hour, hours: 1 }
        }
      }
    },
    pack: (nowMs, maxSources) => {
      // One hour of grace: the last batch of a day may still be on its way.
      const today = Math.floor((nowMs - HOUR_MS) / DAY_MS)
      const groups = prepare(
        'SELECT DISTINCT day, source FROM ledger_open WHERE day < ? ORDER BY day, source LIMIT ?',
      ).all(today, maxSources)
      const write = prepare(
        'INSERT INTO ledger_day VALUES (?,?,?) ON CONFLICT DO UPDATE SET entries = excluded.entries',
      )
      const remove = prepare('DELETE FROM ledger_open WHERE day = ? AND source = ?')
      for (const group of groups) {
        const day = Number(group['day'])
        const source = Number(group['source'])
        write.run(day, source, packDay(entriesOf(prepare, day, source)))
        remove.run(day, source)
      }
      return groups.length
    },
    forget: () => {
      sources.clear()
      shapes.clear()
      shapesById.clear()
    },
  }
}

function entriesOf(prepare: (sql: string) => StatementSync, day: number, source: number): PackedEntry[] {
  const packed = prepare('SELECT entries FROM ledger_day WHERE day = ? AND source = ?').get(day, source)
  const entries = packed?.['entries'] instanceof Uint8Array ? unpackDay(packed['entries']) : []
  const open = prepare('SELECT * FROM ledger_open WHERE day = ? AND source = ?').all(day, source)
  return open.length === 0 ? entries : [...entries, ...open.map(openEntry)]
}

function openEntry(row: Record<string, SQLOutputValue>): PackedEntry {
  return {
    shape: Number(row['shape']),
    hour: Number(row['hour']),
    count: Number(row['count']),
    bytesIn: Number(row['bytes_in']),
    bytesOut: Number(row['bytes_out']),
    first: Number(row['first']),
    last: Number(row['last']),
  }
}

/** Days that have rows, by skipping from one to the next in the index. */
function knownDays(prepare: (sql: string) => StatementSync, firstDay: number): number[] {
  const days = new Set<number>()
  for (const table of ['ledger_day', 'ledger_open']) {
    const next = prepare(`SELECT min(day) AS day FROM ${table} WHERE day >= ?`)
    for (let from = firstDay; ;) {
      const day = next.get(from)?.['day']
      if (typeof day !== 'number') break
      days.add(day)
      from = day + 1
    }
  }
  return [...days].sort((a, b) => a - b)
}

function sourceText(key: SQLOutputValue | undefined): string | null {
  return key instanceof Uint8Array && key.length > 0 ? addressText(key) : null
}

function parseShape(text: string): LedgerShape | undefined {
  try {
    const shape = JSON.parse(text) as LedgerShape
    return typeof shape.phase === 'string' ? shape : undefined
  } catch {
    return undefined
  }
}
