// The errors of the way to the upstream: one function per kind, so that codes, statuses and remedies stay the same everywhere.
import { connectorUrlText } from '../policy/connector-url.ts'
import { PortcullisError } from '../policy/error.ts'
import type { UpstreamMember } from '../policy/snapshot.ts'

/**
 * Codes of errors that say that the member as such is in trouble. A connection that breaks under a request is not among
 * them: whoever finds a request that does this could drive a whole fleet from one server to the other.
 */
const MEMBER_FAILURES = new Set(['upstream-unreachable', 'upstream-tls'])

/** True when an exchange failed at connection level, which counts like a failed probe (`UpstreamSelection.failed`). */
export function isMemberFailure(error: PortcullisError): boolean {
  return MEMBER_FAILURES.has(error.code)
}

/** `https://host:port` of a member, or where it is behind a connector. */
export function originText(member: UpstreamMember): string {
  if (member.via !== undefined)
    return connectorUrlText({ ...member.via, tls: member.origin.protocol === 'https' })
  return originUrl(member)
}

/** The same as a URL that HTTP knows; behind a connector its host is the name of the connector. */
export function originUrl(member: UpstreamMember): string {
  const { protocol, host, port } = member.origin
  return `${protocol}://${host.includes(':') ? `[${host}]` : host}:${port}`
}

/** No connection came about, so nothing was sent. */
export function unreachable(member: UpstreamMember, why: string, cause?: unknown): PortcullisError {
  return new PortcullisError(`${member.id} (${originText(member)}) cannot be reached: ${why}`, {
    code: 'upstream-unreachable',
    side: 'upstream',
    retry: true,
    status: 502,
    remedy: 'Check that the server runs, and that the address, the port and the firewall between are right.',
    cause,
  })
}

/** The certificate of the upstream is not the one that the policy asks for. */
export function untrusted(member: UpstreamMember, why: string, cause?: unknown): PortcullisError {
  return new PortcullisError(`${member.id} (${originText(member)}) failed TLS verification: ${why}`, {
    code: 'upstream-tls',
    side: 'upstream',
    retry: true,
    status: 502,
    remedy: 'Correct serverName, ca or pinsSha256 of the upstream, or renew its certificate.',
    cause,
  })
}

/** No connection is free and the queue is full or slow. */
export function busy(member: UpstreamMember, why: string): PortcullisError {
  return new PortcullisError(`${member.id} (${originText(member)}) is busy: ${why}`, {
    code: 'upstream-busy',
    side: 'upstream',
    retry: true,
    status: 503,
    remedy: 'Find out why the server answers slowly; its open requests have used up all connections.',
  })
}

/** The connection died with the request on it. */
export function reset(member: UpstreamMember, why: string, cause?: unknown): PortcullisError {
  return new PortcullisError(`${member.id} (${originText(member)}) broke the connection: ${why}`, {
    code: 'upstream-reset',
    side: 'upstream',
    status: 502,
    remedy: 'Look into the log of the server: it ended the connection without a whole answer.',
    cause,
  })
}

/** The response is not valid HTTP/1.1. */
export function invalid(member: UpstreamMember, why: string): PortcullisError {
  return new PortcullisError(`${member.id} (${originText(member)}) sent ${why}`, {
    code: 'upstream-invalid',
    side: 'upstream',
    status: 502,
    remedy:
      'The answer could be read in two ways and was not passed on; look for a broken module or an attack.',
  })
}

/** A time limit of the class or the connect limit ran out. */
export function late(member: UpstreamMember, why: string, retry: boolean): PortcullisError {
  return new PortcullisError(`${member.id} (${originText(member)}) took too long: ${why}`, {
    code: retry ? 'upstream-unreachable' : 'upstream-timeout',
    side: 'upstream',
    retry,
    status: 504,
    remedy: 'Find out why the server is slow, or raise responseMs or responseIdleMs of the class.',
  })
}

/** The caller broke the contract: the body does not fit the framing, or the request cannot be written. */
export function misuse(why: string): PortcullisError {
  return new PortcullisError(`a request could not be sent: ${why}`, {
    code: 'forward-misuse',
    side: 'internal',
    status: 500,
    remedy: 'This is a defect of Portcullis; report it with the event log.',
  })
}

/** The forwarder is closed. */
export function closing(): PortcullisError {
  return new PortcullisError('the gate is shutting down', {
    code: 'forward-closed',
    side: 'internal',
    status: 503,
    remedy: 'The client comes back by itself when the gate has restarted.',
  })
}
