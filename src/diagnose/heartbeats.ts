// Findings about heartbeats over UDP that go through a connector: when it is away, nothing else matters. Pure.
import { problem, type Diagnosis, type Evidence } from './finding.ts'
import { makeFix, onGate } from './fix.ts'

/** Senders of heartbeats: on time, silent for twice the expected interval, and for three times. */
export type SenderCount = { readonly present: number; readonly late: number; readonly gone: number }

/** What is to be said of the agents of a site (null: of no site); null: all are on time. */
export function goneWords(site: string | null, { present, late, gone }: SenderCount): string | null {
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
  readonly connectorTrouble: 'away' | 'not-offered' | null
  readonly awaySinceMs: number | null
  readonly portClosed: boolean
  /** Heartbeats of the site of the address, as counted since the start of the gate; null: none yet. */
  readonly site: {
    readonly site: string | null
    readonly heartbeats: number
    readonly replies: number
    readonly lastHeartbeatMs: number
    readonly lastReplyMs: number | null
    /** Heartbeats lost between the site and the gate, estimated from senders with a rhythm; null: too few to say. */
    readonly lossPercent: number | null
    /** Agents in their expected interval, late and gone; null: nobody is expected. */
    readonly senders: SenderCount | null
  } | null
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
