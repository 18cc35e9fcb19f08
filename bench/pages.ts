// Measures the processor time of what pages ask of a store with a million events and a ledger of 10,000 agents over 30 days.
// `node bench/pages.ts [file] [days]`: fills the file first when it is not there, which takes ten minutes for 30 days. `--short`, for
// CI, fills a small one, and its limit has room for a busy machine.
import { existsSync, mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { HOUR_MS } from '../src/journal/ledger-facts.ts'
import { parseCidr } from '../src/net/cidr.ts'
import { openStoreCore, openStoreReader } from '../src/journal/store-core.ts'
import { questionsOf, type StoreQuestions } from '../src/journal/store-questions.ts'
import { agentAddress, agentSite, fillLargeStore } from '../test/support/large-store.ts'
import { judgeShort } from './report/short.ts'

const { values, positionals } = parseArgs({
  options: { short: { type: 'boolean', default: false } },
  allowPositionals: true,
})
const FULL = { agents: 10_000, days: 30, events: 1_000_000 }
const AGENTS = values.short ? 1_000 : FULL.agents
const SITES = AGENTS / 10
const DAYS = values.short ? 2 : Number(positionals[1] ?? FULL.days)
const EVENTS = values.short ? 50_000 : FULL.events
const END = Date.UTC(2026, 10, 21, 12)
const LIMIT_MS = 300

function print(text: string): void {
  process.stdout.write(`${text}\n`)
}

function fileToMeasure(): string {
  const [given] = positionals
  if (given !== undefined) return given
  const directory = mkdtempSync(join(tmpdir(), 'portcullis-bench-pages-'))
  process.on('exit', () => rmSync(directory, { recursive: true, force: true }))
  return join(directory, 'journal.db')
}

const file = fileToMeasure()
if (!existsSync(file)) {
  const core = openStoreCore(file)
  const startedMs = performance.now()
  fillLargeStore(core, {
    agents: AGENTS,
    sites: SITES,
    days: DAYS,
    events: EVENTS,
    endMs: END,
    onDay: day =>
      print(`day ${Math.floor(day) + 1} after ${Math.round((performance.now() - startedMs) / 1_000)} s`),
  })
  core.close()
}
print(`store: ${(statSync(file).size / 1e6).toFixed(0)} MB`)

const reader = openStoreReader(file)
const ask = questionsOf(reader)
const day = END - 24 * HOUR_MS
const week = END - 7 * 24 * HOUR_MS
const month = END - 30 * 24 * HOUR_MS
const large = parseCidr('11.0.0.0/8')
if (typeof large === 'string') throw new Error(large)
const few = ['site-3', 'site-42', 'site-77']
const ranges = Array.from({ length: AGENTS }, (_, agent) => agent)
  .filter(agent => agentSite(agent, SITES) !== null)
  .map(agentAddress)
const ofSite = Array.from({ length: AGENTS }, (_, agent) => agent)
  .filter(agent => agentSite(agent, SITES) === 'site-42')
  .map(agentAddress)
const rules = [
  'path-traversal',
  'sql-injection',
  'null-byte',
  'shellshock',
  'script-injection',
  'jndi-lookup',
]

const questions: readonly (readonly [string, (of: StoreQuestions) => unknown])[] = [
  ['events: newest 100', of => of.findEvents({ limit: 100 })],
  ['events of a country', of => of.findEvents({ country: 'KP', limit: 100 })],
  [
    'events of a country, hour a month ago',
    of => of.findEvents({ country: 'KP', sinceMs: month, untilMs: month + HOUR_MS, limit: 100 }),
  ],
  ['events of a site', of => of.findEvents({ site: 'site-42', limit: 100 })],
  ['events of three sites', of => of.findEvents({ sites: few, limit: 100 })],
  [
    'events of 200 sites',
    of => of.findEvents({ sites: Array.from({ length: 200 }, (_, at) => `site-${at}`), limit: 100 }),
  ],
  ['events of a country in three sites', of => of.findEvents({ sites: few, country: 'US', limit: 100 })],
  ['events of a rule', of => of.findEvents({ rule: 'jndi-lookup', limit: 100 })],
  [
    'events: two filters that never meet',
    of => of.searchEvents({ name: 'connection.refused', class: 'console', limit: 100 }),
  ],
  ['events: class and reason', of => of.searchEvents({ class: 'agent', reason: 'banned', limit: 100 })],
  ['events: nothing in a large range', of => of.searchEvents({ range: large, class: 'console', limit: 100 })],
  ['countries, 24 h', of => of.trafficByCountry(day, null)],
  ['countries, 30 d', of => of.trafficByCountry(month, null)],
  ['countries, 30 d, three sites', of => of.trafficByCountry(month, few)],
  ['sites with trend, 24 h', of => of.trafficBySite(END - 1, 24, null)],
  ['sites last seen', of => of.sitesSeen(null)],
  [
    'timeline of a site, 7 d by hour',
    of => of.timeline({ sinceMs: week, untilMs: END - 1, step: 'hour', sites: ['site-42'] }),
  ],
  ['timeline of all, 24 h', of => of.timeline({ sinceMs: day, untilMs: END - 1, step: 'hour', sites: null })],
  [
    'timeline of all, 30 d by day',
    of => of.timeline({ sinceMs: month, untilMs: END - 1, step: 'day', sites: null }),
  ],
  ['devices of a site, 24 h', of => of.siteDevices(ofSite, day)],
  ['devices of a /16, 24 h', of => of.siteDevices(['11.0.0.0/16'], day)],
  ['unknown sources, 24 h', of => of.unknownSources(ranges, day)],
  ['rule hits, 7 d', of => of.ruleHits(week, null)],
  ['rule hits, 30 d', of => of.ruleHits(month, null)],
  ['rule: known agents of six', of => of.ruleAgents(rules, week, null, END)],
  ['rule: detail', of => of.ruleDetail('path-traversal', week, null)],
  ['rule: detail, three sites', of => of.ruleDetail('path-traversal', week, few)],
  ['ledger of a source, 24 h', of => of.ledgerOfSource(agentAddress(42), day)],
  ['counts by reason, 24 h', of => of.countsByReason(day)],
  ['size', of => of.size()],
]

let worst = 0
for (const [name, run] of questions) {
  const times: number[] = []
  for (let round = 0; round < 5; round++) {
    const before = process.cpuUsage()
    run(ask)
    const { user, system } = process.cpuUsage(before)
    times.push((user + system) / 1_000)
  }
  const [first = 0] = times
  const median = times.toSorted((a, b) => a - b)[2] ?? 0
  worst = Math.max(worst, median)
  print(
    `${name.padEnd(42)} first ${first.toFixed(1).padStart(7)} ms   median ${median.toFixed(1).padStart(7)} ms`,
  )
}
reader.close()
// A tenth of the agents: questions about all of them take a tenth of the time.
const limitMs = (LIMIT_MS * AGENTS) / FULL.agents
if (values.short)
  process.exitCode = judgeShort([{ text: 'slowest question', value: worst, most: limitMs, unit: 'ms' }])
else {
  print(`slowest ${worst.toFixed(0)} ms, limit ${LIMIT_MS} ms`)
  process.exitCode = worst > LIMIT_MS ? 1 : 0
}
