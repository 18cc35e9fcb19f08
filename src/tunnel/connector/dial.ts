// Dials a gate: through a proxy or not, TLS 1.3 to the pinned key or authority, then the upgrade. Everything bounded in time and size.
import { createHash } from 'node:crypto'
import { connect as connectTcp, isIP, type Socket } from 'node:net'
import { checkServerIdentity, connect as connectTls, type TLSSocket } from 'node:tls'
import { OWN_ALPN, OWN_PREFIX } from '../../policy/own-path.ts'
import type { KeyingMaterial } from '../client-identity.ts'
import { readHead, readRest, type ResponseHead } from './response.ts'

/** An HTTP proxy that tunnels with CONNECT. */
export type ProxyAddress = {
  readonly host: string
  readonly port: number
  readonly user: string | null
  readonly password: string
}

/** Where a gate is and how it proves itself. */
export type GateAddress = {
  /** Name that the gate serves and proves. */
  readonly host: string
  readonly port: number
  /** Address to connect to instead of looking the name up; null: the name. */
  readonly address: string | null
  /** SHA-256 over the DER public key (SPKI), base64; one of them must be that of the gate. Empty: the authority decides. */
  readonly pinsSha256: readonly string[]
  /** PEM of the private authority; null: the public ones. */
  readonly caPem: string | null
}

/** Why no connection came about. */
export type DialFailure = {
  /** `refused`: the gate itself said no. `proxy`, `trust`, `network`: it was not asked. */
  readonly kind: 'network' | 'proxy' | 'trust' | 'refused'
  /** Stable code: of the gate's answer, or of this file. */
  readonly code: string
  readonly message: string
  readonly remedy: string
  readonly retryAfterMs: number | null
  /** Of the gate's answer; null: there was none. */
  readonly status: number | null
}

/** An error with the failure in it. */
export class DialError extends Error {
  override readonly name = 'DialError'
  readonly failure: DialFailure

  constructor(failure: DialFailure) {
    super(failure.message)
    this.failure = failure
  }
}

/** A joined socket: the gate has said 101. */
export type Dialled = { readonly socket: TLSSocket; readonly early: Buffer }

const CONNECTOR_PATH = `${OWN_PREFIX}connector`

/**
 * Dials and upgrades.
 * @param headers flat list of the headers that say who attaches, from the address of this end and the TLS session
 * @param signal ends it; the caller sets the time limit
 * @param target what is asked for; connectors attach by default
 * @throws DialError
 */
export async function dialGate(
  gate: GateAddress,
  proxy: ProxyAddress | null,
  protocol: string,
  headers: (localAddress: string, material: KeyingMaterial) => readonly string[],
  signal: AbortSignal,
  target = CONNECTOR_PATH,
): Promise<Dialled> {
  return withSockets(gate, signal, async opened => {
    const socket = await openSecure(gate, proxy, opened, signal)
    const material: KeyingMaterial = (bytes, label) =>
      socket.exportKeyingMaterial(bytes, label, Buffer.alloc(0))
    const said = headers(socket.localAddress ?? '', material)
    const early = await upgrade(socket, gate, target, protocol, said, signal)
    return { socket, early }
  })
}

/** Opens a connection that is proven to end at the gate, for questions in HTTP. @throws DialError */
export function connectGate(
  gate: GateAddress,
  proxy: ProxyAddress | null,
  signal: AbortSignal,
): Promise<TLSSocket> {
  return withSockets(gate, signal, opened => openSecure(gate, proxy, opened, signal))
}

/** Closes what was opened when it comes to nothing. */
async function withSockets<T>(
  gate: GateAddress,
  signal: AbortSignal,
  work: (opened: Socket[]) => Promise<T>,
): Promise<T> {
  const opened: Socket[] = []
  const stop = (): void => {
    for (const socket of opened) socket.destroy()
  }
  signal.addEventListener('abort', stop, { once: true })
  try {
    return await work(opened)
  } catch (error) {
    stop()
    if (error instanceof DialError) throw error
    const why = signal.aborted ? 'no answer in time' : messageOf(error)
    throw network(`${gate.host}:${gate.port} broke the connection: ${why}`)
  } finally {
    signal.removeEventListener('abort', stop)
  }
}

