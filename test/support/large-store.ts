// Fills a store with a seeded fleet: agents behind sites and without one, refusals from many countries, rule hits. Keeps its own totals.
import type { EventFields, EventName, HelloFields } from '../../src/journal/events.ts'
import { HOUR_MS } from '../../src/journal/ledger-facts.ts'
import { createLedger } from '../../src/journal/ledger.ts'
import { createMetrics } from '../../src/journal/metrics.ts'
import { createReporter } from '../../src/journal/reporter.ts'
import type { StoreCore } from '../../src/journal/store-core.ts'
import type { EventRow } from '../../src/journal/store-events.ts'
import { createTrafficTally } from '../../src/journal/traffic-tally.ts'
import type { TrafficClass } from '../../src/policy/classes.ts'
import type { Reason } from '../../src/policy/reasons.ts'

/** How large the store becomes. */
export type LargeStoreOptions = {
  readonly agents: number
  readonly sites: number
  readonly days: number
  /** Stored events, spread evenly over the days. */
  readonly events: number
  /** End of the last hour. */
  readonly endMs: number
  readonly seed?: number
  /** Called after each day. */
  readonly onDay?: (day: number) => void
}

/** What really went in, counted beside the program. Keys are joined with a space; a missing site is empty. */
export type LargeStoreTotals = {
  /** `hour site country kind`, kind being admitted, failed or refused. */
  readonly traffic: ReadonlyMap<string, number>
  /** `hour rule site kind`, kind being detected or refused. */
  readonly rules: ReadonlyMap<string, number>
  readonly events: number
}

const COUNTRIES = ['US', 'CA', 'DE', 'GB', 'NL', 'AU', 'MX', 'unknown']
const ATTACKERS = ['CN', 'RU', 'BR', 'IN', 'VN', 'US', 'NL', 'IR', 'KP', 'ZA', 'unknown']
const RULES = [
  'path-traversal',
  'sql-injection',
  'null-byte',
  'shellshock',
  'script-injection',
  'jndi-lookup',
]
const REASONS: readonly Reason[] = ['class-country', 'country-refused', 'class-source', 'banned', 'rule']

/** Address of an agent. */
export function agentAddress(agent: number): string {
  return `${11 + (agent >> 16)}.${(agent >> 8) & 255}.${agent & 255}.7`
}

/** Site of an agent; every tenth agent belongs to none. */
export function agentSite(agent: number, sites: number): string | null {
  return agent % 10 === 9 ? null : `site-${agent % sites}`
}

