// Findings about heartbeats over UDP: the connector behind them is away, replies are missing, or only one of heartbeats and check-ins comes. Pure.
import { AGENT_CLASSES } from '../policy/classes.ts'
import { isSilent } from './check-ins.ts'
import type { ConnectorTrouble, PresenceCount, SiteHeartbeatState } from '../policy/running-state.ts'
import { fixContext, problem, subjectOf, timeWords, type Diagnosis, type Evidence } from './finding.ts'
import { makeFix, onGate } from './fix.ts'
import * as clients from './fixes-client.ts'
import { productOf } from './trouble.ts'

/** What is to be said of the agents of a site (null: of no site); null: all are on time. */
export function goneWords(site: string | null, { present, late, gone }: PresenceCount): string | null {
  const known = present + late + gone
  if (late + gone === 0) return null
  const agents = `${known} agent${known === 1 ? '' : 's'}`
  if (site !== null && gone === known && known > 1)
    return `the whole of site ${site} is gone (${agents}): look at the line and the firewall of that place`
  const words = [...(gone === 0 ? [] : [`${gone} gone`]), ...(late === 0 ? [] : [`${late} late`])]
  return `of ${agents} of ${site ?? 'no site'} ${words.join(', ')}`
}

/** What the running gate says of one heartbeats listener. */
export type HeartbeatListenerFacts = {
  readonly listener: string
  readonly upstream: string
  /** What is wrong with the connector behind it; null: nothing, or there is none. */
  readonly connectorTrouble: ConnectorTrouble
  readonly awaySinceMs: number | null
  readonly portClosed: boolean
  /** Heartbeats of the site of the address, as counted since the start of the gate; null: none yet. */
  readonly site: SiteHeartbeatState | null
  /** (Nearly) all agents, of several places, are gone. */
  readonly allGone: boolean
}

/** The connector behind a listener that the address sends to is the cause. */
export function connectorTrouble(evidence: Evidence): Diagnosis | null {
  const { address, activity, heartbeatListeners = [] } = evidence
  const used = activity?.heartbeats?.listeners ?? []
  const found = heartbeatListeners.find(
    entry => entry.connectorTrouble !== null && used.includes(entry.listener),
  )
  if (found === undefined) return null
  const { listener, upstream, portClosed, awaySinceMs } = found
  const [, name = '', service = ''] = /^connector:\/\/([^/]+)\/(.+)$/.exec(upstream) ?? []
  const closed = portClosed ? ' The public UDP port is closed until it is back.' : ''
  if (found.connectorTrouble === 'not-offered') {
    return problem(
      'heartbeats-unanswered',
      `Heartbeats of ${address} get no reply, because the connector ${name} is attached and does not offer ${service}.${closed}`,
      makeFix([
        `On the RMM server, name the service ${service} (UDP) in the file of the connector; it is taken up when the connector starts again.`,
        `Or correct upstream of heartbeats ${listener} in the policy.`,
      ]),
    )
  }
  const since =
    awaySinceMs === null || awaySinceMs === 0
      ? ''
      : ` since ${new Date(awaySinceMs).toISOString().slice(0, 16).replace('T', ' ')} UTC`
  return problem(
    'heartbeats-unanswered',
    `Heartbeats of ${address} get no reply, because the connector ${name} behind ${listener} has not been attached${since}.${closed}`,
    makeFix([
      'On the RMM server, look whether bin/connector runs, and what its log says last.',
      'It needs a way out to the gate: TCP to the port of the gate, directly or through its proxy, and nothing else.',
      onGate(`bin/portcullis status${evidence.commandOptions}`, 'See when it is back: '),
    ]),
    awaySinceMs === null || awaySinceMs === 0
      ? []
      : [{ atMs: awaySinceMs, text: 'the connector was there last' }],
  )
}

const BEATING_MS = 10 * 60_000