async function openSecure(
  gate: GateAddress,
  proxy: ProxyAddress | null,
  opened: Socket[],
  signal: AbortSignal,
): Promise<TLSSocket> {
  const raw = await open(
    proxy ?? { host: gate.address ?? gate.host, port: gate.port },
    proxy === null ? 'network' : 'proxy',
    opened,
    signal,
  )
  if (proxy !== null) await passProxy(raw, proxy, gate, signal)
  return secure(raw, gate, opened, signal)
}

function open(
  to: { readonly host: string; readonly port: number },
  kind: 'network' | 'proxy',
  opened: Socket[],
  signal: AbortSignal,
): Promise<Socket> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(new Error('given up'))
    const socket = connectTcp({ host: to.host, port: to.port, noDelay: true, keepAlive: true })
    opened.push(socket)
    const failed = (error: Error): void => {
      const where = `${kind === 'proxy' ? 'the proxy ' : ''}${to.host}:${to.port}`
      reject(
        failure(kind, `${kind}-unreachable`, `${where} cannot be reached: ${error.message}`, REACH[kind]),
      )
    }
    const closed = (): void => failed(new Error(signal.aborted ? 'no answer in time' : 'closed'))
    socket.once('error', failed).once('close', closed)
    socket.once('connect', () => {
      socket.off('error', failed).off('close', closed)
      // Between two awaits nobody else listens, and one RST would end the process.
      socket.on('error', () => undefined)
      resolve(socket)
    })
  })
}

async function passProxy(
  socket: Socket,
  proxy: ProxyAddress,
  gate: GateAddress,
  signal: AbortSignal,
): Promise<void> {
  const target = `${bracketed(gate.address ?? gate.host)}:${gate.port}`
  const lines = [`CONNECT ${target} HTTP/1.1`, `Host: ${target}`]
  if (proxy.user !== null) {
    const basic = Buffer.from(`${proxy.user}:${proxy.password}`, 'utf8').toString('base64')
    lines.push(`Proxy-Authorization: Basic ${basic}`)
  }
  await written(socket, `${lines.join('\r\n')}\r\n\r\n`)
  const head = await readHead(socket, signal)
  const where = `the proxy ${proxy.host}:${proxy.port}`
  if (head === null) throw failure('proxy', 'proxy-broken', `${where} did not answer in HTTP`, REACH.proxy)
  if (head.status === 407)
    throw failure(
      'proxy',
      'proxy-login',
      `${where} wants other credentials`,
      'Correct user and password of proxy.',
    )
  if (head.status < 200 || head.status > 299)
    throw failure('proxy', 'proxy-refused', `${where} refused ${target}: status ${head.status}`, ALLOW)
  if (head.rest.length > 0) socket.unshift(head.rest)
}

function secure(raw: Socket, gate: GateAddress, opened: Socket[], signal: AbortSignal): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    const pinned = gate.pinsSha256.length > 0
    const socket = connectTls({
      socket: raw,
      servername: isIP(gate.host) === 0 ? gate.host : '',
      minVersion: 'TLSv1.3',
      ALPNProtocols: [OWN_ALPN, 'http/1.1'],
      ...(gate.caPem === null ? {} : { ca: gate.caPem }),
      // A pinned key stands instead of the chain; the name is checked in both cases, below.
      rejectUnauthorized: !pinned,
      checkServerIdentity: (_host, certificate) => checkServerIdentity(gate.host, certificate),
    })
    opened.push(socket)
    const failed = (error: Error): void => reject(trust(gate, error))
    const closed = (): void => failed(new Error(signal.aborted ? 'no answer in time' : 'closed'))
    socket.once('error', failed).once('close', closed)
    socket.once('secureConnect', () => {
      socket.off('error', failed).off('close', closed)
      socket.on('error', () => undefined)
      const problem = pinned ? problemOfPin(socket, gate) : undefined
      // Not before this turn is over: OpenSSL is still reading, and a socket that is destroyed now ends the process (SIGSEGV).
      setImmediate(() => (problem === undefined ? resolve(socket) : reject(trust(gate, new Error(problem)))))
    })
  })
}

/** Writes and waits until the socket has taken it: nobody may take the handle below a socket before (Node asserts). */
function written(socket: Socket, text: string): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.write(text, 'latin1', error => {
      if (error === null || error === undefined) setImmediate(resolve)
      else reject(error)
    })
  })
}

