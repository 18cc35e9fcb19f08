// Hourly sums of the store: additions, and the questions of pages about countries, sites and trends.
import type { DatabaseSync, SQLInputValue, SQLOutputValue, StatementSync } from 'node:sqlite'
import { HOUR_MS } from './ledger-facts.ts'
import type { RuleSum, TallyBatch } from './traffic-facts.ts'

/** Sites that a question is about; null: all of them, and what belongs to no site. */
export type SiteScope = readonly string[] | null

/** Sums of a span. */
export type TrafficCount = {
  readonly admitted: number
  readonly failed: number
  readonly refused: number
}

/** What came from a country. */
export type CountryTraffic = TrafficCount & { readonly country: string }

/** What came from a site; null: from addresses that belong to none. */
export type SiteTraffic = TrafficCount & {
  readonly site: string | null
  readonly answered: number
  readonly unanswered: number
  /** By hour, oldest first, as many as were asked for. */
  readonly admittedByHour: readonly number[]
  readonly refusedByHour: readonly number[]
}

/** When a site was last let through and refused; null: never, as far as is known. */
export type SiteSeen = {
  readonly site: string | null
  readonly lastAdmittedMs: number | null
  readonly lastRefusedMs: number | null
}

/** One step of a timeline. */
export type TrafficStep = TrafficCount & {
  readonly fromMs: number
  readonly answered: number
  readonly unanswered: number
}

/** What a timeline shows. */
export type TimelineQuery = {
  readonly sinceMs: number
  readonly untilMs: number
  readonly step: 'hour' | 'day'
  readonly sites: SiteScope
  readonly country?: string
}

/** How often a rule held. */
export type RuleHits = {
  readonly rule: string
  readonly detected: number
  readonly refused: number
  readonly excepted: number
  /** Sites of the scope that it hit. */
  readonly sites: readonly string[]
  /** It hit addresses that belong to no site. */
  readonly outside: boolean
  readonly lastHourMs: number
}

/** Works on the hourly sums. */
export type TrafficTable = {
  /** Adds; the caller holds the transaction. */
  readonly add: (batch: TallyBatch) => void
  readonly byCountry: (sinceMs: number, sites: SiteScope) => CountryTraffic[]
  /** Sums of the hours up to and with the one that holds `untilMs`. */
  readonly bySite: (untilMs: number, hours: number, sites: SiteScope) => SiteTraffic[]
  readonly seen: (sites: SiteScope) => SiteSeen[]
  /** Every step of the span, empty ones, too. */
  readonly timeline: (query: TimelineQuery) => TrafficStep[]
  /** Rules that held since then, most hits first. */
  readonly ruleHits: (sinceMs: number, sites: SiteScope) => RuleHits[]
  /** Hits of one rule, hour by hour. */
  readonly ruleHours: (rule: string, sinceMs: number, sites: SiteScope) => RuleSum[]
  /** Start of the first hour that was counted; null: none was. */
  readonly countedSinceMs: () => number | null
}

const MAX_STEPS = 800

/** Works on an open database. */
export function createTrafficTable(database: DatabaseSync): TrafficTable {
  const statements = new Map<string, StatementSync>()
  const prepare = (sql: string): StatementSync => {
    let statement = statements.get(sql)
    if (statement === undefined) statements.set(sql, (statement = database.prepare(sql)))
    return statement
  }
  return {
    add: batch => add(prepare, batch),
    byCountry: (sinceMs, sites) =>
      rows(
        prepare,
        `SELECT country, sum(admitted) AS admitted, sum(failed) AS failed, sum(refused) AS refused FROM ${tableFor(sites)}
         WHERE hour >= ? ${within(sites)} GROUP BY country ORDER BY 4 DESC, 2 DESC, 1`,
        [hourOf(sinceMs), ...scoped(sites)],
      ).map(row => ({ country: String(row['country']), ...countsOf(row) })),
    bySite: (untilMs, hours, sites) => bySite(prepare, untilMs, hours, sites),
    seen: sites =>
      rows(
        prepare,
        `SELECT site, admitted, refused FROM site_seen WHERE TRUE ${within(sites)}`,
        scoped(sites),
      ).map(row => ({
        site: siteOf(row['site']),
        lastAdmittedMs: timeOf(row['admitted']),
        lastRefusedMs: timeOf(row['refused']),
      })),
    timeline: query => timeline(prepare, query),
    ruleHits: (sinceMs, sites) => {
      const found = rows(
        prepare,
        `SELECT rule, site, sum(detected) AS detected, sum(refused) AS refused, sum(excepted) AS excepted, max(hour) AS hour
         FROM rule_hour WHERE hour >= ? ${within(sites)} GROUP BY rule, site`,
        [hourOf(sinceMs), ...scoped(sites)],
      )
      const byRule = Map.groupBy(found, row => String(row['rule']))
      const list = [...byRule].map(([rule, group]): RuleHits => ({
        rule,
        detected: total(group, 'detected'),
        refused: total(group, 'refused'),
        excepted: total(group, 'excepted'),
        sites: group.flatMap(row => siteOf(row['site']) ?? []),
        outside: group.some(row => row['site'] === ''),
        lastHourMs: Math.max(...group.map(row => Number(row['hour']))) * HOUR_MS,
      }))
      return list.sort((a, b) => b.detected + b.refused - a.detected - a.refused)
    },
    ruleHours: (rule, sinceMs, sites) =>
      rows(
        prepare,
        `SELECT hour, site, detected, refused, excepted FROM rule_hour
         WHERE hour >= ? AND rule = ? ${within(sites)} ORDER BY hour, site`,
        [hourOf(sinceMs), rule, ...scoped(sites)],
      ).map(row => ({
        hour: Number(row['hour']),
        rule,
        site: String(row['site']),
        detected: Number(row['detected']),
        refused: Number(row['refused']),
        excepted: Number(row['excepted']),
      })),
    countedSinceMs: () => {
      const first = prepare('SELECT min(hour) AS hour FROM traffic_hour').get()?.['hour']
      return typeof first === 'number' ? first * HOUR_MS : null
    },
  }
}

