// Where a request goes that may pass: to an upstream, or to the gate itself.
import { isOwnPath } from '../../policy/own-path.ts'
import type { RequestFacts } from '../../policy/facts.ts'
import type { HttpConnection } from './http-connection.ts'
import { OwnSide } from './own-side.ts'
import type { RequestHead } from './request-head.ts'
import type { AllowedRequest, RequestRun } from './request-run.ts'
import { UpstreamSide } from './upstream-side.ts'

/** The far side of one request. */
export type Side = {
  /** The head of the answer is on its way to the client. */
  readonly answering: boolean
  /** The client is the one who keeps it waiting. */
  readonly isBlocked: boolean
  /** Sends the request with as much of the body as is there. */
  readonly forward: () => void
  readonly sendBody: (portion: Buffer) => void
  readonly endBody: () => void
  readonly abort: () => void
  /** The client takes more of the answer. Returns false when nobody was waiting for that. */
  readonly resume: () => boolean
}

/** The far side that the path asks for. What belongs to the gate never goes upstream, whether anything answers it or not. */
export function sideOf(
  run: RequestRun,
  conn: HttpConnection,
  head: RequestHead,
  allowed: AllowedRequest,
  request: RequestFacts,
): Side {
  return isOwnPath(request)
    ? new OwnSide(run, conn, head, request)
    : new UpstreamSide(run, conn, head, allowed)
}
