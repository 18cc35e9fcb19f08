// A gate on loopback for tests: its events can be awaited, its handler answers HTTP in one line, and leaks fail the test.
import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { connect as tcpConnect, createServer, type Server, type Socket } from 'node:net'
import { connect as tlsConnect, type ConnectionOptions, type TLSSocket } from 'node:tls'
import type { ExecutionContext } from 'ava'
import type { CertificateSet } from '../../src/edge/certificates.ts'
import type { ConnectionHandler, SecureConnection } from '../../src/edge/connection.ts'
import { createGate, type Gate, type GateOptions } from '../../src/edge/gate.ts'
import type { EventFields, EventName, Reporter } from '../../src/journal/events.ts'
import { addressScope } from '../../src/net/address.ts'
import type { GeoFacts } from '../../src/policy/facts.ts'
import type { Overlay, Snapshot } from '../../src/policy/snapshot.ts'
import { testAuthority, testCertificate } from '../support/certificates.ts'
import { emptyOverlay, snapshot as makeSnapshot } from '../support/snapshot.ts'

/** An event as it was reported. */
export type Reported = { [K in EventName]: { readonly name: K; readonly fields: EventFields[K] } }[EventName]

/** Collects events and lets tests wait for them. */
export class Events {
  readonly all: Reported[] = []
  readonly #waiting = new Set<() => void>()

