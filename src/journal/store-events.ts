// Event rows of the store: insertion in batches and the queries that commands and pages ask.
import type { DatabaseSync, SQLInputValue, SQLOutputValue, StatementSync } from 'node:sqlite'
import type { Cidr } from '../net/cidr.ts'
import { SEVERITIES } from './catalogue.ts'
import type { Severity } from './events.ts'
import { HOUR_MS } from './ledger-facts.ts'
import { addressKey, addressText, rangeKeys } from './store-address.ts'

/** An event on its way into the store. */
export type EventRow = {
  readonly timeMs: number
  readonly name: string
  readonly severity: Severity
  readonly address: string | null
  readonly site: string | null
  readonly class: string | null
  readonly reason: string | null
  readonly reference: string | null
  /** Country of the client, for events that have one. */
  readonly country?: string | null
  /** Ids of the rules that held. */
  readonly rules?: readonly string[]
  /** All fields, redacted, as JSON. */
  readonly fields: string
}

/** An event as it was stored. */
export type StoredEvent = Omit<EventRow, 'fields' | 'country' | 'rules'> & {
  readonly id: number
  readonly fields: Readonly<Record<string, unknown>>
}

/** What to look for; every given part must hold. Newest first. */
export type EventQuery = {
  readonly sinceMs?: number
  /** Not included. */
  readonly untilMs?: number
  readonly name?: string
  readonly minimumSeverity?: Severity
  readonly site?: string
  /** Sites that whoever asks may see; null or absent: all of them, and what belongs to none. */
  readonly sites?: readonly string[] | null
  /** ISO code, or what stands for it. */
  readonly country?: string
  /** Id of a rule that held. */
  readonly rule?: string
  readonly class?: string
  readonly reason?: string
  readonly range?: Cidr
  /** At most 1,000. */
  readonly limit: number
}

/** What a search has found. */
export type EventSearch = {
  /** Newest first. */
  readonly events: readonly StoredEvent[]
  /** Events before this time were not looked at; null: all were that the question is about, or there are enough. */
  readonly olderMs: number | null
}

/** How often something was refused or reported. */
export type ReasonCount = { readonly name: string; readonly reason: string | null; readonly count: number }

/** Event queries and insertion. */
export type EventTable = {
  readonly insert: (rows: readonly EventRow[]) => void
  readonly byReference: (reference: string) => StoredEvent[]
  readonly find: (query: EventQuery) => StoredEvent[]
  /**
   * The same for people who wait: when no index leads to what is asked, so many of the newest events are looked through, and
   * the rest is for the next question.
   */
  readonly search: (query: EventQuery, atMost?: number) => EventSearch
  /** Counts since the start of the hour that holds `sinceMs`, most frequent first. */
  readonly countsByReason: (sinceMs: number) => ReasonCount[]
}

const COLUMNS = 'id, time, name, severity, address, site, class, reason, reference, fields'
/** With more matches than this, walking back in time finds them sooner than sorting them. */
const SORTED_MATCHES = 5_000

