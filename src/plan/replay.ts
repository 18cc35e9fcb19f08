// Replays recorded traffic through two policies and says who changes: sources and sites lost or gained, per class and reason.
import type { LedgerShape, LedgerSum } from '../journal/ledger-facts.ts'
import { parseAddress, type Address } from '../net/address.ts'
import { strongestTls, tlsRank, type TlsVersion } from '../net/tls-version.ts'
import { AGENT_CLASSES, type TrafficClass } from '../policy/classes.ts'
import type { GeoFacts } from '../policy/facts.ts'
import type { Overlay, Snapshot } from '../policy/snapshot.ts'
import type { SourceLine } from '../policy/source-line.ts'
import { countryWord } from '../policy/who.ts'
import {
  judgeShape,
  judgeSource,
  makeJudge,
  type Judge,
  type JudgedSource,
  type Judgement,
  type PlanReason,
} from './judge.ts'

/** What is replayed. */
export type ReplayQuestion = {
  /** The policy in force, under which the ledger was written. */
  readonly current: Snapshot
  readonly candidate: Snapshot
  readonly overlay: Overlay
  readonly lookup: (address: Address) => GeoFacts
  /** Hour by hour when `timed`: see `needsHours`. */
  readonly rows: Iterable<LedgerSum>
  readonly nowMs: number
  /** Called now and then with the number of rows read. */
  readonly onProgress?: (rows: number) => void
}

/** Traffic of one source that changes in the same way. */
export type Change = {
  readonly kind: 'lost' | 'gained'
  readonly address: string
  /** Site under the candidate, else under the policy in force. */
  readonly site: string | null
  readonly country: string
  /** Class under the policy that lets it pass. */
  readonly class: TrafficClass | null
  readonly hosts: readonly string[]
  readonly userAgents: readonly string[]
  /** Why it is refused: by the candidate when lost, by the policy in force when gained. */
  readonly reason: PlanReason
  readonly saw: string
  readonly line: SourceLine
  readonly count: number
  readonly lastMs: number
  /** An agent's traffic, seen within the last three days. */
  readonly activeAgent: boolean
  /** The ledger keeps no keys: the client may have one. */
  readonly uncertain: boolean
  /** The weakest of what its clients offer at best; null: the ledger does not say. */
  readonly tls: TlsVersion | null
}

/** The outcome of a replay. */
export type Replay = {
  readonly rows: number
  /** Rows whose source was beyond the ledger's limits. */
  readonly unknownRows: number
  readonly sources: number
  /** Sources with agent traffic that passes under the policy in force. */
  readonly agents: number
  readonly changes: readonly Change[]
  /** Active agents that the candidate would refuse. */
  readonly lostAgents: number
}

/** Without a sign of life for so long, an agent is not counted as active. */
const ACTIVE_MS = 3 * 86_400_000
const WEEK_MS = 7 * 86_400_000
const PROGRESS_ROWS = 1_000_000
const MAX_REMEMBERED_SOURCES = 200_000

type Pair = { readonly before: Judgement; readonly after: Judgement }

type SourceMemory = {
  readonly address: Address
  readonly before: JudgedSource
  readonly after: JudgedSource
  readonly shapes: Map<LedgerShape, Pair>
}

/** Replays. Rows may come in any order. */
export function replay(question: ReplayQuestion): Replay {
  const { current, candidate, overlay, lookup, nowMs } = question
  const before = makeJudge(current, overlay, current)
  const after = makeJudge(candidate, overlay, current)
  const timed = needsHours(current, candidate)
  const memory = new Map<string, SourceMemory | null>()
  const changes = new Map<string, Gathering>()
  const seen = new Set<string>()
  const agents = new Set<string>()
  let rows = 0
  let progressAt = PROGRESS_ROWS
  let unknownRows = 0

  const remember = (source: string, listener: string): SourceMemory | null => {
    let known = memory.get(source)
    if (known !== undefined) return known
    const address = parseAddress(source)
    if (address === undefined) known = null
    else {
      const facts = { address, geo: lookup(address) }
      known = {
        address,
        before: judgeSource(before, facts, listener, nowMs),
        after: judgeSource(after, facts, listener, nowMs),
        shapes: new Map(),
      }
    }
    if (memory.size >= MAX_REMEMBERED_SOURCES) memory.clear()
    memory.set(source, known)
    return known
  }

  for (const row of question.rows) {
    rows += row.hours
    if (rows >= progressAt) {
      progressAt += PROGRESS_ROWS
      question.onProgress?.(rows)
    }
    const source = row.source === null ? null : remember(row.source, row.shape.listener)
    if (source === null || row.source === null) {
      unknownRows += row.hours
      continue
    }
    seen.add(row.source)
    let pair = timed ? undefined : source.shapes.get(row.shape)
    if (pair === undefined) {
      pair = judgeBoth(before, after, source, row, timed ? sameHourSoon(row.lastMs, nowMs) : nowMs)
      source.shapes.set(row.shape, pair)
    }
    if (pair.before.allow && isAgent(pair.before.class)) agents.add(row.source)
    if (pair.before.allow !== pair.after.allow) note(changes, row, source, pair, nowMs)
  }
  const list = [...changes.values()].map(finished)
  list.sort(
    (a, b) =>
      Number(b.activeAgent) - Number(a.activeAgent) ||
      (a.kind === b.kind ? b.lastMs - a.lastMs : a.kind === 'lost' ? -1 : 1),
  )
  const lost = new Set(
    list.filter(change => change.kind === 'lost' && change.activeAgent).map(change => change.address),
  )
  return { rows, unknownRows, sources: seen.size, agents: agents.size, changes: list, lostAgents: lost.size }
}

