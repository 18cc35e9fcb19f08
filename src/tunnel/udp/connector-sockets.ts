// The connector's UDP sockets towards one service: one per source, so that the answer to each finds its way back.
import { createSocket } from 'node:dgram'
import { isIPv6 } from 'node:net'
import type { Address } from '../../net/address.ts'
import { TROUBLE } from './capsules.ts'

/** A local UDP service that a connector offers, as its file names it. */
export type UdpServiceSettings = {
  readonly name: string
  /** A literal address: names are not looked up for every source. */
  readonly host: string
  readonly port: number
  /** Sources at once. */
  readonly contexts: number
  /** Silence in both directions after which the socket of a source is closed. */
  readonly idleMs: number
  /** Each client address gets an own loopback address, so that the service can tell clients apart. Linux, service on 127.0.0.1. */
  readonly loopbackPerClient: boolean
}

/** Who gets the datagrams of the service for one source. */
export type SourceOwner = {
  readonly onDatagram: (payload: Uint8Array) => void
  /** One of TROUBLE. */
  readonly onTrouble: (code: number) => void
  /** The socket is closed; nothing comes any more. */
  readonly onExpired: () => void
}

/** One source: its socket stays the same whichever connection it comes through. */
export type ServedSource = {
  readonly key: string
  readonly socket: ServiceSocket
  /** Every context that names it, on whichever connection. It is closed when the gate has closed the last of them. */
  readonly owners: Set<SourceOwner>
  /** Who gets the answers: the context through which the source was heard last. Null: the tunnel is away. */
  owner: SourceOwner | null
  /** When it was heard from last, in either direction, or lost its owner. */
  lastMs: number
  isConnected: boolean
  isClosed: boolean
  /** Datagrams that came before the socket was connected. */
  waiting: Uint8Array[]
}

/** A socket towards the service. */
export type ServiceSocket = {
  readonly send: (payload: Uint8Array) => void
  readonly close: () => void
  /** Bytes that wait for the system. */
  readonly getSendQueueSize: () => number
}

/** What becomes of a socket towards the service. */
export type ServiceSocketHandlers = {
  readonly onConnected: () => void
  readonly onMessage: (message: Uint8Array) => void
  /** @param code of the system, for example `ECONNREFUSED` */
  readonly onError: (code: string) => void
}

/** Opens a socket towards a service. `localAddress` null: the system chooses. */
export type OpenServiceSocket = (
  settings: UdpServiceSettings,
  localAddress: string | null,
  handlers: ServiceSocketHandlers,
) => ServiceSocket

/** Counts of a service. */
export type ServedCounts = {
  datagramsIn: number
  datagramsOut: number
  refusedContexts: number
  /** Answers for sources that nobody owns just now: the tunnel is away. */
  unowned: number
}

/** A socket without a tunnel is kept so long: a connector that reconnects finds it again, and the service sees the same port. */
const ORPHAN_MS = 30_000
const TROUBLE_EVERY_MS = 1_000
const MAX_QUEUED_BYTES = 1_048_576
const MAX_WAITING = 8
const RECEIVE_BUFFER_BYTES = 262_144
/** Contexts that may name one source: every connection to every gate, and one more of each while a source moves. */
const MAX_OWNERS = 32

/** The sockets of one service. */
export class ServedUdp {
  readonly settings: UdpServiceSettings
  readonly #nowMs: () => number
  readonly #onTrouble: (code: string | null) => void
  readonly #openSocket: OpenServiceSocket
  readonly #sources = new Map<string, ServedSource>()
  readonly #loopback = new LoopbackAddresses()
  readonly counts: ServedCounts = { datagramsIn: 0, datagramsOut: 0, refusedContexts: 0, unowned: 0 }
  #troubleMs = -Infinity
  #trouble: string | null = null

