// A gate without TLS handling around the HTTP edge, raw clients, a hand-moved clock and recorded events, for the tests of this folder.
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { createServer, connect, type AddressInfo, type Server, type Socket } from 'node:net'
import { createServer as createTlsServer, type TLSSocket } from 'node:tls'
import type { ConnectionActivity, PolicyInForce, SecureConnection } from '../../../src/edge/connection.ts'
import { DEADLINE_STEP_MS, type HttpClock } from '../../../src/edge/http/deadlines.ts'
import { createHttpHandler } from '../../../src/edge/http/handler.ts'
import type {
  Exchange,
  ExchangeHandler,
  Forwarder,
  UpgradeHandler,
  UpstreamRequest,
} from '../../../src/forward/forwarder.ts'
import type { UpstreamSelection } from '../../../src/forward/upstream-selection.ts'
import type { EventFields, EventName } from '../../../src/journal/events.ts'
import type { TlsVersion } from '../../../src/net/tls-version.ts'
import type { ClassLimits, Snapshot, UpstreamMember } from '../../../src/policy/snapshot.ts'
import { CLASSES, type TrafficClass } from '../../../src/policy/classes.ts'
import { standingOf } from '../../../src/policy/who.ts'
import { testCertificate } from '../../support/certificates.ts'
import {
  classPolicy,
  emptyOverlay,
  listener,
  name,
  snapshot,
  source,
  testLimits,
  upstreamGroup,
} from '../../support/snapshot.ts'

/** One reported event. */
export type Reported = { [K in EventName]: { readonly name: K; readonly fields: EventFields[K] } }[EventName]

/** A promise that its holder settles. */
export async function until<T>(
  check: () => T | undefined | null | false,
  changed: (listen: () => void) => () => void,
): Promise<T> {
  for (;;) {
    const found = check()
    if (found !== undefined && found !== null && found !== false) return found
    await new Promise<void>(resolve => {
      const stop = changed(() => {
        stop()
        resolve()
      })
    })
  }
}

/** Something that tells listeners when it has changed. */
export class Changes {
  readonly #listeners = new Set<() => void>()
  readonly listen = (listener: () => void): (() => void) => {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }
  tell(): void {
    for (const listener of this.#listeners) listener()
  }
}

/** A clock that moves only when told to. */
export class ManualClock implements HttpClock {
  #now = 1_000_000
  readonly #ticks = new Set<() => void>()
  readonly nowMs = (): number => Date.UTC(2026, 0, 5) + this.#now
  readonly monotonicMs = (): number => this.#now
  readonly every = (_ms: number, tick: () => void): (() => void) => {
    this.#ticks.add(tick)
    return () => this.#ticks.delete(tick)
  }

  get timers(): number {
    return this.#ticks.size
  }

  /** Moves time on, a little more than asked for, and lets the coarse timer run on its way. */
  pass(ms: number): void {
    for (let passed = 0; passed <= ms; passed += DEADLINE_STEP_MS) this.stall(DEADLINE_STEP_MS)
  }

  /** Moves time on in one step, as if the process had been held up. */
  stall(ms: number): void {
    this.#now += ms
    for (const tick of this.#ticks) tick()
  }
}

/** An exchange that a test drives by hand. */
export class FakeExchange implements Exchange {
  readonly request: UpstreamRequest
  readonly member: UpstreamMember
  readonly handler: UpgradeHandler
  readonly upgrade: boolean
  body = Buffer.alloc(0)
  writes = 0
  ended = false
  aborted = false
  resumed = 0
  takes = true
  readonly #changes: Changes

  constructor(
    member: UpstreamMember,
    request: UpstreamRequest,
    handler: ExchangeHandler,
    upgrade: boolean,
    changes: Changes,
  ) {
    this.member = member
    this.request = request
    this.handler = handler as UpgradeHandler
    this.upgrade = upgrade
    this.#changes = changes
  }

  write(chunk: Buffer): boolean {
    this.writes++
    this.body = Buffer.concat([this.body, chunk])
    this.#changes.tell()
    return this.takes
  }

  end(): void {
    this.ended = true
    this.#changes.tell()
  }

  resume(): void {
    this.resumed++
    this.#changes.tell()
  }

  abort(): void {
    this.aborted = true
    this.#changes.tell()
  }

