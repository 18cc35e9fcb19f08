// Who still needs old TLS: sources and devices below a minimum, per site and week, and what covers them. Decisions are those of live traffic.
import type { LedgerRow, LedgerSum } from '../journal/ledger-facts.ts'
import { parseAddress, type Address } from '../net/address.ts'
import { strongestTls, tlsRank, type TlsVersion } from '../net/tls-version.ts'
import type { GeoFacts } from '../policy/facts.ts'
import type { Overlay, Snapshot, TlsException, TlsProfileName } from '../policy/snapshot.ts'
import { judgeShape, judgeSource, makeJudge, type PlanReason } from './judge.ts'
import { liveTrials } from '../policy/trial.ts'
import { replay, type Replay } from './replay.ts'
import { withoutTrials } from './trial-end.ts'

/** One device below the minimum, as far as it can be told apart: an address and a TLS fingerprint. */
export type OldTlsDevice = {
  readonly address: string
  readonly site: string | null
  readonly strongest: TlsVersion
  readonly ja4: string | null
  readonly userAgents: readonly string[]
  readonly count: number
  readonly firstMs: number
  readonly lastMs: number
  /** Refused for it by the policy in force. */
  readonly refused: boolean
  /** The exception that lets it in; null: none does. */
  readonly exceptionEndsMs: number | null
  /** When the trial ends without which it would be refused; null: none lets it in. */
  readonly trialEndsMs: number | null
  /** Why it would be refused when the exception ends; null: it would not, or there is none. */
  readonly afterException: PlanReason | null
}

/** One week of a site, or of what belongs to none. */
export type OldTlsWeek = {
  readonly site: string | null
  /** Monday 00:00 UTC. */
  readonly weekMs: number
  readonly devices: number
  readonly addresses: number
}

/** The report. */
export type TlsNeeds = {
  readonly minimum: TlsVersion
  readonly devices: readonly OldTlsDevice[]
  readonly weeks: readonly OldTlsWeek[]
  readonly exceptions: readonly {
    readonly site: string
    readonly minimum: TlsVersion
    readonly reason: string
    readonly owner: string
    readonly expiresMs: number
    readonly devices: number
  }[]
  /** More devices than are kept apart. */
  readonly truncated: boolean
}

const WEEK_MS = 7 * 86_400_000
// 1970-01-01 was a Thursday.
const MONDAY_MS = 4 * 86_400_000
const MAX_DEVICES = 100_000

/** What is asked. */
export type TlsQuestion = {
  readonly snapshot: Snapshot
  readonly overlay: Overlay
  readonly lookup: (address: Address) => GeoFacts
  readonly minimum: TlsVersion
  readonly nowMs: number
}

type Gathering = {
  readonly row: LedgerRow
  readonly address: Address
  readonly strongest: TlsVersion
  readonly userAgents: Set<string>
  count: number
  firstMs: number
  lastMs: number
}

/** Reads rows hour by hour. */
export function tlsNeeds(question: TlsQuestion, rows: Iterable<LedgerRow>): TlsNeeds {
  const { snapshot, minimum } = question
  const devices = new Map<string, Gathering>()
  const weeks = new Map<
    string,
    { site: string | null; weekMs: number; keys: Set<string>; addresses: Set<string> }
  >()
  let truncated = false
  for (const row of rows) {
    const { shape, source } = row
    if (source === null || shape.offered.length === 0) continue
    const strongest = strongestTls(shape.offered)
    if (strongest === undefined || tlsRank(strongest) >= tlsRank(minimum)) continue
    const key = `${source} ${shape.ja4} ${strongest}`
    let device = devices.get(key)
    if (device === undefined) {
      const address = parseAddress(source)
      if (address === undefined) continue
      if (devices.size >= MAX_DEVICES) {
        truncated = true
        continue
      }
      device = {
        row,
        address,
        strongest,
        userAgents: new Set(),
        count: 0,
        firstMs: row.firstMs,
        lastMs: row.lastMs,
      }
      devices.set(key, device)
    }
    device.count += row.count
    device.firstMs = Math.min(device.firstMs, row.firstMs)
    device.lastMs = Math.max(device.lastMs, row.lastMs)
    if (shape.userAgent !== 'none' && device.userAgents.size < 4) device.userAgents.add(shape.userAgent)
    const site = snapshot.siteByAddress.match(device.address)?.id ?? null
    const weekMs = Math.floor((row.hourMs - MONDAY_MS) / WEEK_MS) * WEEK_MS + MONDAY_MS
    const weekKey = `${weekMs} ${site}`
    let week = weeks.get(weekKey)
    if (week === undefined)
      weeks.set(weekKey, (week = { site, weekMs, keys: new Set(), addresses: new Set() }))
    week.keys.add(key)
    week.addresses.add(source)
  }
  const list = [...devices.values()].map(device => finished(question, device))
  list.sort(
    (a, b) =>
      Number(b.refused) - Number(a.refused) ||
      (a.site ?? '~').localeCompare(b.site ?? '~') ||
      b.lastMs - a.lastMs,
  )
  return {
    minimum,
    devices: list,
    weeks: [...weeks.values()]
      .map(({ site, weekMs, keys, addresses }) => ({
        site,
        weekMs,
        devices: keys.size,
        addresses: addresses.size,
      }))
      .sort((a, b) => a.weekMs - b.weekMs || (a.site ?? '~').localeCompare(b.site ?? '~')),
    exceptions: snapshot.sites.flatMap(site => {
      const exception: TlsException | null = site.tlsException
      if (exception === null) return []
      const { minimum: reaches, reason, owner, expiresMs } = exception
      const covered = list.filter(device => device.site === site.id && device.exceptionEndsMs !== null).length
      return [{ site: site.id, minimum: reaches, reason, owner, expiresMs, devices: covered }]
    }),
    truncated,
  }
}