  /** @param onTrouble is told what the system says of the service when that is something else than before; null: it answers again */
  constructor(
    settings: UdpServiceSettings,
    nowMs: () => number,
    onTrouble: (code: string | null) => void,
    openSocket: OpenServiceSocket = openServiceSocket,
  ) {
    this.settings = settings
    this.#openSocket = openSocket
    this.#nowMs = nowMs
    this.#onTrouble = onTrouble
  }

  get size(): number {
    return this.#sources.size
  }

  /** The socket of a source, new or kept from before. Null: there are as many as there may be. */
  take(peer: { readonly address: Address; readonly port: number }, owner: SourceOwner): ServedSource | null {
    const key = `${peer.port} ${peer.address.text}`
    const known = this.#sources.get(key)
    if (known !== undefined) {
      if (known.owners.size >= MAX_OWNERS) {
        this.counts.refusedContexts++
        return null
      }
      known.owners.add(owner)
      known.owner = owner
      known.lastMs = this.#nowMs()
      return known
    }
    if (this.#sources.size >= this.settings.contexts && !this.#dropOrphan()) {
      this.counts.refusedContexts++
      return null
    }
    const source = this.#open(key, peer.address, owner)
    this.#sources.set(key, source)
    return source
  }

  /**
   * Sends a datagram of a source to the service; the answers go to the context that it came through.
   * @returns false: the socket is closed, so the context is of no more use
   */
  send(source: ServedSource, owner: SourceOwner, payload: Uint8Array): boolean {
    if (source.isClosed) return false
    source.owner = owner
    source.lastMs = this.#nowMs()
    this.counts.datagramsIn++
    if (!source.isConnected) {
      if (source.waiting.length < MAX_WAITING) source.waiting.push(payload)
    } else if (source.socket.getSendQueueSize() < MAX_QUEUED_BYTES) source.socket.send(payload)
    return true
  }

  /** The connection of a context is gone: the socket of its source waits for the next one. */
  orphan(source: ServedSource, owner: SourceOwner): void {
    source.owners.delete(owner)
    if (source.owner !== owner) return
    source.owner = lastOf(source.owners)
    source.lastMs = this.#nowMs()
  }

  /**
   * The gate has closed a context. Connections overtake each other: a context that the gate opened first may come to be known,
   * and be closed, after the one that took its place. So the socket lives until no context names its source.
   */
  release(source: ServedSource, owner: SourceOwner): void {
    if (!source.owners.delete(owner)) return
    if (source.owners.size === 0) this.#close(source)
    else if (source.owner === owner) source.owner = lastOf(source.owners)
  }

  /** To be called about once a second. */
  sweep(): void {
    const nowMs = this.#nowMs()
    const { idleMs } = this.settings
    for (const source of this.#sources.values()) {
      if (nowMs - source.lastMs < (source.owner === null ? Math.min(ORPHAN_MS, idleMs) : idleMs)) continue
      this.#expire(source)
    }
  }

