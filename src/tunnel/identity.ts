// Who a connector says it is: the headers of an attaching request, read strictly.
import type { OfferedService } from '../policy/running-state.ts'
import { parseAddress } from '../net/address.ts'
import { CONNECTOR_CLIENT, TUNNEL_NAME } from '../policy/connector-url.ts'
import { IDENTITY_HEADER } from './client-identity.ts'

/** Headers by lower-case name. */
type Headers = { readonly get: (name: string) => string | undefined }

/** What the headers say. The key is separate: nothing that is kept may hold it. */
export type Identity = {
  readonly name: string
  /** Random per process: groups the connections of one connector. */
  readonly instance: string
  /** Address that the connector has inside its network, as it says; `unknown` when it says none. */
  readonly realAddress: string
  readonly version: string
  readonly services: readonly OfferedService[]
}

const INSTANCE = /^[A-Za-z0-9_-]{16,64}$/
const VERSION = /^[\x21-\x7e]{1,40}$/
const MAX_SERVICES = 64
const KEY = /^Gateway-Key ([A-Za-z0-9_-]{0,700})$/i

/** Name of the header that says what. */
const HEADER = {
  client: 'Portcullis-Client',
  instance: 'Portcullis-Instance',
  realAddress: 'Portcullis-Real-Address',
  version: 'Portcullis-Version',
  services: 'Portcullis-Services',
} as const

/**
 * The headers that say this, as a flat list.
 * @param proof value of the header of client-identity.ts; null: none
 */
export function identityHeaders(
  identity: Identity,
  key: string,
  proof: string | null = null,
): readonly string[] {
  return [
    ...(proof === null ? [] : [IDENTITY_HEADER, proof]),
    'Authorization',
    `Gateway-Key ${Buffer.from(key, 'utf8').toString('base64url')}`,
    HEADER.client,
    identity.name,
    HEADER.instance,
    identity.instance,
    HEADER.realAddress,
    identity.realAddress,
    HEADER.version,
    identity.version,
    HEADER.services,
    identity.services.map(({ kind, name }) => `${kind}:${name}`).join(', '),
  ]
}

/** Reads who attaches; a sentence when a header is not as it must be. */
export function readIdentity(headers: Headers): Identity | string {
  const name = headers.get('portcullis-client') ?? ''
  if (!CONNECTOR_CLIENT.test(name)) return `${HEADER.client} is missing or no name`
  const instance = headers.get('portcullis-instance') ?? ''
  if (!INSTANCE.test(instance)) return `${HEADER.instance} is missing or no token`
  const version = headers.get('portcullis-version') ?? ''
  if (!VERSION.test(version)) return `${HEADER.version} is missing or no version`
  const services = readServices(headers.get('portcullis-services') ?? '')
  if (typeof services === 'string') return services
  return { name, instance, version, services, realAddress: claimedAddress(headers) }
}

/** The address that a client says it has; `unknown` when it says none. */
export function claimedAddress(headers: Headers): string {
  return parseAddress(headers.get('portcullis-real-address') ?? '')?.text ?? 'unknown'
}

/** The name that a client says it has, fit for events about a refusal. */
export function claimedName(headers: Headers): string {
  const name = headers.get('portcullis-client') ?? ''
  return CONNECTOR_CLIENT.test(name) ? name : '(unnamed)'
}

/** The key of the request; empty: none, or none that can be one. */
export function readKey(headers: Headers): string {
  const text = KEY.exec(headers.get('authorization') ?? '')?.[1] ?? ''
  return Buffer.from(text, 'base64url').toString('utf8')
}

function readServices(text: string): readonly OfferedService[] | string {
  const entries = text.trim() === '' ? [] : text.split(',').map(entry => entry.trim())
  if (entries.length > MAX_SERVICES) return `more than ${MAX_SERVICES} services`
  const services: OfferedService[] = []
  for (const entry of entries) {
    const [kind, name = '', more] = entry.split(':')
    if ((kind !== 'tcp' && kind !== 'udp') || more !== undefined || !TUNNEL_NAME.test(name))
      return `${HEADER.services} names what is no service`
    if (services.some(known => known.name === name)) return `${HEADER.services} names ${name} twice`
    services.push({ kind, name })
  }
  return services
}