  /** Answers completely. */
  answer(status: number, headers: readonly string[] = [], body = ''): void {
    this.handler.onHead({ status, statusText: 'OK', headers, contentLength: body.length })
    if (body.length > 0) this.handler.onData(Buffer.from(body, 'latin1'))
    this.handler.onEnd()
  }
}

/** A forwarder without a network. */
export class FakeForwarder implements Forwarder {
  readonly exchanges: FakeExchange[] = []
  readonly changes = new Changes()
  /** Called for each new exchange; answers by itself when set. */
  serve: ((exchange: FakeExchange) => void) | null = null
  readonly exchange = (
    member: UpstreamMember,
    request: UpstreamRequest,
    handler: ExchangeHandler,
  ): Exchange => this.#begin(member, request, handler, false)
  readonly upgrade = (member: UpstreamMember, request: UpstreamRequest, handler: UpgradeHandler): Exchange =>
    this.#begin(member, request, handler, true)
  readonly retain = (): void => {}
  readonly open = (): number => 0
  readonly close = (): Promise<void> => Promise.resolve()

  #begin(
    member: UpstreamMember,
    request: UpstreamRequest,
    handler: ExchangeHandler,
    upgrade: boolean,
  ): Exchange {
    const exchange = new FakeExchange(member, request, handler, upgrade, this.changes)
    this.exchanges.push(exchange)
    this.changes.tell()
    const { serve } = this
    if (serve !== null) queueMicrotask(() => serve(exchange))
    return exchange
  }

  /** Waits for the exchange with this index. */
  at(index: number): Promise<FakeExchange> {
    return until(() => this.exchanges[index], this.changes.listen)
  }