/** Works on the event tables of an open database. */
export function createEventTable(database: DatabaseSync): EventTable {
  const statements = new Map<string, StatementSync>()
  const prepare = (sql: string): StatementSync => {
    let statement = statements.get(sql)
    if (statement === undefined) statements.set(sql, (statement = database.prepare(sql)))
    return statement
  }
  return {
    insert: rows => {
      const insert = prepare(
        'INSERT INTO event (time, name, severity, address, site, class, reason, reference, country, fields) VALUES (?,?,?,?,?,?,?,?,?,?)',
      )
      const insertRule = prepare('INSERT OR IGNORE INTO rule_event VALUES (?,?)')
      const counts = new Map<string, { hour: number; name: string; reason: string; count: number }>()
      for (const row of rows) {
        const { lastInsertRowid } = insert.run(
          row.timeMs,
          row.name,
          SEVERITIES.indexOf(row.severity),
          row.address === null ? null : addressKey(row.address),
          row.site,
          row.class,
          row.reason,
          row.reference,
          row.country ?? null,
          row.fields,
        )
        if (row.rules !== undefined) for (const rule of row.rules) insertRule.run(lastInsertRowid, rule)
        const hour = Math.floor(row.timeMs / HOUR_MS)
        const reason = row.reason ?? ''
        const key = `${hour} ${row.name} ${reason}`
        const count = counts.get(key)
        if (count === undefined) counts.set(key, { hour, name: row.name, reason, count: 1 })
        else count.count++
      }
      const count = prepare(
        'INSERT INTO event_count VALUES (?,?,?,?) ON CONFLICT DO UPDATE SET count = count + excluded.count',
      )
      for (const entry of counts.values()) count.run(entry.hour, entry.name, entry.reason, entry.count)
    },
    byReference: reference =>
      prepare(`SELECT ${COLUMNS} FROM event WHERE reference = ? ORDER BY id LIMIT 50`)
        .all(reference)
        .map(storedEvent),
    find: query => findInScope(prepare, query),
    search: (query, atMost = MAX_SEARCHED) => {
      const bound = searchBound(prepare, query, atMost)
      if (bound === null || bound <= (query.sinceMs ?? -Infinity))
        return { events: findInScope(prepare, query), olderMs: null }
      const events = findInScope(prepare, { ...query, sinceMs: bound })
      return { events, olderMs: events.length < limitOf(query) ? bound : null }
    },
    countsByReason: sinceMs =>
      prepare(
        'SELECT name, reason, sum(count) AS count FROM event_count WHERE hour >= ? GROUP BY name, reason ORDER BY 3 DESC, 1, 2 LIMIT 500',
      )
        .all(Math.floor(sinceMs / HOUR_MS))
        .map(row => ({
          name: String(row['name']),
          reason: row['reason'] === '' ? null : String(row['reason']),
          count: Number(row['count']),
        })),
  }
}

/** Events that a search looks through at most when it cannot go straight to what it looks for. */
const MAX_SEARCHED = 200_000

/** The time back to which a search looks; null: an index leads to what it looks for, or there is nothing older. */
function searchBound(
  prepare: (sql: string) => StatementSync,
  query: EventQuery,
  atMost: number,
): number | null {
  const { range, untilMs, minimumSeverity } = query
  if (query.site !== undefined || (query.sites ?? null) !== null || minimumSeverity === 'error') return null
  if (range !== undefined && (isSingle(range) || isFew(prepare, range))) return null
  const parts = [query.name, query.reason, query.class, query.country, query.rule].filter(
    part => part !== undefined,
  ).length
  // Each of them alone has an index in the order of time.
  if (range === undefined && parts < 2) return null
  const until = untilMs === undefined ? '' : 'WHERE time < ?'
  const values = untilMs === undefined ? [] : [Math.ceil(untilMs)]
  const row = prepare(`SELECT time FROM event ${until} ORDER BY time DESC LIMIT 1 OFFSET ?`).get(
    ...values,
    atMost,
  )
  return row === undefined ? null : Number(row['time'])
}

function isSingle({ prefix, address }: Cidr): boolean {
  return prefix === (address.family === 4 ? 32 : 128)
}

/** Whether so few events are from a range that its index finds them soonest. */
function isFew(prepare: (sql: string) => StatementSync, range: Cidr): boolean {
  const few = prepare(
    `SELECT count(*) AS n FROM (SELECT 1 FROM event WHERE address BETWEEN ? AND ? LIMIT ${SORTED_MATCHES})`,
  ).get(...rangeKeys(range))
  return Number(few?.['n']) < SORTED_MATCHES
}

/** Asks site by site when the answer is limited to some: each answer comes from one index, newest first. */
function findInScope(prepare: (sql: string) => StatementSync, query: EventQuery): StoredEvent[] {
  const { sites, ...rest } = query
  if (sites === undefined || sites === null) return find(prepare, rest)
  const wanted = rest.site === undefined ? new Set(sites) : new Set(sites.filter(site => site === rest.site))
  const limit = limitOf(query)
  // Rows are read only when it is clear which are the newest: of many sites, few rows of each are among them.
  const found = [...wanted].flatMap(site => select(prepare, 'id, time', { ...rest, site }))
  found.sort((a, b) => Number(b['time']) - Number(a['time']) || Number(b['id']) - Number(a['id']))
  const row = prepare(`SELECT ${COLUMNS} FROM event WHERE id = ?`)
  return found.slice(0, limit).flatMap(({ id }) => {
    const full = id === undefined ? undefined : row.get(id)
    return full === undefined ? [] : [storedEvent(full)]
  })
}

function limitOf({ limit }: EventQuery): number {
  return Math.max(1, Math.min(1_000, Math.floor(limit)))
}