/** Fills the store. */
export function fillLargeStore(core: StoreCore, options: LargeStoreOptions): LargeStoreTotals {
  const { agents, sites, days, endMs } = options
  const random = seeded(options.seed ?? 42)
  const traffic = new Map<string, number>()
  const rules = new Map<string, number>()
  const ledger = createLedger()
  const tally = createTrafficTally()
  let nowMs = 0
  let rows: EventRow[] = []
  let events = 0
  const sink = {
    write: () => undefined,
    flush: () => Promise.resolve(),
    close: () => Promise.resolve(),
    takeDropped: () => ({ lines: 0, why: '' }),
  }
  const reporter = createReporter({
    journalPolicy: {
      log: 'stdout',
      logDir: '',
      logMaxBytes: 1,
      logFiles: 1,
      requests: 'none',
      eventDays: 365,
      ledgerDays: 365,
      maxStoreBytes: 1e12,
    },
    logDestination: sink,
    metrics: createMetrics({ clock: () => nowMs }),
    store: {
      add: row => {
        rows.push(row)
        events++
        return true
      },
      listen: () => undefined,
      setRetention: () => undefined,
    },
    ledger: null,
    clock: () => nowMs,
    floodLimits: NO_LIMITS,
  })
  const count = (map: Map<string, number>, ...key: readonly (string | number)[]): void => {
    const text = key.join(' ')
    map.set(text, (map.get(text) ?? 0) + 1)
  }
  const record = <K extends EventName>(name: K, fields: EventFields[K]): void => {
    ledger.record(name, fields, nowMs)
    tally.record(name, fields, nowMs)
  }
  const write = (): void => {
    const sums = tally.drain()
    for (let at = 0; at < rows.length; at += 1_000)
      core.write({ events: rows.slice(at, at + 1_000), ledger: null })
    rows = []
    core.write({ events: [], ledger: null, tally: sums })
    for (let batch = ledger.drain(1_000); batch !== null; batch = ledger.drain(1_000))
      core.write({ events: [], ledger: batch })
  }

  const hours = days * 24
  const firstMs = endMs - hours * HOUR_MS
  for (let hour = 0; hour < hours; hour++) {
    const hourMs = firstMs + hour * HOUR_MS
    const hourNumber = Math.floor(hourMs / HOUR_MS)
    for (let agent = 0; agent < agents; agent++) {
      const site = agentSite(agent, sites)
      const place = {
        address: agentAddress(agent),
        site,
        country: COUNTRIES[(agent % sites) % COUNTRIES.length] ?? 'US',
      }
      for (const { path, method, trafficClass } of workOf(random)) {
        nowMs = hourMs + random(HOUR_MS)
        const failed = random(200) === 0
        record('request.closed', closed(agent, place, path, method, trafficClass, failed, random))
        count(traffic, hourNumber, site ?? '', place.country, failed ? 'failed' : 'admitted')
      }
    }
    const wanted = Math.floor(((hour + 1) * options.events) / hours) - events
    const times = Array.from({ length: Math.max(0, wanted) }, () => hourMs + random(HOUR_MS))
    for (const timeMs of times.sort((a, b) => a - b)) {
      nowMs = timeMs
      const fromAgent = random(10) === 0
      const agent = random(Math.max(1, agents))
      const country = fromAgent
        ? (COUNTRIES[(agent % sites) % COUNTRIES.length] ?? 'US')
        : (ATTACKERS[random(ATTACKERS.length)] ?? 'CN')
      const site = fromAgent ? agentSite(agent, sites) : null
      const address = fromAgent ? agentAddress(agent) : `45.${random(200)}.${random(256)}.${random(256)}`
      const rule = RULES[Math.min(random(6), random(6))] ?? 'script-injection'
      const place = { address, site, country }
      if (random(5) === 0) {
        const fields = detected(place, rule, random)
        tally.record('rule.detected', fields, nowMs)
        reporter.report('rule.detected', fields)
        count(rules, hourNumber, rule, site ?? '', 'detected')
      } else {
        const reason = REASONS[random(REASONS.length)] ?? 'banned'
        const fields = refused(place, reason, rule, random)
        record('request.refused', fields)
        reporter.report('request.refused', fields)
        count(traffic, hourNumber, site ?? '', country, 'refused')
        if (reason === 'rule') count(rules, hourNumber, rule, site ?? '', 'refused')
      }
    }
    write()
    if (hour % 24 === 23) {
      const retention = { eventDays: 365, ledgerDays: 365, maxStoreBytes: 1e12 }
      while (core.upkeep(retention, hourMs + HOUR_MS).more);
      options.onDay?.(hour / 24)
    }
  }
  void reporter.close()
  return { traffic, rules, events }
}

/** Sums of totals whose key fits. */
export function sumOf(
  totals: ReadonlyMap<string, number>,
  fits: (...key: readonly string[]) => boolean,
): number {
  let sum = 0
  for (const [key, value] of totals) if (fits(...key.split(' '))) sum += value
  return sum
}

const FREE = { burst: 1e9, perSecond: 1e9 }
const NO_LIMITS = { perAddress: FREE, perEvent: FREE, addresses: 100_000 }

type Place = { readonly address: string; readonly site: string | null; readonly country: string }

function seeded(seed: number): (limit: number) => number {
  let state = seed
  return limit => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return Math.floor((state / 2 ** 32) * limit)
  }
}

type Work = { readonly path: string; readonly method: string; readonly trafficClass: TrafficClass }