  /** Waits for something to become true of an exchange. */
  when(check: () => boolean): Promise<true> {
    return until(() => (check() ? true : null), this.changes.listen)
  }
}

/** Selection over the members of the snapshot in order; members can be called down. */
export class FakeSelection implements UpstreamSelection {
  readonly down = new Set<string>()
  readonly failures: string[] = []
  readonly #members: readonly UpstreamMember[]
  constructor(members: readonly UpstreamMember[]) {
    this.#members = members
  }
  readonly pick = (_group: string, not: readonly string[] = []): UpstreamMember | null =>
    this.#members.find(member => !not.includes(member.id) && !this.down.has(member.id)) ?? null
  readonly isUp = (): boolean => true
  readonly failed = (member: UpstreamMember): void => void this.failures.push(member.id)
  readonly succeeded = (): void => {}
  readonly health = (): readonly never[] => []
}

/** A gate under test. */
export type TestGate = {
  readonly port: number
  readonly clock: ManualClock
  readonly events: Reported[]
  readonly forwarder: FakeForwarder
  readonly selection: FakeSelection
  readonly activities: ConnectionActivity[]
  readonly sockets: Set<Socket>
  /** Replaces the policy in force. */
  readonly setPolicy: (policy: Partial<PolicyInForce>) => void
  /** Waits for the event with this name and index. */
  readonly event: <K extends EventName>(name: K, index?: number) => Promise<EventFields[K]>
  readonly count: (name: EventName) => number
  /** Waits until no socket is open. */
  readonly quiet: () => Promise<true>
  readonly close: () => Promise<void>
}

/** A snapshot with the limits of every class replaced. */
export function withLimits(limits: Partial<ClassLimits>, rest: Partial<Snapshot> = {}): Snapshot {
  const policy = classPolicy({ limits: { ...testLimits, ...limits } })
  return snapshot({
    classes: new Map<TrafficClass, typeof policy>(CLASSES.map(entry => [entry, policy])),
    ...rest,
  })
}

/** Starts a gate whose connections are plain TCP, or TLS when `tls` is set. */
export async function startGate(
  options: {
    readonly snapshot?: Snapshot
    readonly forwarder?: Forwarder
    readonly selection?: UpstreamSelection
    readonly members?: number
    readonly ports?: readonly number[]
    readonly clock?: HttpClock
    readonly tls?: boolean
    readonly country?: string
    /** Version that the connections claim to have negotiated. */
    readonly tlsVersion?: TlsVersion
  } = {},
): Promise<TestGate> {
  const group = upstreamGroup(
    options.ports ?? Array.from({ length: options.members ?? 1 }, (_, index) => index + 1),
  )
  const base = options.snapshot ?? snapshot()
  let inForce: PolicyInForce = {
    snapshot: { ...base, upstreams: new Map([['rmm', group]]) },
    overlay: emptyOverlay(),
  }
  const clock = new ManualClock()
  const events: Reported[] = []
  const changes = new Changes()
  const fake = new FakeForwarder()
  const fakeSelection = new FakeSelection(group.members)
  const handler = createHttpHandler({
    current: () => inForce,
    forwarder: options.forwarder ?? fake,
    selection: options.selection ?? fakeSelection,
    reporter: {
      report: (eventName, fields) => {
        events.push({ name: eventName, fields } as Reported)
        changes.tell()
      },
    },
    newReference: references(),
    sha256Hex: text => createHash('sha256').update(text).digest('hex'),
    clock: options.clock ?? clock,
  })
  const activities: ConnectionActivity[] = []
  const sockets = new Set<Socket>()
  let count = 0
  const secured = (socket: Socket, raw: Socket): void => {
    sockets.add(socket)
    socket.once('close', () => {
      sockets.delete(socket)
      changes.tell()
    })
    const connection: SecureConnection = {
      id: `c${++count}`,
      socket: socket as TLSSocket,
      listener: listener(),
      clientPort: socket.remotePort ?? 0,
      standing: standingOf(
        inForce.snapshot,
        inForce.overlay,
        source('198.51.100.7', options.country ?? 'US'),
        0,
      ),
      hello: { serverName: 'rmm.example.test', versions: ['TLSv1.3'], alpn: [], ja4: 'ja4', cipherCount: 3 },
      tls: { version: options.tlsVersion ?? 'TLSv1.3', cipher: 'TLS_AES_128_GCM_SHA256', resumed: false },
      tlsProfile: 'modern',
      name: name(),
      openedMs: 0,
      reset: () => raw.resetAndDestroy(),
    }
    activities.push(handler(connection))
    changes.tell()
  }
  const server: Server =
    options.tls === true ? await tlsServer(secured) : createServer(socket => secured(socket, socket))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const find = <K extends EventName>(eventName: K, index: number): EventFields[K] | undefined =>
    events.filter(entry => entry.name === eventName)[index]?.fields as EventFields[K] | undefined
  return {
    port: (server.address() as AddressInfo).port,
    clock,
    events,
    forwarder: fake,
    selection: fakeSelection,
    activities,
    sockets,
    setPolicy: policy => {
      inForce = { ...inForce, ...policy }
      inForce = { ...inForce, snapshot: { ...inForce.snapshot, upstreams: new Map([['rmm', group]]) } }
    },
    event: (eventName, index = 0) => until(() => find(eventName, index), changes.listen),
    count: eventName => events.filter(entry => entry.name === eventName).length,
    quiet: () => until(() => (sockets.size === 0 ? true : null), changes.listen),
    close: async () => {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}

async function tlsServer(secured: (socket: Socket, raw: Socket) => void): Promise<Server> {
  const certificate = await testCertificate(['rmm.example.test', '127.0.0.1'])
  const inner = createTlsServer(certificate)
  inner.on('secureConnection', socket => secured(socket, rawOf.get(`${socket.remotePort}`) ?? socket))
  inner.on('tlsClientError', () => {})
  const rawOf = new Map<string, Socket>()
  // As the gate does it: the TCP socket is known, the TLS server gets it by hand.
  return createServer(raw => {
    const key = `${raw.remotePort}`
    rawOf.set(key, raw)
    raw.once('close', () => rawOf.delete(key))
    raw.on('error', () => {})
    inner.emit('connection', raw)
  })
}

function references(): () => string {
  let next = 0
  return () => `REF-${++next}`
}

/** A client that writes bytes as they are and keeps what comes back. */
export class RawClient {
  readonly socket: Socket
  received = ''
  ended = false
  closed = false
  error: NodeJS.ErrnoException | null = null
  readonly #changes = new Changes()

  constructor(socket: Socket) {
    this.socket = socket
    socket.on('data', chunk => {
      this.received += chunk.toString('latin1')
      this.#changes.tell()
    })
    socket.on('end', () => {
      this.ended = true
      this.#changes.tell()
    })
    socket.on('error', error => {
      this.error = error
    })
    socket.on('close', () => {
      this.closed = true
      this.#changes.tell()
    })
  }

  static async open(port: number): Promise<RawClient> {
    const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true })
    await once(socket, 'connect')
    return new RawClient(socket)
  }

  send(text: string | Buffer): void {
    this.socket.write(typeof text === 'string' ? Buffer.from(text, 'latin1') : text)
  }

  /** Waits until the received text satisfies the check. */
  async until(check: (received: string) => boolean): Promise<string> {
    await until(() => {
      if (check(this.received)) return true
      if (this.closed) throw new Error(`closed after: ${JSON.stringify(this.received.slice(0, 500))}`)
      return null
    }, this.#changes.listen)
    return this.received
  }

  /** Waits for the end or the close and gives everything received. */
  async all(): Promise<string> {
    await until(() => this.ended || this.closed || null, this.#changes.listen)
    return this.received
  }

  async gone(): Promise<void> {
    await until(() => this.closed || null, this.#changes.listen)
  }
}

/** A request with the Host that the test snapshot serves. */
export function get(path = '/automate/x', ...lines: readonly string[]): string {
  return ['GET ' + path + ' HTTP/1.1', 'Host: rmm.example.test', ...lines, '', ''].join('\r\n')
}
