// Talks to the admin address of a running gate; says "not running" as a value, so that commands can work without one.
import { request } from 'undici'
import { PortcullisError } from '../policy/error.ts'
import type { Endpoint } from '../policy/snapshot.ts'
import { readAdminToken } from './token.ts'

/** Where the gate's admin address is, and what proves who asks. */
export type AdminTarget = { readonly endpoint: Endpoint; readonly stateDir: string }

/** A reload with a large imported rule set takes seconds on a busy machine; giving up early would report a failure that is none. */
const TIMEOUT_MS = 30_000

/**
 * Calls a route.
 * @returns the JSON answer, or undefined when no gate runs there
 * @throws PortcullisError `admin-refused` when the gate answers with an error
 */
export async function callAdmin(
  target: AdminTarget,
  method: 'GET' | 'POST' | 'DELETE',
  path: string,
  body?: unknown,
): Promise<unknown> {
  const token = readAdminToken(target.stateDir)
  if (token === undefined) return undefined
  const { host, port } = target.endpoint
  const address =
    host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '[::1]' : host.includes(':') ? `[${host}]` : host
  let answer
  try {
    answer = await request(`http://${address}:${port}${path}`, {
      method,
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
      body: body === undefined ? null : JSON.stringify(body),
      // A kept connection may be one that the gate is just closing, and a call that fails on it looks like a gate that hangs.
      reset: true,
      headersTimeout: TIMEOUT_MS,
      bodyTimeout: TIMEOUT_MS,
    })
  } catch (cause) {
    if (isNobodyThere(cause)) return undefined
    throw new PortcullisError(`the gate's admin address ${address}:${port} does not answer`, {
      code: 'admin-unreachable',
      side: 'internal',
      remedy: 'Check whether the gate is overloaded: its log says what it does.',
      cause,
    })
  }
  const result: unknown = await answer.body.json()
  if (answer.statusCode === 401) {
    throw new PortcullisError('the gate does not accept the token of the state directory', {
      code: 'admin-token',
      side: 'configuration',
      remedy: `Run the command as the gate's user, with the state directory ${target.stateDir}.`,
    })
  }
  if (answer.statusCode >= 400) {
    const message =
      typeof result === 'object' && result !== null && 'error' in result ? String(result.error) : 'refused'
    throw new PortcullisError(message, {
      code: 'admin-refused',
      side: 'configuration',
      remedy: 'Correct the call and try again.',
    })
  }
  return result
}

function isNobodyThere(cause: unknown): boolean {
  const code = typeof cause === 'object' && cause !== null && 'code' in cause ? cause.code : undefined
  return code === 'ECONNREFUSED' || code === 'ENOENT'
}
