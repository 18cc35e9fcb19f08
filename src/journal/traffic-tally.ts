// Adds traffic up by hour, site and country, and rule hits by hour, rule and site; the store drains it together with the ledger.
import type { RuleHit } from '../ips/rule-set.ts'
import type { EventFields, EventName } from './events.ts'
import { isFailure } from './ledger.ts'
import { HOUR_MS } from './ledger-facts.ts'
import type { RuleSum, TallyBatch, TrafficSum } from './traffic-facts.ts'

/** The running sums. */
export type TrafficTally = {
  /** Takes what the sums need from an event; other events are ignored. Two map look-ups for the most frequent ones. */
  readonly record: <K extends EventName>(name: K, fields: EventFields[K], nowMs: number) => void
  /** Takes all sums out; null when there are none. */
  readonly drain: () => TallyBatch | null
  readonly state: () => {
    /** Sums that wait for the store. */
    readonly waiting: number
    /** Traffic and hits that found no place, because the store has taken nothing for long. */
    readonly lost: number
  }
}

/** Sums that may wait: hours of 1,000 sites while the store cannot be used. */
const MAX_WAITING = 50_000

type Cell = { -readonly [K in keyof TrafficSum]: TrafficSum[K] }
type RuleCell = { -readonly [K in keyof RuleSum]: RuleSum[K] }
type Place = { readonly site: string | null; readonly country: string }

/** Makes an empty tally. */
export function createTrafficTally(): TrafficTally {
  let hour = 0
  let sites = new Map<string, Map<string, Cell>>()
  let cells: Cell[] = []
  let rules = new Map<string, RuleCell>()
  let lost = 0
  // What finds no place is added up here, so that the hot path needs no second way.
  const spill = newCell(0, '', '')

  const cellOf = (place: Place, nowMs: number): Cell => {
    const now = Math.floor(nowMs / HOUR_MS)
    if (now !== hour) {
      hour = now
      sites = new Map()
    }
    const site = place.site ?? ''
    let countries = sites.get(site)
    if (countries === undefined) sites.set(site, (countries = new Map()))
    let cell = countries.get(place.country)
    if (cell !== undefined) return cell
    if (cells.length >= MAX_WAITING) {
      lost++
      return spill
    }
    cell = newCell(hour, site, place.country)
    countries.set(place.country, cell)
    cells.push(cell)
    return cell
  }
  const admit = (place: Place, nowMs: number): void => {
    const cell = cellOf(place, nowMs)
    cell.admitted++
    cell.lastAdmittedMs = nowMs
  }
  const refuse = (place: Place, count: number, nowMs: number): void => {
    const cell = cellOf(place, nowMs)
    cell.refused += count
    cell.lastRefusedMs = nowMs
  }
  const hit = (place: Place, { ruleId, exception }: RuleHit, refused: boolean, nowMs: number): void => {
    const at = Math.floor(nowMs / HOUR_MS)
    const site = place.site ?? ''
    const key = `${at} ${ruleId} ${site}`
    let cell = rules.get(key)
    if (cell === undefined) {
      if (rules.size >= MAX_WAITING) {
        lost++
        return
      }
      cell = { hour: at, rule: ruleId, site, detected: 0, refused: 0, excepted: 0 }
      rules.set(key, cell)
    }
    if (refused) cell.refused++
    else cell.detected++
    if (exception !== null) cell.excepted++
  }
  const hits = (place: Place, list: readonly RuleHit[] | undefined, nowMs: number): void => {
    if (list === undefined) return
    for (const entry of list) hit(place, entry, entry.mode === 'enforce' && entry.exception === null, nowMs)
  }

  const takes: { readonly [K in EventName]?: (fields: EventFields[K], nowMs: number) => void } = {
    'request.closed': (f, nowMs) => {
      if (isFailure(f.ending, f.status, f.webSocket)) cellOf(f, nowMs).failed++
      // A WebSocket was counted when it opened.
      else if (!f.webSocket || f.status !== 101) admit(f, nowMs)
    },
    'websocket.opened': admit,
    'request.refused': (f, nowMs) => {
      refuse(f, 1, nowMs)
      hits(f, f.hits, nowMs)
    },
    'connection.refused': (f, nowMs) => {
      refuse(f, 1, nowMs)
      hits(f, f.hits, nowMs)
    },
    'handshake.failed': (f, nowMs) => {
      cellOf(f, nowMs).failed++
    },
    'heartbeat.refused': (f, nowMs) => refuse(f, f.count, nowMs),
    'heartbeat.counted': (f, nowMs) => {
      const cell = cellOf(f, nowMs)
      if (f.answered) cell.answered += f.heartbeats
      else cell.unanswered += f.heartbeats
      cell.lastAdmittedMs = nowMs
    },
    'rule.detected': (f, nowMs) => hit(f, f.hit, false, nowMs),
    'rate.held': (f, nowMs) => hit(f, f.hit, f.acts, nowMs),
  }

  return {
    record: (name, fields, nowMs) => takes[name]?.(fields, nowMs),
    drain: () => {
      if (cells.length === 0 && rules.size === 0) return null
      const batch = { traffic: cells, rules: [...rules.values()] }
      cells = []
      sites = new Map()
      rules = new Map()
      return batch
    },
    state: () => ({ waiting: cells.length + rules.size, lost }),
  }
}

function newCell(hour: number, site: string, country: string): Cell {
  return {
    hour,
    site,
    country,
    admitted: 0,
    failed: 0,
    refused: 0,
    answered: 0,
    unanswered: 0,
    lastAdmittedMs: 0,
    lastRefusedMs: 0,
  }
}
