// One connection to an upstream member: a socket, a parser and at most one exchange. Reused only after a cleanly finished one.
import { createHash } from 'node:crypto'
import type { Duplex } from 'node:stream'
import type { PortcullisError } from '../policy/error.ts'
import type { UpstreamMember } from '../policy/snapshot.ts'
import { formatLastChunk } from './request-head.ts'
import { ResponseParser, type ParsedHead, type ParserLimits, type ResponseSink } from './response-parser.ts'
import type { Flushable, TurnEnd } from './turn-end.ts'
import { closing, invalid, late, reset } from './upstream-error.ts'
import { openUpstreamSocket, type OpenThrough } from './upstream-socket.ts'
import type { Carrier, WireExchange } from './wire-exchange.ts'

/** What a connection tells the pool that owns it. */
export type ConnectionOwner = {
  /** The forwarder's coarse clock, milliseconds. */
  readonly now: () => number
  readonly turnEnd: TurnEnd
  readonly through: OpenThrough
  /** Finished cleanly: may carry another exchange. */
  readonly free: (connection: WireConnection, keepAliveMs: number | null) => void
  /** Closed or handed away: counts no more. */
  readonly gone: (connection: WireConnection) => void
  /** Its exchange hit a dead kept connection and may be sent again on a new one. */
  readonly repeat: (exchange: WireExchange) => void
}

/** Up to here a body is copied into one string with its head: cheaper than a vectored write. */
const JOIN_BYTES = 8_192

const WEBSOCKET_GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11'

/** A pooled upstream connection. */
export class WireConnection implements Carrier, Flushable, ResponseSink {
  /** When the current wait must end, on the owner's clock. */
  deadlineMs = Infinity
  readonly #member: UpstreamMember
  readonly #owner: ConnectionOwner
  readonly #socket: Duplex
  readonly #parser: ResponseParser
  #exchange: WireExchange | null = null
  #ready = false
  #kept = false
  #headSeen = false
  #paused = false
  /** Head of the request, and as much of a small body as came in the same turn; null: sent. */
  #held: string | null = null
  #problem: Error | null = null
  #gone = false
  #keepAliveMs: number | null = null

  constructor(member: UpstreamMember, owner: ConnectionOwner, limits: ParserLimits) {
    this.#member = member
    this.#owner = owner
    this.#parser = new ResponseParser(this, limits)
    this.#socket = openUpstreamSocket(member, error => this.#connected(error), owner.through)
    this.#socket.on('error', this.#onError)
    this.#socket.on('close', this.#onClose)
  }

