// Events of the heartbeats over UDP: refused datagrams, flows, and servers that do not answer.
import { REASONS } from '../../policy/reasons.ts'
import { formatDuration, formatTime, plural, type Definitions } from '../definition.ts'
import type { ClientFields } from '../events.ts'
import type { DatagramFields } from '../events-heartbeat.ts'

type Names =
  | 'heartbeat.refused'
  | 'heartbeat.opened'
  | 'heartbeat.counted'
  | 'heartbeat.closed'
  | 'heartbeat.unanswered'
  | 'heartbeat.answered'
  | 'heartbeat.flood'
  | 'heartbeat.overrun'

// Datagrams of another class than heartbeats go the same way.
const what = (f: DatagramFields): string => (f.class === undefined ? 'heartbeat' : 'datagram')
const subject = (f: DatagramFields): string => (f.class === undefined ? 'Heartbeats' : 'Datagrams')

const who = (f: ClientFields): string =>
  `${f.address}:${f.port} (${f.country}${f.site === null ? '' : `, site ${f.site}`})`

/** Definitions of the events about heartbeats. */
export const HEARTBEAT_EVENTS: Definitions<Names> = {
  'heartbeat.refused': {
    code: 'H01',
    severity: 'info',
    when: 'Heartbeat datagrams were refused. The first of a source is reported at once, the others of a minute together; the ledger and the count in the fields have all of them.',
    sentence: f =>
      `Refused ${plural(f.count, what(f))} of ${who(f)} on ${f.listener}: ${REASONS[f.reason].because}${f.saw === '' ? '' : ` (${f.saw})`}; decided by ${f.line}. ${REASONS[f.reason].remedy}`,
    counter: {
      name: 'portcullis_heartbeat_refusals_total',
      help: 'Reports of refused heartbeats; each may stand for many datagrams',
      labels: ['reason', 'listener', 'country'],
      values: f => [f.reason, f.listener, f.country],
    },
    stored: true,
    fromClients: true,
  },
  'heartbeat.opened': {
    code: 'H02',
    severity: 'debug',
    when: 'The first heartbeat of an address and port was let in.',
    sentence: f => `${subject(f)} of ${who(f)} began on ${f.listener}.`,
    counter: {
      name: 'portcullis_heartbeat_flows_opened_total',
      help: 'Heartbeat flows opened',
      labels: ['listener'],
      values: f => [f.listener],
    },
    stored: false,
    fromClients: true,
  },
  'heartbeat.counted': {
    code: 'H03',
    severity: 'debug',
    when: 'What a heartbeat flow did since its last report, about every 20 s: the ledger is fed from it.',
    sentence: f =>
      `${who(f)} sent ${plural(f.heartbeats, what(f))} and got ${plural(f.replies, 'reply', 'replies')}.`,
    counter: null,
    stored: false,
    fromClients: true,
  },
  'heartbeat.closed': {
    code: 'H04',
    severity: 'debug',
    when: 'A heartbeat flow has ended: the client was silent, or had to give way, or is refused now.',
    sentence: f =>
      `${subject(f)} of ${who(f)} ended (${f.ending}) after ${formatDuration(f.durationMs)}: ${plural(f.heartbeats, what(f))}, the last at ${formatTime(f.lastHeartbeatMs)}; ${plural(f.replies, 'reply', 'replies')}${f.lastReplyMs === null ? '' : `, the last at ${formatTime(f.lastReplyMs)}`}; ${f.withheld} kept back.`,
    counter: {
      name: 'portcullis_heartbeat_flows_closed_total',
      help: 'Heartbeat flows that have ended',
      labels: ['listener', 'ending'],
      values: f => [f.listener, f.ending],
    },
    stored: false,
    fromClients: true,
  },
  'heartbeat.unanswered': {
    code: 'H05',
    severity: 'error',
    when: 'Heartbeats reach the RMM server, and it has answered none of them for 30 s.',
    sentence: f =>
      `The RMM server ${f.upstream} behind ${f.listener} has answered none of the last ${plural(f.heartbeats, 'heartbeat')} since ${formatTime(f.sinceMs)}. ${f.connector === 'away' ? 'Its connector is not attached: look at bin/connector on the RMM server.' : f.connector === 'not-offered' ? 'Its connector is attached and does not offer this service: add it to the file of the connector.' : f.portClosed ? 'Its machine says that nothing listens on this UDP port: start the service, or correct upstream in the policy.' : 'Look at the firewall of the RMM server (UDP, from the address of the gate), at its service, and at the port of upstream in the policy.'}`,
    counter: {
      name: 'portcullis_heartbeats_unanswered_total',
      help: 'Times an RMM server stopped answering heartbeats',
      labels: ['listener'],
      values: f => [f.listener],
    },
    stored: true,
    fromClients: false,
  },
  'heartbeat.answered': {
    code: 'H06',
    severity: 'info',
    when: 'The RMM server answers heartbeats again.',
    sentence: f => `The RMM server ${f.upstream} behind ${f.listener} answers heartbeats again.`,
    counter: null,
    stored: true,
    fromClients: false,
  },
  'heartbeat.flood': {
    code: 'H11',
    severity: 'warning',
    when: 'More new clients sent heartbeats per second than the listener takes. Reported at once, then once a minute while it goes on.',
    sentence: f =>
      `${plural(f.datagrams, 'heartbeat')} of new clients were refused on ${f.listener}, which opens at most ${f.newFlows} flows per second; the ${plural(f.flows, 'flow')} that it has go on. After an outage agents get in with their next heartbeats. If it does not end, somebody sends from forged addresses: sites, and addresses that have had answers, have places of their own.`,
    counter: {
      name: 'portcullis_heartbeat_floods_total',
      help: 'Reports of more new heartbeat flows than a listener opens; each may stand for many',
      labels: ['listener'],
      values: f => [f.listener],
    },
    stored: true,
    fromClients: false,
  },
  'heartbeat.overrun': {
    code: 'H16',
    severity: 'warning',
    when: 'The system dropped heartbeats of the last minute before the gate saw them: more came at once than the receive buffer of the socket holds (Linux counts them).',
    sentence: f =>
      `${plural(f.datagrams, 'heartbeat')} to UDP port ${f.port} (${f.listener}) were dropped by the system in the last minute, because the gate did not get to them in time. Raise the buffer (sysctl net.core.rmem_max=4194304, then restart the gate), and look at what keeps the processors busy.`,
    counter: {
      name: 'portcullis_heartbeat_overruns_total',
      help: 'Reports of heartbeats that the system dropped; each may stand for many',
      labels: ['listener'],
      values: f => [f.listener],
    },
    stored: true,
    fromClients: false,
  },
}
