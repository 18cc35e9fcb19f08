// What is reported of one request: its record, and the event fields made from it.
import type { RuleHit } from '../../ips/rule-set.ts'
import type { ClientFields, Ending, EventFields, HelloFields, Reporter } from '../../journal/events.ts'
import type { TrafficClass } from '../../policy/classes.ts'
import type { HeaderView } from '../../policy/facts.ts'
import type { ConnectionFacts } from '../../policy/standing.ts'
import type { Refusal } from '../../policy/verdict.ts'
import { countryWord } from '../../policy/who.ts'
import type { OpenConnection } from '../connection.ts'
import type { RequestHead } from './request-head.ts'

/** Facts of one request for its events. Small, because an open WebSocket keeps it for days. */
export type RequestRecord = {
  readonly host: string
  readonly method: string
  readonly path: string
  readonly userAgent: string | null
  readonly webSocket: boolean
  /** Monotonic milliseconds. */
  readonly startedMs: number
  class: TrafficClass | null
  /** Member that served, empty: none. */
  upstream: string
  upstreamMs: number
  /** Time until it was handed to the upstream; -1: not yet. */
  forwardedMs: number
  /** Time that the client took to send a body that was held for rules. */
  waitedMs: number
  status: number
  bytesIn: number
  bytesOut: number
  /** Set once a reference was made for the client. */
  reference: string | null
}

const MAX_PATH = 256
const MAX_USER_AGENT = 256

/** The record of a request that begins. */
export function newRecord(
  head: Pick<RequestHead, 'host' | 'method' | 'target' | 'webSocket' | 'bytes'>,
  headers: HeaderView,
  startedMs: number,
): RequestRecord {
  return {
    host: head.host,
    method: head.method,
    path: reportedPath(head.target),
    userAgent: headers.get('user-agent')?.slice(0, MAX_USER_AGENT) ?? null,
    webSocket: head.webSocket,
    startedMs,
    class: null,
    upstream: '',
    upstreamMs: 0,
    forwardedMs: -1,
    waitedMs: 0,
    status: 0,
    bytesIn: head.bytes,
    bytesOut: 0,
    reference: null,
  }
}

/** The path of a target for events: without query, bounded. The parser admits no control characters. */
function reportedPath(target: string): string {
  const mark = target.indexOf('?')
  const end = mark < 0 ? target.length : mark
  return end <= MAX_PATH && mark < 0 ? target : target.slice(0, Math.min(end, MAX_PATH))
}

/** The record with texts of its own: parts of a head would keep the whole head in memory for as long as the record lives. */
export function detachedRecord(record: RequestRecord): RequestRecord {
  const own = (text: string): string => Buffer.from(text, 'latin1').toString('latin1')
  const { host, path, userAgent } = record
  return {
    ...record,
    host: own(host),
    path: own(path),
    userAgent: userAgent === null ? null : own(userAgent),
  }
}

/** Fields about the client. */
export function clientFields(connection: OpenConnection, facts: ConnectionFacts): ClientFields {
  const { standing } = facts
  return {
    address: standing.source.address.text,
    port: connection.clientPort,
    listener: facts.listener.id,
    site: standing.site?.id ?? null,
    country: countryWord(standing.country),
  }
}

/** Fields about the ClientHello. */
export function helloFields(connection: OpenConnection): HelloFields {
  const { hello } = connection
  return { serverName: hello.serverName, offered: hello.versions, ja4: hello.ja4 }
}

/** Fields of the event that closes a served request. */
export function closedFields(
  connection: OpenConnection,
  facts: ConnectionFacts,
  record: RequestRecord,
  ending: Ending,
  nowMs: number,
): EventFields['request.closed'] {
  const { standing } = facts
  const { hello } = connection
  // Written out rather than spread: this object is made for every request.
  return {
    address: standing.source.address.text,
    port: connection.clientPort,
    listener: facts.listener.id,
    site: standing.site?.id ?? null,
    country: countryWord(standing.country),
    serverName: hello.serverName,
    offered: hello.versions,
    ja4: hello.ja4,
    host: record.host,
    method: record.method,
    path: record.path,
    class: record.class ?? 'other',
    tls: connection.tls.version,
    status: record.status,
    upstream: record.upstream,
    bytesIn: record.bytesIn,
    bytesOut: record.bytesOut,
    durationMs: nowMs - record.startedMs,
    upstreamMs: record.upstreamMs,
    forwardedMs: record.forwardedMs,
    gateMs: record.forwardedMs < 0 ? -1 : Math.max(0, record.forwardedMs - record.waitedMs),
    ending,
    webSocket: record.webSocket,
    userAgent: record.userAgent,
    reference: record.reference,
  }
}

/** Reports a refusal. */
export function reportRefusal(
  reporter: Reporter,
  connection: OpenConnection,
  facts: ConnectionFacts,
  record: Pick<RequestRecord, 'host' | 'method' | 'path' | 'class' | 'webSocket' | 'userAgent'>,
  refusal: Refusal,
  answer: {
    readonly reference: string
    readonly status: number
    readonly hits: readonly RuleHit[]
    readonly line: string
  },
): void {
  reporter.report('request.refused', {
    ...clientFields(connection, facts),
    ...helloFields(connection),
    reference: answer.reference,
    reason: refusal.reason,
    stage: refusal.stage,
    saw: refusal.saw,
    line: answer.line,
    host: record.host,
    method: record.method,
    path: record.path,
    class: record.class,
    tls: connection.tls.version,
    status: answer.status,
    hits: answer.hits,
    webSocket: record.webSocket,
    userAgent: record.userAgent,
  })
}
