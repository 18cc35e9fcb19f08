// TLS servers: one per TLS profile and name, each with its own minimum version, ciphers, session context and ticket keys.
import { constants, createHash, hkdfSync } from 'node:crypto'
import { createServer, type Server, type TLSSocket } from 'node:tls'
import { TLS_VERSIONS } from '../net/tls-version.ts'
import type { TlsFacts } from '../policy/facts.ts'
import type { Snapshot, TlsProfile, TlsProfileName } from '../policy/snapshot.ts'
import { certifiedHosts } from '../policy/streams.ts'
import type { CertificateSet, Certificates } from './certificates.ts'

/** The TLS servers in use. They never listen: the gate hands them sockets whose ClientHello it has read. */
export type TlsServers = {
  /** The server for a profile and name, made on first use; undefined when the name has no certificate. */
  readonly serverFor: (snapshot: Snapshot, profile: TlsProfileName, host: string) => Server | undefined
  /** Forgets servers whose profile or name is gone. Their open connections go on. */
  readonly retain: (snapshot: Snapshot) => void
  readonly size: () => number
}

/** What the servers need from outside. */
export type TlsServersOptions = {
  readonly certificates: Pick<Certificates, 'forHost'>
  /** At least 32 random bytes; whoever knows them can read the tickets of the current epoch. */
  readonly ticketSecret: Buffer
  readonly nowMs: () => number
  /** Raw streams: no application protocol is offered, and sessions of the HTTPS edge cannot be resumed, nor the other way. */
  readonly raw?: boolean
  readonly onSecure: (socket: TLSSocket) => void
  readonly onFailed: (error: Error, socket: TLSSocket) => void
}

/** How long one set of ticket keys lives. A client with an older ticket does a full handshake. */
export const TICKET_EPOCH_MS = 8 * 3_600_000

/** How long a session can be resumed: longer than the slowest check-in of agents. */
const SESSION_SECONDS = 3_600

type Held = {
  readonly server: Server
  readonly set: CertificateSet
  readonly profile: TlsProfile
  epoch: number
}

/** Creates the cache of TLS servers. */
export function createTlsServers(options: TlsServersOptions): TlsServers {
  const held = new Map<string, Held>()
  return {
    serverFor: (snapshot, profileName, host) => {
      const profile = snapshot.tlsProfiles.get(profileName)
      const set = options.certificates.forHost(host)
      if (profile === undefined || set === undefined) return undefined
      const epoch = Math.floor(options.nowMs() / TICKET_EPOCH_MS)
      const key = keyOf(profile, host)
      let entry = held.get(key)
      if (entry === undefined || entry.set !== set) {
        entry = { server: makeServer(options, profile, set, epoch), set, profile, epoch }
        held.set(key, entry)
      } else if (entry.epoch !== epoch) {
        entry.server.setTicketKeys(ticketKeys(options.ticketSecret, epoch, profile, options.raw))
        entry.epoch = epoch
      }
      return entry.server
    },
    retain: snapshot => {
      const wanted = new Set<string>()
      for (const profile of snapshot.tlsProfiles.values()) {
        for (const host of certifiedHosts(snapshot)) wanted.add(keyOf(profile, host))
      }
      for (const key of held.keys()) if (!wanted.has(key)) held.delete(key)
    },
    size: () => held.size,
  }
}

/** Ticket keys of an epoch: equal only for equal secret, epoch, profile and policy (48 bytes). */
export function ticketKeys(secret: Buffer, epoch: number, profile: TlsProfile, raw = false): Buffer {
  const context = `portcullis ${raw ? 'raw ' : ''}tls tickets\0${profile.name}\0${profile.policyHash}`
  return Buffer.from(hkdfSync('sha256', secret, `epoch ${epoch}`, context, 48))
}

function keyOf(profile: TlsProfile, host: string): string {
  return `${profile.name}\0${profile.policyHash}\0${host}`
}

function makeServer(
  options: TlsServersOptions,
  profile: TlsProfile,
  set: CertificateSet,
  epoch: number,
): Server {
  const server = createServer({
    cert: set.certificates.map(({ cert }) => cert),
    key: set.certificates.map(({ key }) => key),
    minVersion: profile.minimum,
    maxVersion: 'TLSv1.3',
    ...(profile.ciphers === '' ? {} : { ciphers: profile.ciphers }),
    honorCipherOrder: true,
    secureOptions: constants.SSL_OP_NO_RENEGOTIATION | constants.SSL_OP_NO_COMPRESSION,
    // Also for clients that offer h2 only: they get no_application_protocol instead of a protocol they cannot speak.
    ...(options.raw === true ? {} : { ALPNProtocols: ['http/1.1'] }),
    sessionIdContext: createHash('sha256')
      .update(`${options.raw === true ? 'raw\0' : ''}${profile.name}\0${profile.policyHash}`)
      .digest('hex')
      .slice(0, 32),
    sessionTimeout: SESSION_SECONDS,
    ticketKeys: ticketKeys(options.ticketSecret, epoch, profile, options.raw),
  })
  server.on('secureConnection', options.onSecure)
  server.on('tlsClientError', options.onFailed)
  return server
}

/** The facts of a handshake, read once and only while it is known to be good (trap 4). */
export function readTlsFacts(socket: TLSSocket): TlsFacts {
  const protocol = socket.getProtocol()
  const version = TLS_VERSIONS.find(known => known === protocol)
  if (version === undefined) throw new Error(`unexpected protocol ${String(protocol)}`)
  return { version, cipher: socket.getCipher().name, resumed: socket.isSessionReused() }
}
