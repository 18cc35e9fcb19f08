// The upstream groups as they live: probes each member, keeps its health, says who serves, and reports every change.
import type { Reporter } from '../journal/events.ts'
import type { Snapshot, UpstreamGroup, UpstreamMember } from '../policy/snapshot.ts'
import { GroupHealth, unknownMember, type HealthChange, type HealthFact } from './health-state.ts'
import { probe, type ProbeResult } from './probe.ts'
import type { OpenThrough } from './upstream-socket.ts'
import type { MemberHealth, UpstreamSelection } from './upstream-selection.ts'

/** What upstream groups need from outside. */
export type UpstreamsOptions = {
  readonly reporter: Reporter
  /** Milliseconds since the epoch. */
  readonly clock: () => number
  /** 0 (included) to 1 (excluded): spreads the probes of many members. */
  readonly random: () => number
  /** Exchanges that run with a member now, for status (`Forwarder.open`). */
  readonly openRequests?: (member: UpstreamMember) => number
  /** Carries probes to members behind a connector. */
  readonly through?: OpenThrough
}

/** Upstream groups that follow the policy in force. */
export type Upstreams = UpstreamSelection & {
  /** Takes the groups of a new policy; members that did not change keep their state and go on serving. */
  readonly apply: (snapshot: Snapshot) => void
  /** A client has come or gone: members behind it are asked at once instead of at the next probe. */
  readonly clientChanged: (key: string, client: string, attached: boolean) => void
  /** Stops all probes. */
  readonly close: () => void
}

type LiveMember = {
  readonly member: UpstreamMember
  readonly group: LiveGroup
  readonly position: number
  readonly stop: AbortController
  timer: NodeJS.Timeout | null
  probing: boolean
  /** A failure was seen while a probe ran: ask again right after it. */
  again: boolean
  /** A probe of this definition has been answered as expected. */
  proven: boolean
  /** That it never was has been reported. */
  doubted: boolean
}

type LiveGroup = {
  readonly group: UpstreamGroup
  readonly health: GroupHealth
  readonly host: string
  readonly members: LiveMember[]
}

/** Longest pause between probes of a member that is not up. */
const DOWN_INTERVAL_MS = 2_000