function problemOfPin(socket: TLSSocket, gate: GateAddress): string | undefined {
  const certificate = socket.getPeerX509Certificate()
  const spki = certificate?.publicKey.export({ type: 'spki', format: 'der' })
  if (certificate === undefined || spki === undefined) return 'it showed no certificate'
  const hash = createHash('sha256').update(spki).digest('base64')
  if (!gate.pinsSha256.includes(hash)) return `its public key is sha256/${hash}, which is not pinned`
  return checkServerIdentity(gate.host, certificate.toLegacyObject())?.message
}

async function upgrade(
  socket: TLSSocket,
  gate: GateAddress,
  target: string,
  protocol: string,
  headers: readonly string[],
  signal: AbortSignal,
): Promise<Buffer> {
  const host = gate.port === 443 ? bracketed(gate.host) : `${bracketed(gate.host)}:${gate.port}`
  let text = `GET ${target} HTTP/1.1\r\nHost: ${host}\r\nConnection: Upgrade\r\nUpgrade: ${protocol}\r\n`
  for (let at = 0; at < headers.length; at += 2) text += `${headers[at]}: ${headers[at + 1]}\r\n`
  await written(socket, `${text}\r\n`)
  const head = await readHead(socket, signal)
  if (head === null) throw network(`${gate.host}:${gate.port} did not answer in HTTP`)
  if (head.status === 101 && head.headers.get('upgrade')?.toLowerCase() === protocol) return head.rest
  throw await refusal(socket, head, gate, signal)
}

async function refusal(
  socket: TLSSocket,
  head: ResponseHead,
  gate: GateAddress,
  signal: AbortSignal,
): Promise<DialError> {
  const body = await readRest(socket, head, signal)
  const said = parse(body)
  const text = (name: string): string | null => {
    const value = said[name]
    return typeof value === 'string' ? value.replaceAll(/[^\x20-\x7e]/g, '?').slice(0, 300) : null
  }
  const seconds = Number(head.headers.get('retry-after') ?? Number.NaN)
  const reference = text('reference')
  return new DialError({
    kind: 'refused',
    code: text('code') ?? `status-${head.status}`,
    message: `${gate.host}:${gate.port} refused: ${text('message') ?? `status ${head.status}`}${reference === null ? '' : ` Reference ${reference}.`}`,
    remedy: text('remedy') ?? 'Look the reference up at the gate: portcullis diagnose <reference>.',
    status: head.status,
    retryAfterMs: Number.isFinite(seconds) ? Math.min(seconds, 3_600) * 1_000 : null,
  })
}

function parse(body: string): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(body)
    return typeof value === 'object' && value !== null ? (value as Readonly<Record<string, unknown>>) : {}
  } catch {
    return {}
  }
}

const ALLOW = 'Let the proxy allow CONNECT to the gate.'
const REACH = {
  network:
    'Check name, port and the firewall between: the connector needs outgoing TCP to the port of the gate, and nothing else.',
  proxy: 'Check the address of proxy, and that it runs.',
} as const

function trust(gate: GateAddress, error: Error): DialError {
  const code = 'code' in error ? String(error.code) : ''
  const where = `${gate.host}:${gate.port}`
  if (code === 'ECONNRESET' || error.message === 'closed' || error.message === 'no answer in time')
    return network(`${where} ended the TLS handshake: ${error.message}`)
  // The words of OpenSSL without its file names and numbers.
  const words = 'reason' in error && typeof error.reason === 'string' ? error.reason : error.message
  if (/unrecognized name|access denied/.test(words)) {
    const remedy =
      'Correct the host in gates: it must be a name that the gate serves; ask there with portcullis explain.'
    return failure('trust', 'gate-alert', `${where} refused the TLS handshake: ${words}`, remedy)
  }
  const remedy =
    'If the gate has a new certificate on purpose, correct pin or ca; otherwise something stands between connector and gate.'
  return failure('trust', 'gate-untrusted', `${where} is not trusted: ${words}`, remedy)
}

function network(message: string): DialError {
  return failure('network', 'network-broken', message, REACH.network)
}

function failure(kind: DialFailure['kind'], code: string, message: string, remedy: string): DialError {
  return new DialError({ kind, code, message, remedy, retryAfterMs: null, status: null })
}

function bracketed(host: string): string {
  return host.includes(':') ? `[${host}]` : host
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
