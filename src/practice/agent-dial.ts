// Dials a server the way a simulated agent does: from a chosen source address, with or without a PROXY header, with chosen TLS versions.
import { connect as connectTcp, isIPv6, type Socket } from 'node:net'
import { connect as connectTls, type TLSSocket } from 'node:tls'
import { tlsRank, type TlsVersion } from '../net/tls-version.ts'
import type { ServerAddress } from './server-address.ts'

/** How an agent dials. */
export type DialOptions = {
  /** Local address to connect from; Linux accepts all of 127.0.0.0/8 without configuration. */
  readonly sourceAddress?: string
  /** Writes a PROXY protocol v1 header with this client address first, as a load balancer would. */
  readonly proxySource?: string
  readonly tls?: { readonly min: TlsVersion; readonly max: TlsVersion }
  /** PEM of the authority that the agent trusts, for example the development authority. */
  readonly ca?: string
  /** Where a name is dialled: tests and demonstrations have no DNS. */
  readonly resolve?: (server: ServerAddress) => { readonly host: string; readonly port: number }
}

/** A connection with what its handshake gave. */
export type Dialled = { readonly socket: Socket | TLSSocket; readonly tls: string | null }

/** Connects and completes the TLS handshake. Rejects with the error of the socket, or with the reason of the signal. */
export function dial(server: ServerAddress, options: DialOptions, signal: AbortSignal): Promise<Dialled> {
  const target = options.resolve?.(server) ?? server
  return new Promise((resolve, reject) => {
    const raw = connectTcp({
      host: target.host,
      port: target.port,
      ...(options.sourceAddress === undefined ? {} : { localAddress: options.sourceAddress }),
    })
    raw.setNoDelay(true)
    let socket: Socket | TLSSocket = raw
    const failed = (error: unknown): void => {
      signal.removeEventListener('abort', aborted)
      raw.destroy()
      reject(error instanceof Error ? error : new Error(String(error)))
    }
    const aborted = (): void => failed(Object.assign(new Error('timed out'), { code: 'ABORT_ERR' }))
    const ready = (tls: string | null): void => {
      signal.removeEventListener('abort', aborted)
      socket.off('error', failed)
      // Whoever takes the socket over hears the errors that matter; a late one must not end the process.
      socket.on('error', () => undefined)
      resolve({ socket, tls })
    }
    if (signal.aborted) return aborted()
    signal.addEventListener('abort', aborted, { once: true })
    raw.on('error', failed)
    raw.once('connect', () => {
      if (options.proxySource !== undefined) raw.write(proxyHeader(options.proxySource, raw))
      if (server.protocol === 'http') return ready(null)
      const secure = connectTls({ socket: raw, ...tlsOptions(server, options) })
      socket = secure
      secure.on('error', failed)
      secure.once('secureConnect', () => ready(secure.getProtocol()))
    })
  })
}

function tlsOptions(
  server: ServerAddress,
  { tls, ca }: DialOptions,
): {
  servername?: string
  host: string
  ca?: string
  minVersion?: TlsVersion
  maxVersion?: TlsVersion
  ciphers?: string
} {
  return {
    host: server.host,
    // Server names are host names only (RFC 6066): with an address none is sent.
    ...(/^[0-9.]+$/.test(server.host) ? {} : { servername: server.host }),
    ...(ca === undefined ? {} : { ca }),
    ...(tls === undefined ? {} : { minVersion: tls.min, maxVersion: tls.max }),
    // OpenSSL 3 allows TLS 1.0 and 1.1 at security level 0 only.
    ...(tls !== undefined && tlsRank(tls.min) < tlsRank('TLSv1.2') ? { ciphers: 'DEFAULT:@SECLEVEL=0' } : {}),
  }
}

function proxyHeader(source: string, socket: Socket): string {
  const family = isIPv6(source) ? 'TCP6' : 'TCP4'
  const own = socket.remoteAddress ?? ''
  const destination = isIPv6(own) === isIPv6(source) ? own : family === 'TCP6' ? '::1' : '127.0.0.1'
  return `PROXY ${family} ${source} ${destination} ${socket.localPort ?? 0} ${socket.remotePort ?? 0}\r\n`
}