/** Makes the upstream groups; without `apply` there are none. */
export function createUpstreams(options: UpstreamsOptions): Upstreams {
  const { reporter, clock, random, openRequests = () => 0 } = options
  let groups = new Map<string, LiveGroup>()
  let liveOf = new WeakMap<UpstreamMember, LiveMember>()

  const take = (live: LiveMember, fact: HealthFact): void => {
    const changes = live.group.health.take(live.position, fact, clock())
    for (const change of changes) reportChange(reporter, live.group, change)
  }

  const schedule = (live: LiveMember, delayMs: number): void => {
    if (live.timer !== null) clearTimeout(live.timer)
    live.timer = setTimeout(() => void runProbe(live), delayMs)
    live.timer.unref()
  }

  const runProbe = async (live: LiveMember): Promise<void> => {
    if (live.probing || live.stop.signal.aborted) return
    live.probing = true
    live.again = false
    const { health } = live.group.group
    const result = await probe(live.member, health, hostFor(live), live.stop.signal, options.through)
    live.probing = false
    if (live.stop.signal.aborted) return
    const wasDown = recordOf(live)?.state === 'down'
    const problem = problemOf(live, result)
    // A flood that takes the gate's last socket must not make a living server look dead.
    if (problem !== null) take(live, { kind: 'probe-failed', problem })
    else if (result.kind === 'healthy') {
      live.proven = true
      take(live, { kind: 'probe-ok' })
    } else if (result.kind === 'unexpected') doubt(live, result.problem)
    const record = recordOf(live)
    const isSuspect = problem !== null && !wasDown && record?.state !== 'down'
    if (live.again || isSuspect) return schedule(live, 0)
    const usual = record?.state === 'up' ? health.intervalMs : Math.min(health.intervalMs, DOWN_INTERVAL_MS)
    schedule(live, usual * (0.9 + 0.2 * random()))
  }

  /** Reports once that the probe itself seems to be wrong. */
  const doubt = (live: LiveMember, problem: string): void => {
    const record = recordOf(live)
    if (record !== undefined) record.lastProblem = problem
    if (live.doubted) return
    live.doubted = true
    const { health, id } = live.group.group
    reporter.report('upstream.failed', {
      group: id,
      member: live.member.id,
      code: 'probe-unexpected',
      problem: `${problem} (${health.method} ${health.path}); it has never been answered as the policy expects, so it says nothing about the server, which goes on being used: correct \`health\` of the group or of the profile`,
    })
  }

  const apply = (snapshot: Snapshot): void => {
    const before = groups
    const membersBefore = liveOf
    groups = new Map()
    liveOf = new WeakMap()
    for (const group of snapshot.upstreams.values()) {
      const live = makeGroup(group, publicHost(snapshot, group), before.get(group.id), clock())
      groups.set(group.id, live)
      for (const member of live.members) {
        liveOf.set(member.member, member)
        schedule(member, 0)
      }
    }
    for (const old of before.values()) {
      for (const member of old.members) {
        stopMember(member)
        // Requests that still run with the member of the old policy tell of the same server.
        const heir = groups.get(old.group.id)?.members.find(next => isSameServer(next.member, member.member))
        if (heir !== undefined && membersBefore.has(member.member)) liveOf.set(member.member, heir)
      }
    }
  }

  return {
    pick: (groupId, not) => {
      const live = groups.get(groupId)
      if (live === undefined) return null
      const isExcluded = (position: number): boolean =>
        not !== undefined && not.includes(live.members[position]?.member.id ?? '')
      const position = live.health.pick(isExcluded)
      return position === null ? null : (live.members[position]?.member ?? null)
    },
    isUp: groupId => (groups.get(groupId)?.health.serving ?? null) !== null,
    failed: (member, problem, code) => {
      const live = liveOf.get(member)
      if (live === undefined) return
      const isFirst = recordOf(live)?.strikes === 0
      take(live, { kind: 'live-failed', problem })
      if (isFirst) {
        const fields = { group: live.group.group.id, member: member.id, problem }
        reporter.report('upstream.failed', { ...fields, code: code ?? 'upstream-unreachable' })
      }
      if (live.probing) live.again = true
      else if (isFirst) schedule(live, 0)
    },
    succeeded: member => {
      const live = liveOf.get(member)
      const record = live === undefined ? undefined : recordOf(live)
      if (live === undefined || record === undefined) return
      if (record.strikes > 0) take(live, { kind: 'live-ok' })
    },
    health: () =>
      [...groups.values()].flatMap(live => live.members.map(member => describe(member, openRequests))),
    apply,
    clientChanged: (key, client, attached) => {
      for (const live of [...groups.values()].flatMap(group => group.members)) {
        const { via } = live.member
        if (via?.key !== key || via.client !== client) continue
        if (!attached) take(live, { kind: 'live-failed', problem: `connector ${via.connector} is gone` })
        if (live.probing) live.again = true
        else schedule(live, 0)
      }
    },
    close: () => {
      for (const live of groups.values()) for (const member of live.members) stopMember(member)
      groups = new Map()
    },
  }
}

