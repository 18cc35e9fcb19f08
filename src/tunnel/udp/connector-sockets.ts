// The connector's UDP sockets towards one service: one per source, so that the answer to each finds its way back.
import { createSocket, type Socket } from 'node:dgram'
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
  readonly socket: Socket
  owner: SourceOwner | null
  /** When it was heard from last, in either direction, or lost its owner. */
  lastMs: number
  isConnected: boolean
  /** A context of another connection may still name it. */
  isClosed: boolean
  /** Datagrams that came before the socket was connected. */
  waiting: Uint8Array[]
}

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

/** The sockets of one service. */
export class ServedUdp {
  readonly settings: UdpServiceSettings
  readonly #nowMs: () => number
  readonly #onTrouble: (code: string | null) => void
  readonly #sources = new Map<string, ServedSource>()
  readonly #loopback = new LoopbackAddresses()
  readonly counts: ServedCounts = { datagramsIn: 0, datagramsOut: 0, refusedContexts: 0, unowned: 0 }
  #troubleMs = -Infinity
  #trouble: string | null = null

  /** @param onTrouble is told what the system says of the service when that is something else than before; null: it answers again */
  constructor(settings: UdpServiceSettings, nowMs: () => number, onTrouble: (code: string | null) => void) {
    this.settings = settings
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

  /** Sends a datagram of a source to the service. */
  send(source: ServedSource, payload: Uint8Array): void {
    if (source.isClosed) return
    source.lastMs = this.#nowMs()
    this.counts.datagramsIn++
    if (!source.isConnected) {
      if (source.waiting.length < MAX_WAITING) source.waiting.push(payload)
    } else if (source.socket.getSendQueueSize() < MAX_QUEUED_BYTES) source.socket.send(payload)
  }

  /** The tunnel of a source is gone: its socket waits for the next one. */
  orphan(source: ServedSource, owner: SourceOwner): void {
    if (source.owner !== owner) return
    source.owner = null
    source.lastMs = this.#nowMs()
  }

  /** The gate has closed the context of a source. */
  release(source: ServedSource, owner: SourceOwner): void {
    if (source.owner === owner) this.#close(source)
  }

  /** To be called about once a second. */
  sweep(): void {
    const nowMs = this.#nowMs()
    const { idleMs } = this.settings
    for (const source of this.#sources.values()) {
      if (nowMs - source.lastMs < (source.owner === null ? Math.min(ORPHAN_MS, idleMs) : idleMs)) continue
      const { owner } = source
      this.#close(source)
      owner?.onExpired()
    }
  }

  close(): void {
    for (const source of this.#sources.values()) this.#close(source)
  }

  #open(key: string, address: Address, owner: SourceOwner): ServedSource {
    const { host, port, loopbackPerClient } = this.settings
    const socket = createSocket({
      type: isIPv6(host) ? 'udp6' : 'udp4',
      lookup: literal,
      recvBufferSize: RECEIVE_BUFFER_BYTES,
    })
    const source: ServedSource = {
      key,
      socket,
      owner,
      lastMs: this.#nowMs(),
      isConnected: false,
      isClosed: false,
      waiting: [],
    }
    socket.on('error', (error: NodeJS.ErrnoException) => this.#failed(source, error.code ?? error.message))
    socket.on('message', message => this.#answered(source, message))
    const connect = (): void => {
      socket.connect(port, host, () => {
        if (source.isClosed) return
        source.isConnected = true
        const { waiting } = source
        source.waiting = []
        for (const payload of waiting) socket.send(payload)
      })
    }
    if (loopbackPerClient) socket.bind({ address: this.#loopback.of(address), port: 0 }, connect)
    else connect()
    return source
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
    if (source.isConnected || source.isClosed) return
    const { owner } = source
    this.#close(source)
    owner?.onExpired()
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

type Found = (error: NodeJS.ErrnoException | null, address: string, family: number) => void

// The address of a service is literal: asking the resolver would only cost a turn of the event loop per source.
function literal(host: string, _options: unknown, found: Found): void {
  found(null, host, isIPv6(host) ? 6 : 4)
}
