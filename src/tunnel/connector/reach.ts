// Reaches the services of the connector's own file, and nothing else: plain TCP, or TLS that the connector itself originates.
import { createHash } from 'node:crypto'
import { connect as connectTcp, isIP, type Socket } from 'node:net'
import { checkServerIdentity, connect as connectTls, type TLSSocket } from 'node:tls'
import type { Reached } from '../h2/connector-session.ts'

/** A TCP service. */
export type TcpService = {
  readonly name: string
  readonly host: string
  readonly port: number
  /** How the server proves itself; null: plain TCP. */
  readonly tls: ServiceTls | null
}

/** How the certificate of a service is verified. */
export type ServiceTls = {
  readonly serverName: string
  /** PEM of a private authority; null: the public ones. */
  readonly caPem: string | null
  /** SHA-256 over the SPKI, base64; one of them stands instead of chain and name. Empty: not pinned. */
  readonly pinsSha256: readonly string[]
}

/** Told when a service begins or ceases to answer; `all`: no TCP service answers. */
export type ServiceReport = (service: string, problem: string | null, all: boolean) => void

const CONNECT_MS = 5_000

/** Makes the function that reaches services by name. */
export function createReach(
  services: readonly TcpService[],
  report: ServiceReport,
): (name: string, signal: AbortSignal) => Promise<Reached> {
  const byName = new Map(services.map(service => [service.name, service]))
  const problems = new Map<string, string>()
  return async (name, signal) => {
    const service = byName.get(name)
    if (service === undefined) return { unknown: true }
    const reached = await connect(service, signal)
    if ('problem' in reached) {
      // The gate gave it up: that says nothing about the service.
      if (!signal.aborted && problems.get(name) !== reached.problem) {
        problems.set(name, reached.problem)
        report(name, reached.problem, problems.size === byName.size)
      }
    } else if (problems.delete(name)) report(name, null, false)
    return reached
  }
}

function connect(service: TcpService, signal: AbortSignal): Promise<Exclude<Reached, { unknown: true }>> {
  const { host, port, tls } = service
  return new Promise(resolve => {
    const socket =
      tls === null
        ? connectTcp({ host, port, allowHalfOpen: true, noDelay: true, keepAlive: true })
        : openTls(service, tls)
    const limit = AbortSignal.any([signal, AbortSignal.timeout(CONNECT_MS)])
    const settle = (result: Exclude<Reached, { unknown: true }>): void => {
      limit.removeEventListener('abort', late)
      socket.off('error', failed)
      socket.on('error', () => undefined)
      if ('problem' in result) socket.destroy()
      resolve(result)
    }
    const failed = (error: Error): void => settle({ problem: `${host}:${port}: ${wordsOf(error)}` })
    const late = (): void => settle({ problem: `${host}:${port}: no answer within ${CONNECT_MS / 1_000} s` })
    socket.once('error', failed)
    socket.once(tls === null ? 'connect' : 'secureConnect', () => {
      const problem = tls === null ? undefined : problemOfPin(socket as TLSSocket, tls)
      settle(problem === undefined ? { socket } : { problem: `${host}:${port}: ${problem}` })
    })
    if (limit.aborted) late()
    else limit.addEventListener('abort', late, { once: true })
  })
}

function openTls({ host, port }: TcpService, { serverName, caPem, pinsSha256 }: ServiceTls): Socket {
  const options = {
    host,
    port,
    allowHalfOpen: true,
    servername: isIP(serverName) === 0 ? serverName : '',
    minVersion: 'TLSv1.2' as const,
    ALPNProtocols: ['http/1.1'],
    ...(caPem === null ? {} : { ca: caPem }),
    rejectUnauthorized: pinsSha256.length === 0,
    checkServerIdentity: (_host: string, certificate: Parameters<typeof checkServerIdentity>[1]) =>
      checkServerIdentity(serverName, certificate),
  }
  const socket = connectTls(options)
  socket.setNoDelay(true)
  return socket
}

function problemOfPin(socket: TLSSocket, { pinsSha256 }: ServiceTls): string | undefined {
  if (pinsSha256.length === 0) return undefined
  const spki = socket.getPeerX509Certificate()?.publicKey.export({ type: 'spki', format: 'der' })
  const hash = spki === undefined ? '' : createHash('sha256').update(spki).digest('base64')
  return pinsSha256.includes(hash) ? undefined : `its public key is sha256/${hash}, which is not pinned`
}

function wordsOf(error: Error): string {
  return 'code' in error && typeof error.code === 'string' ? error.code : error.message
}