  close(): void {
    for (const source of this.#sources.values()) this.#close(source)
  }

  #open(key: string, address: Address, owner: SourceOwner): ServedSource {
    const localAddress = this.settings.loopbackPerClient ? this.#loopback.of(address) : null
    const source: ServedSource = {
      key,
      socket: this.#openSocket(this.settings, localAddress, {
        onConnected: () => this.#connected(source),
        onMessage: message => this.#answered(source, message),
        onError: code => this.#failed(source, code),
      }),
      owners: new Set([owner]),
      owner,
      lastMs: this.#nowMs(),
      isConnected: false,
      isClosed: false,
      waiting: [],
    }
    return source
  }

  #connected(source: ServedSource): void {
    if (source.isClosed) return
    source.isConnected = true
    const { waiting } = source
    source.waiting = []
    for (const payload of waiting) source.socket.send(payload)
  }

  #answered(source: ServedSource, message: Uint8Array): void {
    if (this.#trouble !== null) {
      this.#trouble = null
      this.#onTrouble(null)
    }
    if (source.owner === null) {
      this.counts.unowned++
      return
    }
    source.lastMs = this.#nowMs()
    this.counts.datagramsOut++
    source.owner.onDatagram(message)
  }

  #failed(source: ServedSource, code: string): void {
    const nowMs = this.#nowMs()
    if (this.#trouble !== code) {
      this.#trouble = code
      this.#onTrouble(code)
    }
    if (nowMs - this.#troubleMs >= TROUBLE_EVERY_MS) {
      this.#troubleMs = nowMs
      source.owner?.onTrouble(code === 'ECONNREFUSED' ? TROUBLE.portClosed : TROUBLE.unreachable)
    }
    // A closed port is no reason to change the socket; one that never came to be connected is of no use.
    if (!source.isConnected && !source.isClosed) this.#expire(source)
  }

  #expire(source: ServedSource): void {
    const owners = [...source.owners]
    this.#close(source)
    for (const owner of owners) owner.onExpired()
  }

  #dropOrphan(): boolean {
    for (const source of this.#sources.values()) {
      if (source.owner !== null) continue
      this.#close(source)
      return true
    }
    return false
  }

  #close(source: ServedSource): void {
    if (source.isClosed) return
    source.isClosed = true
    this.#sources.delete(source.key)
    source.owner = null
    source.owners.clear()
    source.waiting = []
    source.socket.close()
  }
}

/** Loopback addresses for client addresses: always the same one while it is remembered, and never one for two clients. */
export class LoopbackAddresses {
  readonly #byClient = new Map<string, string>()
  readonly #taken = new Map<string, string>()

  /** An address in 127.64.0.0/10, which nothing else uses. The longest unused assignment gives way after a million. */
  of(client: Address): string {
    const known = this.#byClient.get(client.text)
    if (known !== undefined) return known
    if (this.#byClient.size >= MAX_LOOPBACK) this.#forgetOldest()
    let number = 0
    for (const word of client.words) number = (Math.imul(number, 0x0100_0193) ^ word) >>> 0
    let text = loopbackText(number)
    while (this.#taken.has(text)) text = loopbackText(++number)
    this.#byClient.set(client.text, text)
    this.#taken.set(text, client.text)
    return text
  }

  #forgetOldest(): void {
    for (const [client, text] of this.#byClient) {
      this.#byClient.delete(client)
      this.#taken.delete(text)
      return
    }
  }
}

const MAX_LOOPBACK = 1_000_000

function loopbackText(number: number): string {
  const low = number & 0x3f_ffff
  return `127.${64 + (low >>> 16)}.${(low >>> 8) & 255}.${low & 255}`
}

function lastOf(owners: ReadonlySet<SourceOwner>): SourceOwner | null {
  return [...owners].at(-1) ?? null
}

/** A socket of the system, connected: only datagrams of the service arrive, and a closed port is noticed. */
function openServiceSocket(
  { host, port }: UdpServiceSettings,
  localAddress: string | null,
  { onConnected, onMessage, onError }: ServiceSocketHandlers,
): ServiceSocket {
  const socket = createSocket({
    type: isIPv6(host) ? 'udp6' : 'udp4',
    lookup: literal,
    recvBufferSize: RECEIVE_BUFFER_BYTES,
  })
  socket.on('error', (error: NodeJS.ErrnoException) => onError(error.code ?? error.message))
  socket.on('message', onMessage)
  const connect = (): void => socket.connect(port, host, onConnected)
  if (localAddress === null) connect()
  else socket.bind({ address: localAddress, port: 0 }, connect)
  return socket
}

type Found = (error: NodeJS.ErrnoException | null, address: string, family: number) => void

// The address of a service is literal: asking the resolver would only cost a turn of the event loop per source.
function literal(host: string, _options: unknown, found: Found): void {
  // The family that is answered is not looked at: the socket has its own.
  found(null, host, 4)
}
