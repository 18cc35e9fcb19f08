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
import { MessageInspection, type InspectedSplice, type MessageContext } from './message-inspection.ts'
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
  const inspect = inspected === null ? null : inspection(conn, { request: inspected, record: kept, deflate })
  const splice = new Splice(
    {
      down,
      up,
      idleMs,
      deadlines: services.deadlines,
      class: trafficClass,
      resetDown: () => conn.resetDown(),
      onClosed: ending => closeRecord(conn, kept, ending),
    },
    inspect,
  )
  conn.splice = splice
  if (early.length > 0) splice.data(up, early)
  if (sentAhead !== null && sentAhead.length > 0) splice.data(down, sentAhead)
  return undefined
}

/** Made apart from the functions that live as long as the connection: these would keep what it needs for as long. */
function inspection(
  conn: HttpConnection,
  context: MessageContext,
): (splice: InspectedSplice) => MessageInspection {
  return splice => new MessageInspection(conn, context, splice)
}

function closeRecord(conn: HttpConnection, record: RequestRecord, ending: Splice['ending']): void {
  const { connection, facts, services } = conn
  record.bytesIn += conn.splice?.bytesIn ?? 0
  record.bytesOut += conn.splice?.bytesOut ?? 0
  const nowMs = services.clock.monotonicMs()
  services.sources.done(conn.source, record.class ?? 'other')
  services.reporter.report(
    'request.closed',
    closedFields(connection, facts, record, ending ?? 'complete', nowMs),
  )
}
