// Events of raw TCP: refused, opened and ended streams, and sides that do not speak the same.
import { REASONS } from '../../policy/reasons.ts'
import { formatDuration, type Definitions } from '../definition.ts'
import type { ClientFields } from '../events.ts'
import type { StreamFields } from '../events-streams.ts'

type Names =
  | 'stream.refused'
  | 'stream.opened'
  | 'stream.counted'
  | 'stream.mismatch'
  | 'stream.closed'
  | 'stream.lone-session'

const who = (f: ClientFields): string =>
  `${f.address}:${f.port} (${f.country}${f.site === null ? '' : `, site ${f.site}`})`

const where = (f: StreamFields): string => `${f.listener}, port ${f.localPort}`

/** Definitions of the events about raw TCP. */
export const STREAM_EVENTS: Definitions<Names> = {
  'stream.refused': {
    code: 'S01',
    severity: f => (f.reason === 'netsupport-elsewhere' || f.reason === 'rule' ? 'warning' : 'info'),
    when: 'A raw TCP stream was refused. The client sees a reset; where it spoke TLS or HTTP, an alert or an answer with the reason.',
    sentence: f =>
      `Refused the stream of ${who(f)} on ${where(f)}: ${REASONS[f.reason].because}${f.saw === '' ? '' : ` (${f.saw})`}; decided by ${f.line}. ${REASONS[f.reason].remedy} Reference ${f.reference}.`,
    counter: {
      name: 'portcullis_streams_refused_total',
      help: 'Raw TCP streams refused',
      labels: ['phase', 'reason', 'listener', 'country'],
      values: f => [f.phase, f.reason, f.listener, f.country],
    },
    stored: true,
    fromClients: true,
  },
  'stream.opened': {
    code: 'S02',
    severity: 'debug',
    when: 'A raw TCP stream was joined to its server.',
    sentence: f =>
      `Stream of ${who(f)} on ${where(f)} goes to ${f.upstream}, class ${f.class ?? 'none'}${f.serverName === null ? '' : `, for ${f.serverName}`}; the server answered after ${formatDuration(f.connectMs)}.`,
    counter: {
      name: 'portcullis_streams_opened_total',
      help: 'Raw TCP streams joined to their server',
      labels: ['listener', 'class', 'member'],
      values: f => [f.listener, f.class ?? 'none', f.member],
    },
    stored: false,
    fromClients: true,
  },
  'stream.counted': {
    code: 'S03',
    severity: 'debug',
    when: 'What an open stream carried since its last report, about every hour: sessions of days are seen by the ledger.',
    sentence: f =>
      `Stream of ${who(f)} on ${where(f)} is open: ${f.bytesIn} bytes in and ${f.bytesOut} bytes out since the last report.`,
    counter: null,
    stored: false,
    fromClients: true,
  },
  'stream.mismatch': {
    code: 'S04',
    severity: 'warning',
    when: 'On a raw TCP stream one side speaks TLS and the other does not, so they cannot understand each other.',
    sentence: f =>
      f.what === 'tls-to-plain'
        ? `${who(f)} speaks TLS on ${where(f)}, but the server ${f.upstream} does not answer in TLS. Switch TLS (SSL) off at this client, or on at the server: the setting must be the same everywhere. Reference ${f.reference}.`
        : `${who(f)} speaks plain text on ${where(f)}, but the server ${f.upstream} answers in TLS. Switch TLS (SSL) on at this client, or set upstreamTls for the stream. Reference ${f.reference}.`,
    counter: {
      name: 'portcullis_stream_mismatches_total',
      help: 'Streams of which one side speaks TLS and the other does not',
      labels: ['listener', 'kind'],
      values: f => [f.listener, f.what],
    },
    stored: true,
    fromClients: true,
  },
  'stream.closed': {
    code: 'S05',
    severity: f => (f.ending === 'internal-error' ? 'error' : 'debug'),
    when: 'A raw TCP stream has ended.',
    sentence: f =>
      `Stream of ${who(f)} on ${where(f)} to ${f.upstream} ended (${f.ending}) after ${formatDuration(f.durationMs)}: ${f.bytesIn} bytes in, ${f.bytesOut} bytes out.${f.bytesIn + f.bytesOut === 0 ? ' A port test looks like this: the way to the server is open.' : ''}`,
    counter: {
      name: 'portcullis_streams_closed_total',
      help: 'Raw TCP streams that have ended',
      labels: ['listener', 'class', 'ending'],
      values: f => [f.listener, f.class ?? 'none', f.ending],
    },
    stored: false,
    fromClients: true,
  },
  'stream.lone-session': {
    code: 'S06',
    severity: 'warning',
    when: 'A client of a product that holds two connections when notifications come over TCP held one for a minute or more, and no second one ever. Once a day for each address; several clients behind one address are not told apart, so it is a hint.',
    sentence: f =>
      `${f.address} (${f.country}${f.site === null ? '' : `, site ${f.site}`}) held a single connection to ${f.product} on ${f.listener} for ${formatDuration(f.durationMs)}; with notifications over TCP there are two. It seems to wait for notifications over UDP, which the server sends to the address of the gate, so they never arrive: ${f.advice}.`,
    counter: {
      name: 'portcullis_stream_lone_sessions_total',
      help: 'Clients that seem to wait for notifications over UDP',
      labels: ['listener'],
      values: f => [f.listener],
    },
    stored: true,
    fromClients: true,
  },
}
