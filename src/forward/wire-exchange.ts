// One exchange of the wire forwarder: the request's side of it, and the guard that the edge hears of its end exactly once.
import type { PortcullisError } from '../policy/error.ts'
import type { UpstreamMember } from '../policy/snapshot.ts'
import type { Exchange, ExchangeHandler, UpgradeHandler, UpstreamRequest } from './forwarder.ts'
import { trailersToForward } from './headers.ts'
import { misuse } from './upstream-error.ts'

/** What an exchange needs of the connection that carries it. */
export type Carrier = {
  readonly sendBody: (chunk: Buffer) => boolean
  readonly sendEnd: (trailers: readonly string[]) => void
  readonly resume: () => void
  /** Closes the connection without another word to the exchange. */
  readonly drop: () => void
}

const REPEATABLE = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE', 'PUT', 'DELETE', 'PROPFIND'])

/** An exchange from the call of the edge to its end. */
export class WireExchange implements Exchange {
  readonly member: UpstreamMember
  readonly request: UpstreamRequest
  readonly handler: ExchangeHandler
  readonly upgradeHandler: UpgradeHandler | null
  /** Head of the request in wire form. */
  readonly head: string
  /** When waiting for a connection must end, on the forwarder's clock. */
  waitsUntil = Infinity
  /** Sent once already on a kept connection that turned out to be dead. */
  repeated = false
  over = false
  bodyDone: boolean
  #carrier: Carrier | null = null
  #ready = false
  #unsent: Buffer[] = []
  #trailers: readonly string[] = []
  #bodyBytes = 0
  #wantsDrain = false
  #cancelWait: (() => void) | null = null

  constructor(
    member: UpstreamMember,
    request: UpstreamRequest,
    handler: ExchangeHandler,
    upgradeHandler: UpgradeHandler | null,
    head: string,
  ) {
    this.member = member
    this.request = request
    this.handler = handler
    this.upgradeHandler = upgradeHandler
    this.head = head
    this.bodyDone = request.framing.kind === 'none'
  }

  /** Waiting in a queue: `cancel` takes it out again. */
  wait(untilMs: number, cancel: () => void): void {
    this.waitsUntil = untilMs
    this.#cancelWait = cancel
  }

  /** A connection took the exchange; it may not be ready yet. `abort` closes it from now on. */
  attach(carrier: Carrier): void {
    this.#carrier = carrier
    this.#cancelWait = null
  }

  /** The carrier is ready and the head is on its way: sends what the edge gave in the meantime. */
  flush(carrier: Carrier): void {
    let room = true
    for (const chunk of this.#unsent) room = carrier.sendBody(chunk)
    this.#unsent = []
    this.#ready = true
    if (this.bodyDone && this.request.framing.kind !== 'none') carrier.sendEnd(this.#trailers)
    if (room) this.drained()
  }

  /** May be sent a second time when a kept connection died before it answered (RFC 9110, section 9.2.2). */
  get repeatable(): boolean {
    return !this.repeated && this.request.framing.kind === 'none' && REPEATABLE.has(this.request.method)
  }

  /** Forgets the dead carrier before the exchange is sent again. */
  detachForRepeat(): void {
    this.#carrier = null
    this.#ready = false
    this.repeated = true
  }

  drained(): void {
    if (!this.#wantsDrain || this.over) return
    this.#wantsDrain = false
    this.handler.onDrain()
  }

  write(chunk: Buffer): boolean {
    if (this.over || chunk.length === 0) return true
    const { framing } = this.request
    this.#bodyBytes += chunk.length
    const excess = framing.kind === 'length' && this.#bodyBytes > framing.bytes
    if (this.bodyDone || excess) {
      this.#breakOff(misuse('more body than its framing says'))
      return true
    }
    let room = false
    if (this.#ready && this.#carrier !== null) room = this.#carrier.sendBody(chunk)
    else this.#unsent.push(chunk)
    this.#wantsDrain ||= !room
    return room
  }

  end(trailers: readonly string[] = []): void {
    if (this.over || this.bodyDone) return
    const { framing } = this.request
    if (framing.kind === 'length' && this.#bodyBytes !== framing.bytes) {
      this.#breakOff(misuse('less body than its framing says'))
      return
    }
    this.bodyDone = true
    this.#trailers = trailers.length === 0 ? trailers : trailersToForward(trailers)
    if (this.#ready) this.#carrier?.sendEnd(this.#trailers)
  }

  resume(): void {
    if (!this.over) this.#carrier?.resume()
  }

  abort(): void {
    if (this.over) return
    this.over = true
    this.#cancelWait?.()
    this.#carrier?.drop()
    this.#carrier = null
  }

  /** The exchange failed. The carrier sees to its own end. */
  fail(error: PortcullisError): void {
    if (this.over) return
    this.over = true
    this.#carrier = null
    this.handler.onError(error)
  }

  /** The response is complete. What the edge still writes is thrown away. */
  finish(): void {
    if (this.over) return
    this.over = true
    this.#carrier = null
    this.handler.onEnd()
  }

  #breakOff(error: PortcullisError): void {
    const carrier = this.#carrier
    this.#cancelWait?.()
    this.fail(error)
    carrier?.drop()
  }
}