function makeGroup(
  group: UpstreamGroup,
  host: string,
  before: LiveGroup | undefined,
  nowMs: number,
): LiveGroup {
  const heirs = group.members.map(member => before?.members.find(old => isSameServer(old.member, member)))
  const isSameProbe = before !== undefined && probeText(before.group) === probeText(group)
  const records = heirs.map(heir => {
    const record = heir === undefined ? undefined : recordOf(heir)
    // What another probe found wrong says nothing under this one: a wrong path taken back must not cost a second more.
    const isKept = record !== undefined && (isSameProbe || record.state !== 'down')
    return isKept ? record : unknownMember(nowMs, group.returnAfterMs)
  })
  const served = before?.health.serving ?? null
  const serving = served === null ? -1 : heirs.findIndex(heir => heir?.position === served)
  const health = new GroupHealth(records, group.returnAfterMs, serving < 0 ? null : serving)
  const live: LiveGroup = { group, health, host, members: [] }
  for (const [position, member] of group.members.entries()) {
    const proven = isSameProbe && heirs[position]?.proven === true
    const doubted = isSameProbe && heirs[position]?.doubted === true
    const idle = { timer: null, probing: false, again: false }
    live.members.push({
      member,
      group: live,
      position,
      stop: new AbortController(),
      ...idle,
      proven,
      doubted,
    })
  }
  return live
}

/**
 * What a probe found wrong; null: nothing, or nothing that counts. A server that answers a probe which no member has ever
 * passed shows that the probe is wrong, a path with a typing mistake say, and must not be taken from its fleet.
 */
function problemOf(live: LiveMember, result: ProbeResult): string | null {
  if (result.kind === 'failed') return result.problem
  if (result.kind !== 'unexpected') return null
  return live.group.members.some(({ proven }) => proven) ? result.problem : null
}

function probeText({ health }: UpstreamGroup): string {
  const { method, path, statuses, bodyPattern } = health
  return JSON.stringify([method, path, [...statuses], bodyPattern?.source ?? null])
}

function stopMember(live: LiveMember): void {
  if (live.timer !== null) clearTimeout(live.timer)
  live.stop.abort()
}

function recordOf(live: LiveMember): ReturnType<typeof unknownMember> | undefined {
  return live.group.health.records[live.position]
}

function isSameServer(a: UpstreamMember, b: UpstreamMember): boolean {
  return JSON.stringify([a.id, a.origin, a.tls, a.via]) === JSON.stringify([b.id, b.origin, b.tls, b.via])
}

/** The first public name of the group, which is what real requests carry when Host is preserved. */
function publicHost(snapshot: Snapshot, group: UpstreamGroup): string {
  const name = snapshot.names.find(name => name.upstream === group.id && !name.host.startsWith('*'))
  return group.hostHeader === 'preserve' ? (name?.host ?? '') : ''
}

function hostFor(live: LiveMember): string {
  if (live.group.host !== '') return live.group.host
  const { host, port, protocol } = live.member.origin
  const name = host.includes(':') ? `[${host}]` : host
  return port === (protocol === 'https' ? 443 : 80) ? name : `${name}:${port}`
}

function describe(live: LiveMember, openRequests: (member: UpstreamMember) => number): MemberHealth {
  const record = recordOf(live)
  return {
    group: live.group.group.id,
    member: live.member.id,
    state: record?.state ?? 'unknown',
    sinceMs: record?.sinceMs ?? 0,
    lastProblem: record?.lastProblem ?? null,
    serving: live.group.health.serving === live.position,
    openRequests: openRequests(live.member),
  }
}

function reportChange(reporter: Reporter, live: LiveGroup, change: HealthChange): void {
  const group = live.group.id
  const idOf = (position: number | null): string | null =>
    position === null ? null : (live.members[position]?.member.id ?? null)
  switch (change.kind) {
    case 'suspected':
      return
    case 'down':
      return reporter.report('upstream.down', {
        group,
        member: idOf(change.member) ?? '',
        problem: change.problem,
      })
    case 'up':
      return reporter.report('upstream.up', {
        group,
        member: idOf(change.member) ?? '',
        downMs: change.downMs,
      })
    case 'switched':
      return reporter.report('upstream.switched', {
        group,
        from: idOf(change.from),
        to: idOf(change.to),
        why: change.why,
      })
  }
}