function finished(question: TlsQuestion, device: Gathering): OldTlsDevice {
  const { snapshot, overlay, lookup, nowMs } = question
  const { row, address, strongest, userAgents, count, firstMs, lastMs } = device
  const inForce = makeJudge(snapshot, overlay, snapshot)
  const enforced = makeJudge(withoutTrials(snapshot), overlay, snapshot)
  const facts = { address, geo: lookup(address) }
  // Only the hello is judged: what it asked for afterwards is another matter.
  const shape = { ...row.shape, phase: 'hello' as const }
  const at = (timeMs: number, judge = enforced) =>
    judgeShape(judge, judgeSource(judge, facts, shape.listener, timeMs), shape, timeMs)
  const now = at(nowMs, inForce)
  const untried = at(nowMs)
  const onTrial = now.allow && !untried.allow && untried.reason === 'tls-version-too-low'
  const refused = !now.allow && now.reason === 'tls-version-too-low'
  const exception = snapshot.siteByAddress.match(address)?.tlsException ?? null
  // The exception covers the device when the same question after its end has another answer; a trial must not hide that.
  const later = exception === null || exception.expiresMs <= nowMs ? null : at(exception.expiresMs)
  const covered = untried.allow && later !== null && !later.allow && later.reason === 'tls-version-too-low'
  return {
    address: address.text,
    site: snapshot.siteByAddress.match(address)?.id ?? null,
    strongest,
    ja4: row.shape.ja4,
    userAgents: [...userAgents],
    count,
    firstMs,
    lastMs,
    refused,
    trialEndsMs: onTrial ? lastEnd(snapshot, nowMs) : null,
    exceptionEndsMs: covered && exception !== null ? exception.expiresMs : null,
    afterException: covered && !later.allow ? later.reason : null,
  }
}

function lastEnd(snapshot: Snapshot, nowMs: number): number {
  const ends = liveTrials(snapshot, nowMs).filter(({ stages }) => stages.has('tls'))
  return Math.max(...ends.map(({ expiresMs }) => expiresMs))
}

/** The policy with every listener and name raised to at least this version; exceptions of sites stay. */
function withMinimum(snapshot: Snapshot, minimum: TlsVersion): Snapshot {
  const profiles = [...snapshot.tlsProfiles.values()].toSorted(
    (a, b) => tlsRank(a.minimum) - tlsRank(b.minimum),
  )
  const enough = profiles.find(profile => tlsRank(profile.minimum) >= tlsRank(minimum))?.name ?? 'strict'
  const raised = (name: TlsProfileName): TlsProfileName => {
    const own = snapshot.tlsProfiles.get(name)?.minimum
    return own !== undefined && tlsRank(own) >= tlsRank(minimum) ? name : enough
  }
  return {
    ...snapshot,
    listeners: snapshot.listeners.map(listener => ({ ...listener, tlsProfile: raised(listener.tlsProfile) })),
    names: snapshot.names.map(name => ({
      ...name,
      tlsProfile: name.tlsProfile === null ? null : raised(name.tlsProfile),
    })),
  }
}

/** Who would be lost if the minimum rose: the same replay that `plan` makes of a policy with that minimum, trials left out. */
export function whatWouldBreak(question: TlsQuestion, rows: Iterable<LedgerSum>): Replay {
  const { overlay, lookup, minimum, nowMs } = question
  const current = withoutTrials(question.snapshot)
  const candidate = withMinimum(current, minimum)
  return replay({ current, candidate, overlay, lookup, rows, nowMs })
}
