// Reads what an operator's command line sends: strictly, bounded, and with words that tell nothing about secrets.
import { CONNECTOR_CLIENT, TUNNEL_NAME } from '../../policy/connector-url.ts'

/** A login as it was asked for. */
export type LoginQuestion = {
  readonly operator: string
  readonly password: string
  readonly key: string
  /** The client that is to be reached; null: the operator wants to browse. */
  readonly client: string | null
}

/** A connection as it was asked for. */
export type ConnectQuestion = { readonly client: string; readonly service: string }

const LOGIN_FIELDS: readonly string[] = ['operator', 'password', 'key', 'client']
const MAX_NAME = 64
/** Base64url of a secret of 256 characters, four bytes each. */
const MAX_ENCODED = 1_400

/**
 * Reads the body of a login: `{"operator", "password", "key", "client"?}`. Password and key are base64url of their UTF-8: a
 * password may look like an attack to rules about bodies, its encoding cannot.
 * @returns undefined when it is anything else
 */
export function readLogin(body: Buffer): LoginQuestion | undefined {
  let value: unknown
  try {
    value = JSON.parse(body.toString('utf8'))
  } catch {
    return undefined
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined
  const fields = new Map<string, unknown>(Object.entries(value))
  for (const name of fields.keys()) if (!LOGIN_FIELDS.includes(name)) return undefined
  const operator = fields.get('operator')
  const password = secretOf(fields.get('password'))
  const key = secretOf(fields.get('key'))
  const client = fields.get('client') ?? null
  if (typeof operator !== 'string' || operator.length > MAX_NAME) return undefined
  if (password === undefined || key === undefined) return undefined
  if (client !== null && (typeof client !== 'string' || !CONNECTOR_CLIENT.test(client))) return undefined
  return { operator, password, key, client }
}

/** What {@link readLogin} reads. */
export function loginBody(question: LoginQuestion): string {
  const encoded = (text: string): string => Buffer.from(text, 'utf8').toString('base64url')
  const { operator, password, key, client } = question
  return JSON.stringify({
    operator,
    password: encoded(password),
    key: encoded(key),
    ...(client === null ? {} : { client }),
  })
}

function secretOf(value: unknown): string | undefined {
  if (typeof value !== 'string' || value.length > MAX_ENCODED || !/^[A-Za-z0-9_-]*$/.test(value))
    return undefined
  return Buffer.from(value, 'base64url').toString('utf8')
}

/** Reads the query of a connection, `client=<name>&service=<name>`; undefined when it is anything else. */
export function readConnect(query: string): ConnectQuestion | undefined {
  const match = /^client=([^&]{1,63})&service=([^&]{1,63})$/.exec(query)
  const [, client = '', service = ''] = match ?? []
  return CONNECTOR_CLIENT.test(client) && TUNNEL_NAME.test(service) ? { client, service } : undefined
}

/** The token of an `Authorization: Bearer` header (RFC 6750); undefined: none that could be one. */
export function readBearer(header: string | undefined): string | undefined {
  return /^Bearer ([A-Za-z0-9_-]{43})$/i.exec(header ?? '')?.[1]
}