const CHECK_IN: Work = { path: '/LabTech/Agent.aspx', method: 'POST', trafficClass: 'agent' }
const COMMAND: Work = { path: '/LabTech/Agent.aspx', method: 'GET', trafficClass: 'agent' }
const HEARTBEAT: Work = { path: '/LabTech/Heartbeat', method: 'GET', trafficClass: 'heartbeat' }

function workOf(random: (limit: number) => number): readonly Work[] {
  const transfer: Work = {
    path: `/LabTech/Transfer/${random(1e6)}.bin`,
    method: 'GET',
    trafficClass: 'transfer',
  }
  return random(4) === 0 ? [CHECK_IN, COMMAND, HEARTBEAT, transfer] : [CHECK_IN, COMMAND, HEARTBEAT]
}

function helloOf(agent: number): HelloFields {
  const old = agent % 20 === 0
  return {
    serverName: 'rmm.example.com',
    offered: old ? ['TLSv1.2', 'TLSv1.1', 'TLSv1'] : ['TLSv1.3', 'TLSv1.2'],
    ja4: old ? 't12d190800_d83cc789557e_7af1ed941c26' : 't13d1516h2_8daaf6152771_b186095e22b6',
  }
}

function closed(
  agent: number,
  place: Place,
  path: string,
  method: string,
  trafficClass: TrafficClass,
  failed: boolean,
  random: (limit: number) => number,
): EventFields['request.closed'] {
  return {
    ...place,
    ...helloOf(agent),
    port: 50_000,
    listener: 'https',
    host: 'rmm.example.com',
    method,
    path,
    class: trafficClass,
    tls: agent % 20 === 0 ? 'TLSv1.2' : 'TLSv1.3',
    status: failed ? 502 : 200,
    upstream: 'rmm/primary',
    bytesIn: 200 + random(9_000),
    bytesOut: 200 + random(30_000),
    durationMs: 20,
    upstreamMs: 10,
    ending: 'complete',
    webSocket: false,
    userAgent: 'LabTech Agent',
  }
}

function hitOf(rule: string, mode: 'enforce' | 'detect', random: (limit: number) => number) {
  return {
    ruleId: rule,
    title: `Title of ${rule}`,
    severity: 'high',
    mode,
    field: random(2) === 0 ? 'query.id' : 'path',
    value: '1 union select',
    steps: [],
    score: 0,
    exception: null,
    at: { file: 'policies/rules/generic.yaml', line: 4, column: 3 },
  } as const
}

const PATHS = ['/Automate/login.aspx', '/LabTech/Agent.aspx', '/cgi-bin/x', '/WCC2/report']

function refused(
  place: Place,
  reason: Reason,
  rule: string,
  random: (limit: number) => number,
): EventFields['request.refused'] {
  return {
    ...place,
    ...helloOf(1),
    port: 50_000,
    listener: 'https',
    reference: `${random(2 ** 31).toString(36)}-${random(2 ** 31).toString(36)}`,
    reason,
    stage: 'access',
    saw: `country ${place.country}`,
    line: 'policies/portcullis.yaml:12:3',
    host: 'rmm.example.com',
    method: 'GET',
    path: PATHS[random(PATHS.length)] ?? '/',
    class: 'console',
    tls: 'TLSv1.3',
    status: 403,
    hits: reason === 'rule' ? [hitOf(rule, 'enforce', random)] : [],
    webSocket: false,
    userAgent: 'curl/8',
  }
}

function detected(
  place: Place,
  rule: string,
  random: (limit: number) => number,
): EventFields['rule.detected'] {
  return {
    ...place,
    port: 50_000,
    listener: 'https',
    reference: `${random(2 ** 31).toString(36)}-${random(2 ** 31).toString(36)}`,
    host: 'rmm.example.com',
    method: 'POST',
    path: PATHS[random(PATHS.length)] ?? '/',
    class: 'agent',
    hit: hitOf(rule, 'detect', random),
  }
}
