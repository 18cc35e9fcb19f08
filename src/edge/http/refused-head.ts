// Reports bytes that never became a request, and makes the answer to them.
import { REASONS } from '../../policy/reasons.ts'
import { BUILT_IN, formatSourceLine } from '../../policy/source-line.ts'
import type { HttpConnection } from './http-connection.ts'
import { ownAnswer } from './refusal-page.ts'
import type { HeadProblem } from './request-head.ts'
import { reportRefusal } from './request-record.ts'

const NOTHING_READ = { host: '', method: '', path: '', class: null, webSocket: false, userAgent: null }

/** Reports the refusal and returns the text of the answer. The connection must end after it. */
export function refusedHead(conn: HttpConnection, problem: HeadProblem): string {
  const { connection, facts, services } = conn
  const reference = services.newReference()
  const { because, status = 400 } = REASONS[problem.reason]
  const line = formatSourceLine(BUILT_IN)
  const refusal = { ...problem, stage: 'limits', line: BUILT_IN } as const
  reportRefusal(services.reporter, connection, facts, NOTHING_READ, refusal, {
    reference,
    status,
    hits: [],
    line,
  })
  const answer = {
    status,
    code: problem.reason,
    because,
    reference,
    retryAfterSeconds: null,
    allowedMethods: null,
  }
  return ownAnswer(answer, { json: false, headOnly: false, close: true, nowMs: services.clock.nowMs() })
}