function add(prepare: (sql: string) => StatementSync, { traffic, rules }: TallyBatch): void {
  const sum = prepare(
    `INSERT INTO traffic_hour VALUES (?,?,?,?,?,?,?,?) ON CONFLICT DO UPDATE SET
     admitted = admitted + excluded.admitted, failed = failed + excluded.failed, refused = refused + excluded.refused,
     answered = answered + excluded.answered, unanswered = unanswered + excluded.unanswered`,
  )
  const seen = new Map<string, { admitted: number; refused: number }>()
  const countries = new Map<string, number[]>()
  for (const cell of traffic) {
    const { hour, site, country, admitted, failed, refused, answered, unanswered } = cell
    const counts = [admitted, failed, refused, answered, unanswered]
    sum.run(hour, site, country, ...counts)
    const key = `${hour} ${country}`
    const sums = countries.get(key)
    if (sums === undefined) countries.set(key, [hour, ...counts])
    else for (const [index, count] of counts.entries()) sums[index + 1] = (sums[index + 1] ?? 0) + count
    const last = seen.get(site)
    if (last === undefined) seen.set(site, { admitted: cell.lastAdmittedMs, refused: cell.lastRefusedMs })
    else {
      last.admitted = Math.max(last.admitted, cell.lastAdmittedMs)
      last.refused = Math.max(last.refused, cell.lastRefusedMs)
    }
  }
  const country = prepare(
    `INSERT INTO country_hour (country, hour, admitted, failed, refused, answered, unanswered) VALUES (?,?,?,?,?,?,?)
     ON CONFLICT DO UPDATE SET admitted = admitted + excluded.admitted, failed = failed + excluded.failed,
     refused = refused + excluded.refused, answered = answered + excluded.answered, unanswered = unanswered + excluded.unanswered`,
  )
  for (const [key, sums] of countries) country.run(key.slice(key.indexOf(' ') + 1), ...sums)
  const note = prepare(
    `INSERT INTO site_seen VALUES (?,?,?) ON CONFLICT DO UPDATE SET
     admitted = max(admitted, excluded.admitted), refused = max(refused, excluded.refused)`,
  )
  for (const [site, last] of seen) note.run(site, last.admitted, last.refused)
  const hit = prepare(
    `INSERT INTO rule_hour VALUES (?,?,?,?,?,?) ON CONFLICT DO UPDATE SET detected = detected + excluded.detected,
     refused = refused + excluded.refused, excepted = excepted + excluded.excepted`,
  )
  for (const { hour, rule, site, detected, refused, excepted } of rules)
    hit.run(hour, rule, site, detected, refused, excepted)
}

type SiteHourRow = readonly [
  hour: number,
  site: string,
  admitted: number,
  failed: number,
  refused: number,
  answered: number,
  unanswered: number,
]

