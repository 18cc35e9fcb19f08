// The requests of the benchmark of rules: shapes of real RMM traffic, every one with content of its own.
import { HOST } from '../stage/namespace.ts'
import { inspectedRequest } from '../load/inspected.ts'
import { CHECK_IN_PATH, checkInForm, FORM_TYPE, USER_AGENT } from '../load/work.ts'
import type { Sent } from './asked.ts'
import { sentOf } from './asked.ts'

/** A shape of request. */
export type Shape = {
  readonly id: string
  readonly title: string
  /** The request of a number; no two are the same. */
  readonly make: (seed: number) => Sent
}

/** Own rules: what agents and consoles send. */
export const SHAPES: readonly Shape[] = [
  { id: 'agent-post', title: 'agent POST, 2 KB form', make: agentPost },
  {
    id: 'console-get',
    title: 'console GET: query, cookies, referer, bearer',
    make: seed => sentOf(inspectedRequest('get', seed)),
  },
  { id: 'json', title: 'inventory POST, 5 KB JSON', make: seed => sentOf(inspectedRequest('json', seed)) },
  { id: 'agent-xml', title: 'agent POST, 3 KB XML', make: seed => sentOf(inspectedRequest('xml', seed)) },
  { id: 'form', title: 'agent POST, 5 KB base64 form', make: seed => sentOf(inspectedRequest('form', seed)) },
  {
    id: 'console-form',
    title: 'console POST, 5 KB base64 form',
    make: seed => ({ ...sentOf(inspectedRequest('form', seed)), target: '/cwa/api/v1/scripts' }),
  },
]

/** What imported rules are asked about: the same bytes, whoever sends them. */
export const IMPORTED_SHAPES: readonly Shape[] = SHAPES.filter(({ id }) =>
  ['console-get', 'json', 'agent-xml', 'form'].includes(id),
)

function agentPost(seed: number): Sent {
  const body = checkInForm(seed)
  return sentOf(
    `POST ${CHECK_IN_PATH} HTTP/1.1\r\nHost: ${HOST}\r\nUser-Agent: ${USER_AGENT}\r\nAccept: */*\r\n` +
      `Content-Type: ${FORM_TYPE}\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
  )
}
