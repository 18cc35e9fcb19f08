// A real gate with TLS in front of the tunnel parts, keys in memory, and connectors by hand, for the tests of this folder.
import { createHash, X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import type { ExecutionContext } from 'ava'
import type { Access, AccessChange, GatewayKey, KeyCheck } from '../../src/access/access.ts'
import { createHttpHandler } from '../../src/edge/http/handler.ts'
import type { OwnService } from '../../src/edge/http/own-service.ts'
import { dialGate, type GateAddress, type ProxyAddress } from '../../src/tunnel/connector/dial.ts'
import {
  serveConnectorSession,
  type ConnectorSession,
  type Reached,
} from '../../src/tunnel/h2/connector-session.ts'
import {
  identityHeader,
  newIdentityPem,
  readIdentityPem,
  type HeldIdentity,
} from '../../src/tunnel/client-identity.ts'
import { identityHeaders, type Identity } from '../../src/tunnel/identity.ts'
import { createIdentityPins, type IdentityPins } from '../../src/tunnel/identity-pins.ts'
import type { AttachUdp } from '../../src/tunnel/udp-attach.ts'
import type { Registry } from '../../src/tunnel/registry.ts'
import { createTunnelParts, type TunnelParts } from '../../src/tunnel-parts.ts'
import type { Snapshot } from '../../src/policy/snapshot.ts'
import { FakeForwarder, FakeSelection, ManualClock } from '../edge/http/harness.ts'
import { startGate as startEdge, type Harness } from '../edge/gate-harness.ts'
import { testAuthority } from '../support/certificates.ts'

/** The name that the gate serves. */
export const HOST = 'rmm.example.test'

/** Keys in memory. */
export class FakeAccess implements Access {
  readonly #keys = new Map<string, GatewayKey>()
  readonly #listeners = new Set<(change: AccessChange) => void>()
  checks = 0
  /** Holds every answer until it resolves. */
  hold: Promise<void> = Promise.resolve()

  constructor(keys: Readonly<Record<string, string>>, maxClients: number | null = null) {
    for (const [key, name] of Object.entries(keys)) this.#keys.set(key, { name, maxClients, createdMs: 0 })
  }

  readonly keys = (): readonly GatewayKey[] => [...this.#keys.values()]
  readonly operators = (): readonly [] => []
  readonly operator = (): undefined => undefined
  readonly checkKey = async (text: string): Promise<KeyCheck> => {
    this.checks++
    await this.hold
    const key = this.#keys.get(text)
    if (key !== undefined) return { ok: true, key }
    return { ok: false, why: this.#keys.size === 0 ? 'no-keys' : 'unknown', retryAfterMs: null }
  }
  readonly checkOperator = () => Promise.resolve({ ok: false, why: 'unknown', retryAfterMs: null } as const)
  readonly reload = () => Promise.reject(new Error('nothing to read'))
  readonly onChange = (listener: (change: AccessChange) => void): (() => void) => {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** Removes a key the way a reload would. */
  remove(text: string): void {
    const name = this.#keys.get(text)?.name ?? ''
    this.#keys.delete(text)
    for (const tell of this.#listeners)
      tell({ keysAdded: [], keysRemoved: [name], operatorsChanged: [], operatorsRemoved: [] })
  }
}

/** A gate that connectors can attach to. */
export type TunnelGate = Harness & {
  readonly parts: TunnelParts
  readonly access: FakeAccess
  readonly address: GateAddress
  readonly forwarder: FakeForwarder
}

/** What differs from the usual. */
export type TunnelGateOptions = {
  readonly access?: FakeAccess
  readonly pins?: IdentityPins
  readonly udp?: AttachUdp
  readonly operator?: (registry: Registry) => OwnService
  readonly snapshot?: Partial<Snapshot>
}

/** The key that the usual gate knows, and its name. */
export const KEY = 'correct horse battery'
export const KEY_NAME = 'head-office'

/** Starts one. */
export async function startTunnelGate(
  t: ExecutionContext,
  options: TunnelGateOptions = {},
): Promise<TunnelGate> {
  const access = options.access ?? new FakeAccess({ [KEY]: KEY_NAME })
  const forwarder = new FakeForwarder()
  let parts: TunnelParts | undefined
  const late: OwnService = {
    request: request => (parts as TunnelParts).own.request(request),
    upgrade: (request, protocol) => (parts as TunnelParts).own.upgrade(request, protocol),
  }
  let references = 0
  let handler: ReturnType<typeof createHttpHandler> | undefined
  const harness: Harness = await startEdge(t, options.snapshot ?? {}, {
    handler: connection => {
      handler ??= createHttpHandler({
        current: () => harness.policy,
        forwarder,
        selection: new FakeSelection([...harness.policy.snapshot.upstreams.values()].flatMap(g => g.members)),
        reporter: harness.events.reporter,
        newReference: () => `OWN-${++references}`,
        sha256Hex: text => createHash('sha256').update(text).digest('hex'),
        clock: new ManualClock(),
        own: late,
      })
      return handler(connection)
    },
  })
  parts = createTunnelParts({
    access,
    pins:
      options.pins ?? createIdentityPins({ load: () => [], keep: () => undefined, drop: () => undefined }),
    reporter: harness.events.reporter,
    clock: Date.now,
    current: () => harness.policy,
    udp: options.udp ?? null,
    operator: options.operator ?? null,
  })
  t.teardown(() => parts?.close())
  const address: GateAddress = {
    host: HOST,
    port: harness.port,
    address: '127.0.0.1',
    pinsSha256: [],
    caPem: await testAuthority(),
  }
  return { ...harness, parts, access, address, forwarder }
}

/** A connector by hand: one reversed connection that reaches local ports by service name. */
export type HandConnector = {
  readonly session: ConnectorSession
  readonly ready: Promise<void>
  readonly closed: Promise<{ readonly why: string; readonly said: boolean }>
}

/** Who the usual connector is. */
export function identity(overrides: Partial<Identity> = {}): Identity {
  return {
    name: 'rmm',
    instance: 'instance-0123456789',
    realAddress: '10.1.2.3',
    version: '0.1.0',
    services: [{ kind: 'tcp', name: 'echo' }],
    ...overrides,
  }
}

/** An identity for a connector by hand. @param kept whether it was there before its process */
export function identityHeld(kept = true): HeldIdentity {
  const held = readIdentityPem(newIdentityPem(), kept)
  if (held === null) throw new Error('no identity')
  return held
}

/** Attaches. @throws DialError */
export async function attach(
  gate: Pick<TunnelGate, 'address'>,
  services: Readonly<Record<string, number>>,
  options: {
    readonly identity?: Partial<Identity>
    readonly key?: string
    readonly proxy?: ProxyAddress
    /** Identity that it proves. */
    readonly held?: HeldIdentity
    /** Value of the header instead of a proof. */
    readonly proof?: string
    /** Told the value of the header that went out. */
    readonly onProof?: (proof: string) => void
  } = {},
): Promise<HandConnector> {
  const who = identity({
    services: Object.keys(services).map(name => ({ kind: 'tcp', name })),
    ...options.identity,
  })
  const { socket, early } = await dialGate(
    gate.address,
    options.proxy ?? null,
    'portcullis-h2',
    (_address, material) => {
      const { held } = options
      const protocol = 'portcullis-h2'
      const made = held === undefined ? null : identityHeader(held, { ...who, protocol }, material)
      if (made !== null) options.onProof?.(made)
      return identityHeaders(who, options.key ?? KEY, options.proof ?? made)
    },
    AbortSignal.timeout(10_000),
  )
  if (early.length > 0) socket.unshift(early)
  const ready = Promise.withResolvers<void>()
  const closed = Promise.withResolvers<{ why: string; said: boolean }>()
  const session = serveConnectorSession(socket, {
    nowMs: () => performance.now(),
    reach: service => reachPort(services[service]),
    ready: () => ready.resolve(),
    closed: (why, said) => closed.resolve({ why, said }),
  })
  return { session, ready: ready.promise, closed: closed.promise }
}

async function reachPort(port: number | undefined): Promise<Reached> {
  if (port === undefined) return { unknown: true }
  const socket = connect({ host: '127.0.0.1', port, allowHalfOpen: true, noDelay: true })
  try {
    await once(socket, 'connect')
    return { socket }
  } catch (error) {
    return { problem: error instanceof Error ? error.message : String(error) }
  }
}

/** A TCP service on loopback. */
export async function service(t: ExecutionContext, serve: (socket: Socket) => void): Promise<number> {
  const sockets = new Set<Socket>()
  const server: Server = createServer({ allowHalfOpen: true }, socket => {
    sockets.add(socket)
    socket.on('error', () => undefined)
    socket.on('close', () => sockets.delete(socket))
    serve(socket)
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return (server.address() as AddressInfo).port
}

/** Pin of a certificate. */
export function pinOf(pem: string): string {
  const spki = new X509Certificate(pem).publicKey.export({ type: 'spki', format: 'der' })
  return createHash('sha256').update(spki).digest('base64')
}