function bySite(
  prepare: (sql: string) => StatementSync,
  untilMs: number,
  hours: number,
  sites: SiteScope,
): SiteTraffic[] {
  const last = hourOf(untilMs)
  const span = Math.max(1, Math.min(MAX_STEPS, Math.floor(hours)))
  const first = last - span + 1
  type Sums = { -readonly [K in keyof SiteTraffic]: SiteTraffic[K] } & {
    readonly admittedByHour: number[]
    readonly refusedByHour: number[]
  }
  const found = new Map<string, Sums>()
  // Added up here: a row per site and hour is read either way, and the hours are wanted one by one. Arrays cost a third of objects.
  const walk = prepare(
    `SELECT hour, site, admitted, failed, refused, answered, unanswered FROM traffic_hour
     WHERE hour BETWEEN ? AND ? ${within(sites)}`,
  )
  walk.setReturnArrays(true)
  for (const row of walk.all(first, last, ...scoped(sites)) as unknown as readonly SiteHourRow[]) {
    const [hour, site, admitted, failed, refused, answered, unanswered] = row
    let sums = found.get(site)
    if (sums === undefined) {
      sums = {
        site: siteOf(site),
        admitted: 0,
        failed: 0,
        refused: 0,
        answered: 0,
        unanswered: 0,
        admittedByHour: Array.from({ length: span }, () => 0),
        refusedByHour: Array.from({ length: span }, () => 0),
      }
      found.set(site, sums)
    }
    const at = hour - first
    sums.admitted += admitted
    sums.refused += refused
    sums.failed += failed
    sums.answered += answered
    sums.unanswered += unanswered
    sums.admittedByHour[at] = (sums.admittedByHour[at] ?? 0) + admitted
    sums.refusedByHour[at] = (sums.refusedByHour[at] ?? 0) + refused
  }
  return [...found.values()]
}

function timeline(prepare: (sql: string) => StatementSync, query: TimelineQuery): TrafficStep[] {
  const { sites, country, step } = query
  const width = step === 'hour' ? 1 : 24
  const table = tableFor(sites)
  const first = Math.floor(hourOf(query.sinceMs) / width)
  const last = Math.min(Math.floor(hourOf(query.untilMs) / width), first + MAX_STEPS - 1)
  const found = rows(
    prepare,
    // One hour after the other, and in it only the wanted sites: the key begins with hour and site.
    `WITH RECURSIVE step(hour) AS (SELECT ? UNION ALL SELECT hour + 1 FROM step WHERE hour < ?)
     SELECT ${table}.hour / ${width} AS step, sum(admitted) AS admitted, sum(failed) AS failed, sum(refused) AS refused,
       sum(answered) AS answered, sum(unanswered) AS unanswered
     FROM step CROSS JOIN ${table} ON ${table}.hour = step.hour
     WHERE TRUE ${within(sites)} ${country === undefined ? '' : 'AND country = ?'} GROUP BY 1`,
    [first * width, last * width + width - 1, ...scoped(sites), ...(country === undefined ? [] : [country])],
  )
  const byStep = new Map(found.map(row => [Number(row['step']), row]))
  return Array.from({ length: Math.max(0, last - first + 1) }, (_, index) => {
    const row = byStep.get(first + index)
    return {
      fromMs: (first + index) * width * HOUR_MS,
      ...countsOf(row ?? {}),
      answered: Number(row?.['answered'] ?? 0),
      unanswered: Number(row?.['unanswered'] ?? 0),
    }
  })
}

type Row = Record<string, SQLOutputValue>

function rows(prepare: (sql: string) => StatementSync, sql: string, values: readonly SQLInputValue[]): Row[] {
  return prepare(sql).all(...values)
}

/** Where sums of a scope stand: those of everything are kept without sites, too. */
function tableFor(sites: SiteScope): 'country_hour' | 'traffic_hour' {
  return sites === null ? 'country_hour' : 'traffic_hour'
}

/** The condition of a scope, and its value: the one place where sums are cut down to what an operator may see. */
function within(sites: SiteScope): string {
  return sites === null ? '' : 'AND site IN (SELECT value FROM json_each(?))'
}

function scoped(sites: SiteScope): readonly SQLInputValue[] {
  // An empty name stands for "no site": nobody who is limited to sites may ask for it by a site of that name.
  return sites === null ? [] : [JSON.stringify(sites.filter(site => site !== ''))]
}

function countsOf(row: Row): TrafficCount {
  return {
    admitted: Number(row['admitted'] ?? 0),
    failed: Number(row['failed'] ?? 0),
    refused: Number(row['refused'] ?? 0),
  }
}

function total(group: readonly Row[], key: string): number {
  let sum = 0
  for (const row of group) sum += Number(row[key])
  return sum
}

function siteOf(value: SQLOutputValue | undefined): string | null {
  return typeof value === 'string' && value !== '' ? value : null
}

function timeOf(value: SQLOutputValue | undefined): number | null {
  return typeof value === 'number' && value > 0 ? value : null
}

function hourOf(timeMs: number): number {
  return Math.floor(timeMs / HOUR_MS)
}