function judgeBoth(before: Judge, after: Judge, source: SourceMemory, row: LedgerSum, askedMs: number): Pair {
  return {
    before: judgeShape(before, source.before, row.shape, askedMs),
    after: judgeShape(after, source.after, row.shape, askedMs),
  }
}

/** Whether the time of day counts in one of the policies: then rows must not be added up over hours. */
export function needsHours(current: Snapshot, candidate: Snapshot): boolean {
  return hasWindows(current) || hasWindows(candidate)
}

function hasWindows({ classes, sites }: Snapshot): boolean {
  const all = [classes, ...sites.map(site => site.classes)]
  return all.some(map => [...map.values()].some(policy => policy.windows.length > 0))
}

/** The same hour of the week, in the coming week: windows are judged as they fell, ends of exceptions as of now. */
function sameHourSoon(atMs: number, nowMs: number): number {
  return atMs >= nowMs ? atMs : atMs + Math.ceil((nowMs - atMs) / WEEK_MS) * WEEK_MS
}

function isAgent(trafficClass: TrafficClass | null): boolean {
  return trafficClass !== null && AGENT_CLASSES.includes(trafficClass)
}

type Gathering = Omit<Change, 'hosts' | 'userAgents' | 'count' | 'lastMs' | 'activeAgent' | 'tls'> & {
  tls: TlsVersion | null
  readonly hosts: Set<string>
  readonly userAgents: Set<string>
  count: number
  lastMs: number
  active: boolean
}

function note(
  changes: Map<string, Gathering>,
  row: LedgerSum,
  source: SourceMemory,
  { before, after }: Pair,
  nowMs: number,
): void {
  const refusing = after.allow ? before : after
  const passing = after.allow ? after : before
  // Only what really passed can be lost: a request that the gate already cut off as silent, say, cannot.
  const passed = row.shape.outcome === 'passed' || row.shape.outcome === 'failed'
  if (refusing.allow || (refusing === after && !passed)) return
  const kind = after.allow ? 'gained' : 'lost'
  const key = `${kind} ${row.source} ${passing.class} ${refusing.reason}`
  let change = changes.get(key)
  if (change === undefined) {
    const standing = source.after.standing.site === null ? source.before.standing : source.after.standing
    change = {
      kind,
      address: source.address.text,
      site: standing.site?.id ?? null,
      country: countryWord(source.after.standing.country),
      class: passing.class,
      reason: refusing.reason,
      saw: refusing.saw,
      line: refusing.line,
      uncertain: refusing.reason === 'class-key',
      tls: null,
      hosts: new Set(),
      userAgents: new Set(),
      count: 0,
      lastMs: 0,
      active: false,
    }
    changes.set(key, change)
  }
  const best = strongestTls(row.shape.offered) ?? null
  if (best !== null && (change.tls === null || tlsRank(best) < tlsRank(change.tls))) change.tls = best
  change.count += row.count
  change.lastMs = Math.max(change.lastMs, row.lastMs)
  if (kind === 'lost' && isAgent(passing.class) && nowMs - row.lastMs <= ACTIVE_MS) change.active = true
  const host = row.shape.host ?? row.shape.serverName
  if (host !== null && change.hosts.size < 8) change.hosts.add(host)
  if (row.shape.userAgent !== 'none' && change.userAgents.size < 8) change.userAgents.add(row.shape.userAgent)
}

function finished({ hosts, userAgents, active, ...rest }: Gathering): Change {
  return { ...rest, hosts: [...hosts], userAgents: [...userAgents], activeAgent: active }
}
