// Reports of what rules saw in a request, its body or its messages, of what they could not see, and of what a trial let pass.
import type { RuleHit } from '../../ips/rule-set.ts'
import type { EventFields } from '../../journal/events.ts'
import type { ConnectionFacts, RequestVerdict } from '../../policy/standing.ts'
import { enforces } from '../../policy/rule-hits.ts'
import type { HttpConnection } from './http-connection.ts'
import { clientFields, type RequestRecord } from './request-record.ts'

/** What of a request its events name. */
export type Named = Pick<RequestRecord, 'host' | 'method' | 'path' | 'class'>

/** Reports what of a verdict did not act: hits of rules, and a refusal that a trial keeps back. */
export function reportUnacted(
  conn: HttpConnection,
  facts: ConnectionFacts,
  record: Named,
  verdict: RequestVerdict,
  nowMs: number,
): void {
  if (verdict.hits.length > 0) reportDetections(conn, facts, record, verdict.hits)
  if (!verdict.allow || verdict.wouldBe === null) return
  const { listener, standing } = facts
  const port = conn.connection.clientPort
  const { class: trafficClass, host } = record
  conn.services.trials.note(
    verdict.wouldBe,
    { standing, port, listener: listener.id, class: trafficClass, host },
    nowMs,
  )
}

/** Reports hits that did not act: of rules set to detect, and of rules with an exception. */
export function reportDetections(
  { connection, services }: HttpConnection,
  facts: ConnectionFacts,
  record: Named,
  hits: readonly RuleHit[],
): void {
  let reference: string | null = null
  for (const hit of hits) {
    if (enforces(hit)) continue
    reference ??= services.newReference()
    services.reporter.report('rule.detected', {
      ...clientFields(connection, facts),
      reference,
      host: record.host,
      method: record.method,
      path: record.path,
      class: record.class ?? 'other',
      hit,
    })
  }
}

/** What could not be looked at whole. */
export type Unread = Pick<EventFields['inspection.incomplete'], 'what' | 'why' | 'saw'>

/** Reports something that was passed on although rules could not read all of it. */
export function reportUnread(
  { connection, services }: HttpConnection,
  facts: ConnectionFacts,
  record: Named,
  unread: Unread,
): void {
  services.reporter.report('inspection.incomplete', {
    ...clientFields(connection, facts),
    reference: services.newReference(),
    host: record.host,
    method: record.method,
    path: record.path,
    class: record.class ?? 'other',
    ...unread,
  })
}