  readonly reporter: Reporter = {
    report: (name, fields) => {
      this.all.push({ name, fields } as Reported)
      for (const look of this.#waiting) look()
    },
  }

  /** Events of one name so far. */
  of<K extends EventName>(name: K): EventFields[K][] {
    return this.all.filter(event => event.name === name).map(event => event.fields as EventFields[K])
  }

  /** Waits until `count` events of the name have come and returns the last of them. */
  async next<K extends EventName>(name: K, count = 1): Promise<EventFields[K]> {
    for (;;) {
      const found = this.of(name)[count - 1]
      if (found !== undefined) return found
      await new Promise<void>(resolve => {
        const look = (): void => {
          this.#waiting.delete(look)
          resolve()
        }
        this.#waiting.add(look)
      })
    }
  }
}

/** Events that end a connection. */
export const CLOSING = new Set<EventName>([
  'connection.refused',
  'connection.silent',
  'handshake.failed',
  'connection.closed',
])

/** A started gate. */
export type Harness = {
  readonly gate: Gate
  readonly port: number
  readonly events: Events
  readonly secured: SecureConnection[]
  /** The policy in force; replace its parts to change it. */
  readonly policy: { snapshot: Snapshot; overlay: Overlay }
  readonly ports: ReadonlyMap<string, number>
}

/** Starts a gate with the snapshot and closes it after the test; fails the test when anything is left open. */
export async function startGate(
  t: ExecutionContext,
  overrides: Partial<Snapshot> = {},
  options: Partial<GateOptions> & { readonly overlay?: Overlay } = {},
): Promise<Harness> {
  const events = new Events()
  const policy = { snapshot: makeSnapshot(overrides), overlay: options.overlay ?? emptyOverlay() }
  const secured: SecureConnection[] = []
  let references = 0
  const { overlay: _overlay, handler = answerOneLine, ...rest } = options
  const gate = createGate({
    current: () => policy,
    lookup: (address): GeoFacts => ({
      scope: addressScope(address),
      country: address.text.startsWith('203.0.113.')
        ? 'CN'
        : addressScope(address) === 'public'
          ? 'US'
          : null,
      second: null,
      available: true,
    }),
    reporter: events.reporter,
    isUpstreamUp: () => true,
    certificates: { forHost: await certificatesFor(policy.snapshot.names.map(name => name.host)) },
    ticketSecret: randomBytes(32),
    newReference: () => `REF-${++references}`,
    clock: Date.now,
    handler: connection => {
      secured.push(connection)
      return handler(connection)
    },
    ...rest,
  })
  await gate.apply(policy.snapshot)
  t.teardown(() => gate.close())
  const ports = new Map(gate.addresses().map(({ listener, port }) => [listener, port]))
  return { gate, port: gate.addresses()[0]?.port ?? 0, events, secured, policy, ports }
}

/** ECDSA and RSA test certificates for hosts. */
export async function certificatesFor(
  hosts: readonly string[],
): Promise<(host: string) => CertificateSet | undefined> {
  const sets = new Map<string, CertificateSet>()
  for (const host of hosts) {
    const certificates = await Promise.all(
      (['ecdsa', 'rsa'] as const).map(async type => ({
        ...(await testCertificate([host], { type })),
        certFile: '',
        keyFile: '',
        fingerprint: `${host} ${type}`,
        subject: host,
        validToMs: Infinity,
        keyType: type,
      })),
    )
    sets.set(host, { origin: 'configured', certificates, fingerprint: host })
  }
  return host => sets.get(host)
}

/** Answers the first bytes of every request with one line of HTTP and ends. */
export const answerOneLine: ConnectionHandler = ({ socket }) => {
  let bytesIn = 0
  let requests = 0
  socket.on('data', (chunk: Buffer) => {
    bytesIn += chunk.length
    requests++
    socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok')
    socket.end()
  })
  socket.on('end', () => socket.end())
  return {
    requests: () => requests,
    bytesIn: () => bytesIn,
    bytesOut: () => socket.bytesWritten,
    ending: () => (requests > 0 ? 'complete' : 'client-abort'),
    state: () => 'idle',
    policyChanged: () => undefined,
    drain: () => socket.end(),
  }
}

/** Connects with Node's TLS client to the harness and waits for the handshake. */
export async function connectTls(
  port: number,
  options: ConnectionOptions & { readonly localAddress?: string } = {},
): Promise<TLSSocket> {
  const socket = tlsConnect({
    host: '127.0.0.1',
    port,
    servername: 'rmm.example.test',
    ca: await testAuthority(),
    ...options,
  })
  socket.on('error', () => undefined)
  await once(socket, 'secureConnect')
  return socket
}

/** Opens a TCP connection. */
export async function connectTcp(port: number, localAddress = '127.0.0.1'): Promise<Socket> {
  const socket = tcpConnect({ host: '127.0.0.1', port, localAddress })
  socket.on('error', () => undefined)
  await once(socket, 'connect')
  return socket
}

/** Everything that arrives until the other side ends or resets. */
export async function readAll(socket: Socket): Promise<{ bytes: Buffer; errorCode: string | null }> {
  const parts: Buffer[] = []
  let errorCode: string | null = null
  socket.on('data', (chunk: Buffer) => parts.push(chunk))
  socket.on('error', (error: NodeJS.ErrnoException) => (errorCode = error.code ?? null))
  if (!socket.closed) await new Promise(resolve => socket.once('close', resolve))
  return { bytes: Buffer.concat(parts), errorCode }
}

/** Runs a program with input and returns what it wrote. */
export async function run(
  command: string,
  args: readonly string[],
  input: string | null = '',
): Promise<{ code: number; output: string }> {
  const child = spawn(command, args, {
    stdio: ['pipe', 'pipe', 'pipe'],
    env: { PATH: process.env['PATH'], NODE_COMPILE_CACHE: process.env['NODE_COMPILE_CACHE'] },
  })
  let output = ''
  child.stdout.on('data', chunk => (output += String(chunk)))
  child.stderr.on('data', chunk => (output += String(chunk)))
  child.stdin.on('error', () => undefined)
  if (input !== null) child.stdin.end(input)
  const [code] = (await once(child, 'close')) as [number]
  return { code, output }
}

/** The ClientHello that a real client would send, as captured by a server that never answers. */
export async function captureHello(options: ConnectionOptions): Promise<Buffer> {
  const server = createServer()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const client = tlsConnect({ host: '127.0.0.1', port: portOf(server), ...options })
  client.on('error', () => undefined)
  const [socket] = (await once(server, 'connection')) as [Socket]
  const [bytes] = (await once(socket, 'data')) as [Buffer]
  socket.destroy()
  client.destroy()
  server.close()
  return bytes
}

/** Waits until every count of the gate is back to zero. */
export async function untilIdle(harness: Harness): Promise<void> {
  await until(() => Object.values(harness.gate.counts()).every(count => count === 0))
}

/** Waits, turn by turn of the event loop, until the condition holds. */
export async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise(resolve => setImmediate(resolve))
}

/** Events that ended connections so far. */
export function closings(harness: Harness): EventName[] {
  return harness.events.all.map(event => event.name).filter(name => CLOSING.has(name))
}

/** The port that a server listens on. */
export function portOf(server: Server): number {
  const address = server.address()
  return typeof address === 'object' && address !== null ? address.port : 0
}

/** Starts a relay that passes the first bytes of a client through `send` and everything after them unchanged. */
export async function startRelay(
  t: ExecutionContext,
  port: number,
  send: (gate: Socket, hello: Buffer) => Promise<void>,
): Promise<number> {
  const relayOne = async (client: Socket): Promise<void> => {
    const gate = await connectTcp(port)
    gate.setNoDelay(true)
    gate.pipe(client)
    client.on('close', () => gate.destroy())
    gate.on('close', () => client.destroySoon())
    const [hello] = (await once(client, 'data')) as [Buffer]
    client.pause()
    await send(gate, hello)
    client.pipe(gate)
  }
  const server = createServer(client => {
    client.on('error', () => undefined)
    relayOne(client).catch(() => client.destroy())
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  return portOf(server)
}
