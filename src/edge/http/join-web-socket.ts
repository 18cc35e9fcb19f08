// Turns a connection into a splice after the upstream's 101, and closes the request's record when the splice is over.
import type { Upgraded } from '../../forward/forwarder.ts'
import { headersForDownstream, type Way } from '../../forward/headers.ts'
import type { RequestFacts } from '../../policy/facts.ts'
import type { HttpConnection } from './http-connection.ts'
import {
  clientFields,
  closedFields,
  detachedRecord,
  helloFields,
  type RequestRecord,
} from './request-record.ts'
import { MessageInspection } from './message-inspection.ts'
import { serialiseSwitch } from './response-head.ts'
import { Splice } from './splice.ts'
import { agreedDeflate } from './web-socket-extensions.ts'
import { problemOfSwitch } from './web-socket-handshake.ts'

/**
 * Answers the client with the 101 and joins the two sockets.
 * @param idleMs longest silence of both directions together; 0: no limit
 * @param inspected the upgrade request, when rules want to see its first messages
 * @returns why the upstream's answer is no valid switch; undefined: the sockets are joined
 */
export function joinWebSocket(
  conn: HttpConnection,
  upgraded: Upgraded,
  key: string,
  way: Way,
  record: RequestRecord,
  idleMs: number,
  inspected: RequestFacts | null,
): string | undefined {
  const { head, socket: up, early } = upgraded
  const problem = problemOfSwitch(head.status, head.headers, key)
  if (problem !== undefined) return problem
  const text = serialiseSwitch(head.statusText, headersForDownstream(head.headers, way))
  if (text === undefined) return 'a header of the 101 breaks its framing'

  const deflate = inspected === null ? null : agreedDeflate(head.headers)
  if (typeof deflate === 'string') return deflate

  const { connection, facts, services, socket: down } = conn
  const trafficClass = record.class ?? 'other'
  record.status = head.status
  services.selection.succeeded(way.member)
  services.reporter.report('websocket.opened', {
    ...clientFields(connection, facts),
    ...helloFields(connection),
    host: record.host,
    path: record.path,
    class: trafficClass,
    upstream: record.upstream,
    tls: connection.tls.version,
    userAgent: record.userAgent,
  })
  const before = conn.out.totalBytes
  conn.out.say(text)
  record.bytesOut = conn.out.totalBytes - before
  const kept = detachedRecord(record)
  const sentAhead = conn.release()
  const splice = new Splice({
    down,
    up,
    idleMs,
    deadlines: services.deadlines,
    class: trafficClass,
    resetDown: () => conn.resetDown(),
    inspect:
      inspected === null
        ? null
        : splice => new MessageInspection(conn, { request: inspected, record: kept, deflate }, splice),
    onClosed: ending => closeRecord(conn, kept, ending),
  })
  conn.spliced(splice)
  if (early.length > 0) splice.data(up, early)
  if (sentAhead !== null && sentAhead.length > 0) splice.data(down, sentAhead)
  return undefined
}

function closeRecord(conn: HttpConnection, record: RequestRecord, ending: Splice['ending']): void {
  const { connection, facts, services } = conn
  const { bytesIn, bytesOut } = conn.splicedBytes()
  record.bytesIn += bytesIn
  record.bytesOut += bytesOut
  const nowMs = services.clock.monotonicMs()
  services.sources.done(conn.source, record.class ?? 'other')
  services.reporter.report(
    'request.closed',
    closedFields(connection, facts, record, ending ?? 'complete', nowMs),
  )
}