function find(prepare: (sql: string) => StatementSync, query: EventQuery): StoredEvent[] {
  return select(prepare, COLUMNS, query).map(storedEvent)
}

/** Ids may stand so far away from the order of their times. */
const SLACK_IDS = 5_000

function select(
  prepare: (sql: string) => StatementSync,
  columns: string,
  query: EventQuery,
): Record<string, SQLOutputValue>[] {
  const conditions: string[] = []
  const values: SQLInputValue[] = []
  const add = (condition: string, ...given: SQLInputValue[]): void => {
    conditions.push(condition)
    values.push(...given)
  }
  let index = ''
  if (query.range !== undefined) {
    const keys = rangeKeys(query.range)
    const single = isSingle(query.range)
    const selective = single || isFew(prepare, query.range)
    index = selective ? ' INDEXED BY event_address' : ' INDEXED BY event_time'
    if (single) add('address = ?', keys[0])
    else add('address BETWEEN ? AND ?', ...keys)
  }
  if (query.sinceMs !== undefined) add('time >= ?', Math.floor(query.sinceMs))
  if (query.untilMs !== undefined) add('time < ?', Math.ceil(query.untilMs))
  // Errors are fewer than anything else: the plus keeps SQLite from walking another index instead of theirs.
  const plain = query.minimumSeverity === 'error' ? '+' : ''
  if (query.name !== undefined) add(`${plain}name = ?`, query.name)
  if (query.minimumSeverity !== undefined) {
    const rank = SEVERITIES.indexOf(query.minimumSeverity)
    // The literal lets SQLite use the partial index of loud events.
    add(`severity >= ${rank}`)
  }
  if (query.site !== undefined) {
    add('site = ?', query.site)
    // Of all that can be asked for beside single addresses, a site leaves the fewest events to look through.
    if (index !== ' INDEXED BY event_address') index = ' INDEXED BY event_site'
  }
  if (query.country !== undefined) {
    add('country = ?', query.country)
  }
  let from = 'event'
  let order = 'time DESC, id DESC'
  if (query.rule !== undefined && query.site !== undefined) {
    // A site has fewer events than a rule has hits.
    index = ' INDEXED BY event_site'
    add(
      'EXISTS (SELECT 1 FROM rule_event WHERE rule_event.event = event.id AND rule_event.rule = ?)',
      query.rule,
    )
  } else if (query.rule !== undefined) {
    // Ids rise with time: the newest events of a rule are at one end of its index.
    from = 'rule_event CROSS JOIN event ON event.id = rule_event.event'
    index = ''
    order = 'rule_event.event DESC'
    add('rule = ?', query.rule)
    if (query.sinceMs !== undefined) {
      const first = prepare('SELECT id FROM event WHERE time >= ? ORDER BY time LIMIT 1').get(query.sinceMs)
      add('rule_event.event >= ?', Number(first?.['id'] ?? 0) - SLACK_IDS)
    }
  }
  if (query.class !== undefined) add(`${plain}class = ?`, query.class)
  if (query.reason !== undefined) add(`${plain}reason = ?`, query.reason)
  const where = conditions.length === 0 ? '' : ` WHERE ${conditions.join(' AND ')}`
  return prepare(`SELECT ${columns} FROM ${from}${index}${where} ORDER BY ${order} LIMIT ?`).all(
    ...values,
    limitOf(query),
  )
}

function storedEvent(row: Record<string, SQLOutputValue>): StoredEvent {
  const address = row['address']
  return {
    id: Number(row['id']),
    timeMs: Number(row['time']),
    name: String(row['name']),
    severity: SEVERITIES[Number(row['severity'])] ?? 'info',
    address: address instanceof Uint8Array ? addressText(address) : null,
    site: text(row['site']),
    class: text(row['class']),
    reason: text(row['reason']),
    reference: text(row['reference']),
    fields: parseFields(row['fields']),
  }
}

function parseFields(value: SQLOutputValue | undefined): Record<string, unknown> {
  try {
    const parsed: unknown = JSON.parse(String(value))
    return typeof parsed === 'object' && parsed !== null && !Array.isArray(parsed) ? { ...parsed } : {}
  } catch {
    return {}
  }
}

function text(value: SQLOutputValue | undefined): string | null {
  return typeof value === 'string' ? value : null
}