  /** Carries an exchange: at once, or as soon as the connection stands. */
  run(exchange: WireExchange): void {
    this.#exchange = exchange
    this.#headSeen = false
    exchange.attach(this)
    if (this.#ready) this.#send(exchange)
    else this.deadlineMs = this.#owner.now() + exchange.request.connectMs
  }

  /** The wait is over its limit. */
  expire(): void {
    this.deadlineMs = Infinity
    const exchange = this.#exchange
    if (exchange === null) return this.drop()
    const what = this.#headSeen ? 'the response stopped' : 'no response came'
    this.#fail(late(this.#member, this.#ready ? what : 'no connection came about', !this.#ready))
  }

  /** The forwarder closes. */
  close(): void {
    this.#fail(closing())
  }

  sendBody(chunk: Buffer): boolean {
    const socket = this.#socket
    const chunked = this.#exchange?.request.framing.kind === 'chunked'
    if (this.#held !== null && !chunked && this.#held.length + chunk.length <= JOIN_BYTES) {
      this.#held += chunk.toString('latin1')
      return true
    }
    socket.cork()
    this.#flushHeld()
    if (chunked) socket.write(`${chunk.length.toString(16)}\r\n`, 'latin1')
    let room = socket.write(chunk)
    if (chunked) room = socket.write('\r\n', 'latin1')
    socket.uncork()
    // The client's pace is watched by the edge; here counts only an upstream that takes no more.
    this.deadlineMs = room ? Infinity : this.#until('responseIdleMs')
    return room
  }

  sendEnd(trailers: readonly string[]): void {
    if (this.#exchange?.request.framing.kind === 'chunked') {
      this.#socket.cork()
      this.#flushHeld()
      this.#socket.write(formatLastChunk(trailers), 'latin1')
      this.#socket.uncork()
    }
    this.deadlineMs = this.#until(this.#headSeen ? 'responseIdleMs' : 'responseMs')
  }

  resume(): void {
    if (!this.#paused) return
    this.#paused = false
    this.deadlineMs = this.#until('responseIdleMs')
    this.#socket.resume()
  }

  drop(): void {
    this.#exchange = null
    this.#parser.stop()
    this.#socket.destroy()
    this.#leave()
  }

  onInterim(status: number, headers: readonly string[]): void {
    this.#exchange?.handler.onInterim(status, headers)
  }

  onHead(head: ParsedHead): void {
    this.#headSeen = true
    this.#keepAliveMs = head.keepAliveMs
    this.#exchange?.handler.onHead(head)
  }

  onBody(chunk: Buffer): void {
    const exchange = this.#exchange
    if (exchange === null || exchange.handler.onData(chunk) || this.#exchange !== exchange) return
    this.#paused = true
    this.deadlineMs = Infinity
    this.#socket.pause()
  }

  onTrailers(trailers: readonly string[]): void {
    this.#exchange?.handler.onTrailers(trailers)
  }

  onComplete(reusable: boolean): void {
    const exchange = this.#exchange
    if (exchange === null) return
    this.#exchange = null
    this.deadlineMs = Infinity
    if (reusable && exchange.bodyDone && this.#held === null && this.#problem === null) {
      this.#kept = true
      if (this.#paused) this.#socket.resume()
      this.#paused = false
      this.#owner.free(this, this.#keepAliveMs)
    } else {
      this.drop()
    }
    exchange.finish()
  }

  onSwitch(head: ParsedHead, early: Buffer): void {
    const exchange = this.#exchange
    const handler = exchange?.upgradeHandler
    if (!exchange || !handler) return
    if (!isWebSocketAccepted(exchange.request.headers, head.headers)) {
      return this.#fail(invalid(this.#member, 'a 101 that does not answer the WebSocket handshake'))
    }
    const socket = this.#socket
    socket.pause()
    // The edge adds its own listeners; an RST before that must not end the process.
    socket.on('error', ignore)
    socket.off('data', this.#onData).off('end', this.#onEnd).off('drain', this.#onDrain)
    socket.off('error', this.#onError).off('close', this.#onClose)
    socket.allowHalfOpen = false
    this.#exchange = null
    this.#leave()
    exchange.over = true
    handler.onUpgrade({ head, socket, early })
  }

  #connected(error: PortcullisError | null): void {
    if (error !== null) return this.#fail(error)
    const socket = this.#socket
    this.#ready = true
    socket.on('data', this.#onData)
    socket.on('end', this.#onEnd)
    socket.on('drain', this.#onDrain)
    if (this.#exchange !== null) this.#send(this.#exchange)
  }

  #send(exchange: WireExchange): void {
    const { request } = exchange
    this.#parser.begin(request.method === 'HEAD', exchange.upgradeHandler !== null)
    // Head and first piece of the body go out in one write when the body is already here.
    this.#held = exchange.head
    this.#owner.turnEnd.soon(this)
    if (request.framing.kind === 'none') {
      this.deadlineMs = this.#until('responseMs')
      return
    }
    this.deadlineMs = Infinity
    exchange.flush(this)
  }

  /** The turn of the event loop is over: what was held goes now. */
  flush(): void {
    if (this.#exchange !== null) this.#flushHeld()
  }

  #flushHeld(): void {
    if (this.#held === null) return
    const text = this.#held
    this.#held = null
    this.#socket.write(text, 'latin1')
  }

  readonly #onData = (chunk: Buffer): void => {
    const exchange = this.#exchange
    // Bytes on an idle connection answer no request: whoever came next would get them.
    if (exchange === null) return this.drop()
    if (this.#held !== null) return this.#fail(invalid(this.#member, 'an answer before it was asked'))
    if (exchange.bodyDone) this.deadlineMs = this.#until('responseIdleMs')
    const problem = this.#parser.execute(chunk)
    if (problem !== null) this.#fail(invalid(this.#member, problem))
  }

  readonly #onEnd = (): void => {
    if (this.#exchange === null) return this.drop()
    const problem = this.#parser.finish()
    if (problem !== null) this.#lost(problem)
  }

  readonly #onError = (error: Error): void => {
    this.#problem = error
  }

  readonly #onClose = (): void => {
    if (this.#exchange !== null) this.#lost(this.#problem?.message ?? 'closed without an answer')
    this.#leave()
  }

  readonly #onDrain = (): void => {
    const exchange = this.#exchange
    if (exchange === null) return
    if (!exchange.bodyDone) this.deadlineMs = Infinity
    exchange.drained()
  }

  /** The connection died under its exchange. */
  #lost(why: string): void {
    const exchange = this.#exchange
    if (exchange !== null && this.#kept && this.#parser.untouched && exchange.repeatable) {
      this.drop()
      exchange.detachForRepeat()
      this.#owner.repeat(exchange)
      return
    }
    this.#fail(reset(this.#member, why, this.#problem ?? undefined))
  }

  #fail(error: PortcullisError): void {
    const exchange = this.#exchange
    this.drop()
    exchange?.fail(error)
  }

  #leave(): void {
    if (this.#gone) return
    this.#gone = true
    this.deadlineMs = Infinity
    this.#owner.gone(this)
  }

  #until(limit: 'responseMs' | 'responseIdleMs'): number {
    const ms = this.#exchange?.request.limits[limit] ?? 0
    return ms === 0 ? Infinity : this.#owner.now() + ms
  }
}

function ignore(): void {}

/** RFC 6455, section 4.1: what makes a 101 the answer to this very handshake. */
function isWebSocketAccepted(sent: readonly string[], received: readonly string[]): boolean {
  const key = valueOf(sent, 'sec-websocket-key')
  if (key === undefined || valueOf(received, 'upgrade')?.toLowerCase() !== 'websocket') return false
  const connection = valueOf(received, 'connection')?.toLowerCase().split(',') ?? []
  if (!connection.some(option => option.trim() === 'upgrade')) return false
  const accept = createHash('sha1')
    .update(key + WEBSOCKET_GUID)
    .digest('base64')
  return valueOf(received, 'sec-websocket-accept') === accept
}

function valueOf(headers: readonly string[], name: string): string | undefined {
  for (let at = 0; at < headers.length; at += 2) {
    if (headers[at]?.toLowerCase() === name) return headers[at + 1]
  }
  return undefined
}
