// What a source met on listeners for heartbeats: too many flows, or datagrams that are too large.
import { isForwardId } from '../policy/invitations.ts'
import { REASONS } from '../policy/reasons.ts'
import type { HeartbeatListener } from '../policy/snapshot.ts'
import type { OutcomeCount } from './activity.ts'
import { fixContext, problem, subjectOf, witnessed, type Diagnosis, type Evidence } from './finding.ts'
import { makeFix, onGate, type Fix } from './fix.ts'
import { remedyOf } from './fixes.ts'

type HeartbeatReason =
  'flow-limit-source' | 'flow-limit-total' | 'flow-rate-source' | 'flow-rate-total' | 'datagram-too-large'

/** Largest payload of a UDP datagram over IPv4 (RFC 768, RFC 791). */
const MAX_DATAGRAM = 65_507
const MAX_FLOWS = 1_000_000
const MAX_RATE = 100_000

/** Says what a refusal of a heartbeat means. */
export function heartbeatOutcome(
  kind: HeartbeatReason,
  outcome: OutcomeCount,
  evidence: Evidence,
  times: string,
): Diagnosis {
  const { snapshot } = evidence.explanation.standing
  const listener = snapshot.heartbeats.find(({ id }) => outcome.listeners.includes(id))
  const on = outcome.listeners.join(', ')
  const isHelp = outcome.listeners.every(isForwardId)
  const who = `${isHelp ? 'Datagrams' : 'Heartbeats'} of ${subjectOf(evidence)}`
  const meanwhile = isHelp
    ? 'Remote control goes on over TCP, only slower.'
    : 'Its agents check in all the same, only later when a technician calls them.'
  return problem(
    kind === 'datagram-too-large' ? 'body' : 'capacity',
    `${who} were refused on ${on} ${times} because ${REASONS[kind].because}. ${meanwhile}`,
    listener === undefined ? remedyOf(kind) : roomFor(kind, listener, evidence),
    [witnessed(evidence, kind)],
  )
}

function roomFor(kind: HeartbeatReason, listener: HeartbeatListener, evidence: Evidence): Fix {
  const { commandOptions } = fixContext(evidence)
  const { id, flows, flowsPerSource, newFlows, newFlowsPerSource, datagramBytes } = listener
  if (kind === 'datagram-too-large') {
    return makeFix(
      ['If the agents of this product send such heartbeats, take them:'],
      patch(id, `datagramSize: ${Math.min(MAX_DATAGRAM, 2 * datagramBytes)}B`),
    )
  }
  if (kind === 'flow-rate-source' || kind === 'flow-rate-total') {
    const [key, now] =
      kind === 'flow-rate-source' ? ['newFlowsPerSource', newFlowsPerSource] : ['newFlows', newFlows]
    return makeFix(
      [REASONS[kind].remedy, 'If it stays like this, allow more:'],
      patch(id, `${key}: ${Math.min(MAX_RATE, 2 * now)}`),
    )
  }
  const look = onGate(`bin/portcullis status${commandOptions}`, 'See how many flows are open: ')
  if (kind === 'flow-limit-total') {
    return makeFix(
      [
        look,
        'If they are all yours, allow more. Each flow needs one open file: raise the file limit of the service (LimitNOFILE), too:',
      ],
      patch(id, `flows: ${Math.min(MAX_FLOWS, 2 * flows)}`),
    )
  }
  return makeFix(
    [look, 'If so many agents stand behind this address, give it more room:'],
    patch(id, `flowsPerSource: ${Math.min(MAX_FLOWS, 2 * flowsPerSource)}`),
  )
}

function patch(id: string, key: string): string {
  return `heartbeats:\n  ${id}: { ${key} }\n`
}
