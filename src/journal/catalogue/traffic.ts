// Events of connections, requests, rules and WebSockets.
import { REASONS } from '../../policy/reasons.ts'
import { formatDuration, plural, stop, type Definitions } from '../definition.ts'
import type { ClientFields, HelloFields, RefusalFields } from '../events.ts'

type Names =
  | 'connection.refused'
  | 'connection.silent'
  | 'handshake.failed'
  | 'connection.closed'
  | 'request.refused'
  | 'request.closed'
  | 'rule.detected'
  | 'rate.held'
  | 'request.cross-origin'
  | 'inspection.incomplete'
  | 'websocket.opened'

const who = (f: ClientFields): string =>
  `${f.address} (${f.country}${f.site === null ? '' : `, site ${f.site}`})`

const offered = (f: Partial<HelloFields>): string =>
  f.offered === undefined || f.offered.length === 0 ? 'no known TLS version' : f.offered.join(', ')

const why = (f: RefusalFields): string => {
  const definition = REASONS[f.reason]
  const saw = f.saw === '' ? '' : ` (${f.saw})`
  return `${definition.because}${saw}; decided by ${f.line}. ${definition.remedy} Reference ${f.reference}.`
}

/** Definitions of the events about traffic. */
export const TRAFFIC_EVENTS: Definitions<Names> = {
  'connection.refused': {
    code: 'C01',
    severity: 'info',
    when: 'A connection was refused before any request: at accept or by its ClientHello.',
    sentence: f => `Refused ${who(f)} on ${f.listener}: ${why(f)}`,
    counter: {
      name: 'portcullis_connections_refused_total',
      help: 'Connections refused at accept or by their ClientHello',
      labels: ['phase', 'reason', 'listener', 'country'],
      values: f => [f.phase, f.reason, f.listener, f.country],
    },
    stored: true,
    fromClients: true,
  },
  'connection.silent': {
    code: 'C02',
    severity: 'debug',
    when: 'A client connected, sent nothing and left: what a port test does.',
    sentence: f =>
      `${who(f)} connected to ${f.listener}, sent nothing and left after ${formatDuration(f.durationMs)}. A port test looks like this: the way to the gate is open.`,
    counter: {
      name: 'portcullis_connections_silent_total',
      help: 'Connections that sent nothing',
      labels: ['listener'],
      values: f => [f.listener],
    },
    stored: false,
    fromClients: true,
  },
  'handshake.failed': {
    code: 'C03',
    severity: 'info',
    when: 'The ClientHello was accepted but the TLS handshake did not finish.',
    sentence: f =>
      `The TLS handshake with ${who(f)} failed (${f.code}): ${stop(f.problem)} The client offered ${offered(f)} for ${f.serverName ?? 'no name'}. Look for a certificate that the client does not trust, missing ciphers, or a middlebox.`,
    counter: {
      name: 'portcullis_handshakes_failed_total',
      help: 'TLS handshakes that did not finish',
      labels: ['listener', 'code'],
      values: f => [f.listener, f.code],
    },
    stored: true,
    fromClients: true,
  },
  'connection.closed': {
    code: 'C04',
    severity: f => (f.ending === 'internal-error' ? 'error' : 'debug'),
    when: 'A connection that was let in has ended.',
    sentence: f =>
      `Connection of ${who(f)} ended (${f.ending}) after ${formatDuration(f.durationMs)}: ${f.requests} requests, ${f.bytesIn} bytes in, ${f.bytesOut} bytes out, ${f.negotiated ?? 'no TLS'}.`,
    counter: {
      name: 'portcullis_connections_closed_total',
      help: 'Connections that were let in and have ended',
      labels: ['listener', 'tls', 'resumed', 'ending'],
      values: f => [f.listener, f.negotiated ?? 'none', f.resumed ? 'yes' : 'no', f.ending],
    },
    stored: false,
    fromClients: true,
  },
  'request.refused': {
    code: 'R01',
    severity: f => (f.reason === 'rule' ? 'warning' : 'info'),
    when: 'A request was refused.',
    sentence: f =>
      f.method === ''
        ? `Refused a request of ${who(f)} that could not be read: ${why(f)}`
        : `Refused ${f.method} ${f.host}${f.path} of ${who(f)}: ${why(f)}`,
    counter: {
      name: 'portcullis_requests_refused_total',
      help: 'Requests refused',
      labels: ['reason', 'class', 'listener', 'country'],
      values: f => [f.reason, f.class ?? 'none', f.listener, f.country],
    },
    stored: true,
    fromClients: true,
  },
  'request.closed': {
    code: 'R02',
    severity: f => (f.ending === 'internal-error' ? 'error' : 'info'),
    when: 'A request that was let through has ended. `journal.requests` says which of them are logged.',
    sentence: f =>
      `${f.method} ${f.host}${f.path} of ${who(f)}, class ${f.class}: ${f.status} by ${f.upstream} (${f.ending}) in ${formatDuration(f.durationMs)}, ${f.bytesIn} bytes in, ${f.bytesOut} bytes out.${typeof f.reference === 'string' ? ` Reference ${f.reference}.` : ''}`,
    counter: {
      name: 'portcullis_requests_total',
      help: 'Requests let through, by how they ended',
      labels: ['class', 'listener', 'status', 'ending', 'websocket'],
      values: f => [f.class, f.listener, statusGroup(f.status), f.ending, f.webSocket ? 'yes' : 'no'],
    },
    stored: false,
    fromClients: true,
  },
  'rule.detected': {
    code: 'R03',
    severity: 'warning',
    when: 'A rule fired but did not refuse: it is set to detect, or an exception covers it.',
    sentence: f =>
      `Rule ${f.hit.ruleId} (${f.hit.title}) saw ${f.hit.field} in ${f.method === '' ? `the ClientHello for ${f.host}` : `${f.method} ${f.host}${f.path}`} of ${who(f)} and ${f.hit.exception === null ? `let it pass, because its mode is ${f.hit.mode}` : 'let it pass by an exception'}. Reference ${f.reference}.`,
    counter: {
      name: 'portcullis_rule_detections_total',
      help: 'Rules that fired without refusing',
      labels: ['rule', 'class', 'mode'],
      values: f => [f.hit.ruleId, f.class ?? 'none', f.hit.mode],
    },
    stored: true,
    fromClients: true,
  },
  'inspection.incomplete': {
    code: 'R04',
    severity: f => (f.why === 'memory' ? 'warning' : 'info'),
    when: 'Rules could not look at all of a body or WebSocket message, and its class passes such things on.',
    sentence: f =>
      `Passed on a ${f.what} of ${f.method} ${f.host}${f.path} of ${who(f)} that rules saw only in part (${f.why}: ${f.saw}), as limits.whenUnread of class ${f.class} says. Reference ${f.reference}.`,
    counter: {
      name: 'portcullis_inspections_incomplete_total',
      help: 'Bodies and WebSocket messages passed on that rules could not read whole',
      labels: ['class', 'reason'],
      values: f => [f.class, f.why],
    },
    stored: true,
    fromClients: true,
  },
  'rate.held': {
    code: 'R05',
    severity: 'warning',
    when: 'A rule that counts was met: requests of this kind are held for a time, or would be if the rule enforced.',
    sentence: f =>
      `${f.method} ${f.host}${f.path} of ${who(f)} came more than ${plural(f.limit, 'time')} in ${formatDuration(f.perMs)}: rule ${f.hit.ruleId} (${f.hit.title}) ${f.acts ? `holds ${f.whom === 'user' ? 'this one user or device' : 'the address'} for ${formatDuration(f.holdMs)}; others go on` : 'only records it'}. Reference ${f.reference}.`,
    counter: {
      name: 'portcullis_rate_holds_total',
      help: 'Times that a rule that counts was met',
      labels: ['rule', 'class', 'mode'],
      values: f => [f.hit.ruleId, f.class, f.acts ? 'enforce' : 'detect'],
    },
    stored: true,
    fromClients: true,
  },
  'request.cross-origin': {
    code: 'R06',
    severity: 'info',
    when: 'A page of another name asked, and the RMM server did not agree to it: the browser shows a CORS error.',
    sentence: f =>
      `A page of ${f.origin} in a browser of ${who(f)} asked ${f.method} ${f.host}${f.path} (status ${f.status}), and the RMM server did not allow that: the browser shows a CORS error. Register ${f.host} with the product as another name of it, or open the page as https://${f.host}.`,
    counter: {
      name: 'portcullis_cross_origin_refusals_total',
      help: 'Requests of pages of other names that the RMM server did not agree to',
      labels: ['class', 'listener'],
      values: f => [f.class, f.listener],
    },
    stored: true,
    fromClients: true,
  },
  'websocket.opened': {
    code: 'W01',
    severity: 'debug',
    when: 'A WebSocket was joined to its upstream.',
    sentence: f => `WebSocket ${f.host}${f.path} of ${who(f)}, class ${f.class}, joined to ${f.upstream}.`,
    counter: {
      name: 'portcullis_websockets_opened_total',
      help: 'WebSockets joined to an upstream',
      labels: ['class', 'listener'],
      values: f => [f.class, f.listener],
    },
    stored: false,
    fromClients: true,
  },
}

function statusGroup(status: number): string {
  if (status >= 200 && status < 300) return '2xx'
  if (status >= 300 && status < 400) return '3xx'
  if (status >= 400 && status < 500) return '4xx'
  if (status >= 500 && status < 600) return '5xx'
  return status === 101 ? '101' : 'none'
}