/** Alive, but not here: heartbeats come while check-ins do not. */
export function elsewhere(evidence: Evidence): Diagnosis | null {
  const { activity, publicHost, nowMs } = evidence
  const heartbeats = activity?.heartbeats ?? null
  if (activity === null || heartbeats === null || nowMs - heartbeats.lastMs > BEATING_MS) return null
  const lastMs = lastCheckIn(evidence)
  if (lastMs !== null && !isSilent(evidence, lastMs)) return null
  if (activity.outcomes.length > 0 && lastMs === null) return null
  const since = lastMs === null ? 'none has come' : `the last came at ${timeWords(lastMs)}`
  return problem(
    'direct-address',
    `Heartbeats of ${subjectOf(evidence)} come through the gate, check-ins do not (${since}): its agents reach the RMM server by its direct address.`,
    clients.directAddress(publicHost, productOf(evidence)),
    [{ atMs: heartbeats.lastMs, text: 'its newest heartbeat' }],
  )
}

/** The newest request of an agent class that passed; null: none did. */
export function lastCheckIn({ activity }: Evidence): number | null {
  const times = (activity?.classes ?? []).flatMap(entry =>
    AGENT_CLASSES.includes(entry.class) && entry.class !== 'heartbeat' && entry.lastPassedMs !== null
      ? [entry.lastPassedMs]
      : [],
  )
  return times.length === 0 ? null : Math.max(...times)
}

/** Replies may be missing so long between two reports of a flow without anything being wrong. */
const STOPPED_MS = 60_000

/** The RMM server does not answer heartbeats, or does not any more. */
export function unansweredHeartbeats(evidence: Evidence): Diagnosis | null {
  const { activity, address } = evidence
  const heartbeats = activity?.heartbeats ?? null
  if (heartbeats === null || heartbeats.unanswered === 0) return null
  const { answered, unanswered, lastMs, lastAnsweredMs, listeners } = heartbeats
  const fix = clients.heartbeats(fixContext(evidence), evidence.explanation.standing.snapshot, listeners)
  if (lastAnsweredMs === null) {
    return problem(
      'heartbeats-unanswered',
      `Heartbeats of ${address} reach the RMM server, but no reply has come: ${unanswered} sent on to it, 0 answered. Agents check in all the same, only later when a technician calls them.`,
      fix,
      [{ atMs: lastMs, text: 'the newest heartbeat that was not answered' }],
    )
  }
  if (lastMs - lastAnsweredMs < STOPPED_MS) return null
  return problem(
    'replies-stopped',
    `The RMM server has stopped answering the heartbeats of ${address}: the last of ${answered} answered ones was at ${timeWords(lastAnsweredMs)}, and it was heard until ${new Date(lastMs).toISOString().slice(11, 16)}.`,
    fix,
    [{ atMs: lastAnsweredMs, text: 'the last heartbeat that was answered' }],
  )
}

const HOUR_MS = 3_600_000

/** Check-ins go on, heartbeats do not come any more: something on the way drops UDP now. */
export function heartbeatsStopped(evidence: Evidence): Diagnosis | null {
  const { activity, publicHost, explanation } = evidence
  const heartbeats = activity?.heartbeats ?? null
  const checkInMs = lastCheckIn(evidence)
  if (heartbeats === null || checkInMs === null || checkInMs - heartbeats.lastMs < HOUR_MS) return null
  const listener = explanation.standing.snapshot.heartbeats.find(({ id }) =>
    heartbeats.listeners.includes(id),
  )
  const port = listener?.endpoints[0]?.port
  if (port === undefined) return null
  return problem(
    'heartbeats-stopped',
    `${subjectOf(evidence)} checks in, but none of its heartbeats has come since ${timeWords(heartbeats.lastMs)}: something at the site or on the way drops UDP port ${port} now. Its agents work, only later when a technician calls them.`,
    clients.heartbeatsBlocked(fixContext(evidence), publicHost, port),
    [{ atMs: heartbeats.lastMs, text: 'its last heartbeat' }],
  )
}
