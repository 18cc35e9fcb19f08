// Opens a verified connection to an upstream member: TCP, or TLS checked by authority and name, or by pinned keys.
import { createHash } from 'node:crypto'
import { connect as connectTcp, isIP, Socket } from 'node:net'
import {
  checkServerIdentity,
  connect as connectTls,
  createSecureContext,
  type ConnectionOptions,
  type PeerCertificate,
  type SecureContext,
  type TLSSocket,
} from 'node:tls'
import type { PortcullisError } from '../policy/error.ts'
import { Duplex } from 'node:stream'
import type { ConnectorVia } from '../policy/gateway-policy.ts'
import type { UpstreamMember, UpstreamTls } from '../policy/snapshot.ts'
import { busy, unreachable, untrusted } from './upstream-error.ts'

/**
 * Opens a connection through an attached client. The stream emits 'connect' once the service behind it is reached, and
 * 'error' when that fails; nothing may be written before.
 */
export type OpenThrough = (via: ConnectorVia) => Duplex

/** What stands in when this gate has no connectors. */
export const NO_CONNECTORS: OpenThrough = via => {
  throw new Error(`connector ${via.connector} is not attached`)
}

/** Told once: the connection stands and is verified, or why it does not. */
export type Connected = (error: PortcullisError | null) => void

/** Connections that fail because the gate itself has run out of something say nothing about the member. */
const OWN_SHORTAGES = new Set(['EMFILE', 'ENFILE', 'ENOBUFS', 'ENOMEM', 'EADDRNOTAVAIL'])

const contexts = new WeakMap<UpstreamTls, SecureContext>()

/**
 * Starts a connection. The socket is half-open capable, has no delay and no data listener. Destroying it before
 * `connected` was called leaves `connected` uncalled.
 * @param through carries connections to members behind a connector; what it throws is why there is none
 */
export function openUpstreamSocket(
  member: UpstreamMember,
  connected: Connected,
  through: OpenThrough = NO_CONNECTORS,
): Duplex {
  const { protocol, host, port } = member.origin
  const carrier = member.via === undefined ? null : openThrough(member.via, through)
  const socket =
    protocol === 'https'
      ? openTls(member, connected, carrier)
      : (carrier ?? connectTcp({ host, port, allowHalfOpen: true }))
  if (socket instanceof Socket) socket.setNoDelay(true)
  const failed = (cause: Error): void => {
    const code = 'code' in cause ? String(cause.code) : ''
    if (OWN_SHORTAGES.has(code)) return connected(busy(member, cause.message))
    connected(
      carrier !== null || isNetworkError(code)
        ? unreachable(member, cause.message, cause)
        : untrusted(member, cause.message, cause),
    )
  }
  if (protocol === 'http') {
    socket.once('connect', () => {
      socket.off('error', failed)
      connected(null)
    })
  } else {
    socket.once('secureConnect', () => socket.off('error', failed))
  }
  socket.once('error', failed)
  return socket
}

function openThrough(via: ConnectorVia, through: OpenThrough): Duplex {
  try {
    return through(via)
  } catch (error) {
    // Destroyed with the reason: it is told as an error in the next turn, as with any other connection.
    const none = new Duplex({ read: () => undefined })
    none.destroy(error instanceof Error ? error : new Error(String(error)))
    return none
  }
}

function openTls(member: UpstreamMember, connected: Connected, carrier: Duplex | null): TLSSocket {
  const { host, port } = member.origin
  const tls = member.tls ?? { serverName: host, caPem: null, pinsSha256: [] }
  const place = carrier === null ? { host, port } : { socket: carrier }
  const socket = connectTls({ ...place, ALPNProtocols: ['http/1.1'], ...verifiedTls(tls) })
  socket.once('secureConnect', () => {
    if (isTrusted(socket, tls)) return connected(null)
    connected(untrusted(member, 'its public key is none of the pinned ones'))
    socket.destroy()
  })
  return socket
}

/** Options of `tls.connect` that verify a server as the policy says; `isTrusted` is asked once the handshake is done. */
export function verifiedTls(tls: UpstreamTls): ConnectionOptions & { readonly allowHalfOpen: true } {
  const { serverName, pinsSha256 } = tls
  return {
    allowHalfOpen: true,
    servername: isIP(serverName) === 0 ? serverName : '',
    secureContext: contextFor(tls),
    // A pinned key is the identity: it stands instead of chain, name and dates, and is checked below before any byte is sent.
    rejectUnauthorized: pinsSha256.length === 0,
    checkServerIdentity: (_host: string, certificate: PeerCertificate) =>
      checkServerIdentity(serverName, certificate),
  }
}

/** Whether a server with pinned keys has one of them; without pins, the handshake has verified it. */
export function isTrusted(socket: TLSSocket, { pinsSha256 }: UpstreamTls): boolean {
  return pinsSha256.length === 0 || isPinned(socket, pinsSha256)
}

function contextFor(tls: UpstreamTls): SecureContext {
  let context = contexts.get(tls)
  if (context === undefined) {
    const { caPem } = tls
    context = createSecureContext({ minVersion: 'TLSv1.2', ...(caPem === null ? {} : { ca: caPem }) })
    contexts.set(tls, context)
  }
  return context
}

function isPinned(socket: TLSSocket, pins: readonly string[]): boolean {
  const spki = socket.getPeerX509Certificate()?.publicKey.export({ type: 'spki', format: 'der' })
  return spki !== undefined && pins.includes(createHash('sha256').update(spki).digest('base64'))
}

/** System calls and name resolution fail with E-codes of their own; everything else at this point is TLS. */
function isNetworkError(code: string): boolean {
  return /^E(?!RR_|PROTO)/.test(code) || code === 'ERR_SOCKET_CLOSED'
}
