// Events of heartbeats that go through the tunnel of a connector: the public port, and datagrams that it did not carry.
import { formatDuration, plural, type Definitions } from '../definition.ts'

type Names =
  'heartbeat.port-closed' | 'heartbeat.port-opened' | 'heartbeat.dropped' | 'heartbeat.context-refused'

/** Definitions of the events about heartbeats in tunnels. */
export const HEARTBEAT_TUNNEL_EVENTS: Definitions<Names> = {
  'heartbeat.port-closed': {
    code: 'H07',
    severity: 'error',
    when: 'The connector behind a heartbeats listener has been away for 15 s. The public UDP port is closed until it is back, so that senders are told by the system instead of waiting.',
    sentence: f =>
      `The UDP port of ${f.listener} is closed, because ${f.upstream} ${f.connector === 'away' ? `has been without its connector for ${formatDuration(f.awayMs)}. Look at bin/connector on the RMM server, and at its way out to the gate.` : 'is not offered by its connector. Add the service to the file of the connector, or correct upstream in the policy.'}`,
    counter: {
      name: 'portcullis_heartbeat_ports_closed_total',
      help: 'Times a public UDP port was closed because its connector was away',
      labels: ['listener'],
      values: f => [f.listener],
    },
    stored: true,
    fromClients: false,
  },
  'heartbeat.port-opened': {
    code: 'H08',
    severity: 'info',
    when: 'The connector behind a heartbeats listener is back, and the public UDP port is open again.',
    sentence: f =>
      `The UDP port of ${f.listener} opens again: ${f.upstream} is back after ${formatDuration(f.awayMs)}.`,
    counter: null,
    stored: true,
    fromClients: false,
  },
  'heartbeat.dropped': {
    code: 'H09',
    severity: 'warning',
    when: 'The tunnel of a connector did not carry some datagrams of the last minute: they waited for more than 2 s, too many waited, or the connector was away. Forged ones came from the connector itself.',
    sentence: f =>
      `${plural(f.aged + f.overflow + f.away, 'datagram')} between ${f.listener} and ${f.upstream} were dropped: ${f.aged} had waited for 2 s, ${f.overflow} were too many, ${f.away} found no connector.${f.forged === 0 ? '' : ` The connector sent ${plural(f.forged, 'datagram')} to sources that it does not have: look at what runs there.`}`,
    counter: {
      name: 'portcullis_heartbeat_drop_reports_total',
      help: 'Reports of datagrams that the tunnel of a connector did not carry; each may stand for many',
      labels: ['listener'],
      values: f => [f.listener],
    },
    stored: true,
    fromClients: false,
  },
  'heartbeat.context-refused': {
    code: 'H10',
    severity: 'warning',
    when: 'A connector did not take sources of datagrams in the last minute: it has as many as its file allows, or does not offer the service.',
    sentence: f =>
      `The connector of ${f.upstream} did not take ${plural(f.count, 'source')} of ${f.listener}. Raise contexts of the service in the file of the connector, or find out who sends.`,
    counter: {
      name: 'portcullis_heartbeat_contexts_refused_total',
      help: 'Reports of sources that a connector did not take; each may stand for many',
      labels: ['listener'],
      values: f => [f.listener],
    },
    stored: true,
    fromClients: false,
  },
}
