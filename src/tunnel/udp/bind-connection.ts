// One end of one connection of a UDP tunnel: reads capsules, sends what waits at the end of the turn, watches the other end.
import type { Duplex } from 'node:stream'
import { CapsuleError, CapsuleReader } from './capsule-reader.ts'
import {
  CAPSULE,
  encodeGoodbye,
  GOODBYE,
  isKnownCapsule,
  readAssign,
  readContext,
  readGoodbye,
  readProbe,
  readService,
  readTrouble,
  type ContextPeer,
} from './capsules.ts'
import { Liveness, TICK_MS } from './liveness.ts'
import { MAX_ANSWERS, Outbox } from './outbox.ts'
import { readVarint, varintSize } from './varint.ts'

/** Why a connection ended. `by` is `peer` when the other end said so, `network` when it did not. */
export type BindEnd = {
  readonly by: 'self' | 'peer' | 'network'
  readonly code: number
  readonly text: string
}

/** Counts of one connection. */
export type BindCounts = {
  datagramsIn: number
  datagramsOut: number
  bytesIn: number
  bytesOut: number
  /** Datagrams of contexts that are over: they crossed on the way. */
  late: number
  /** Datagrams of contexts that never were. */
  forged: number
}

/** Who uses the connection. Whatever is thrown as CapsuleError ends it as malformed. */
export type BindHandlers = {
  /** The payload is a view that nobody else will write to. */
  readonly onDatagram: (context: number, payload: Uint8Array) => void
  /** @param service null: the other end did not say */
  readonly onAssign: (context: number, peer: ContextPeer, service: string | null) => void
  readonly onAcknowledge: (context: number) => void
  readonly onClose: (context: number) => void
  /** @param code one of TROUBLE */
  readonly onTrouble: (context: number, code: number) => void
  /** Called once. */
  readonly onEnd: (end: BindEnd) => void
}

/**
 * Two flushes are at least so far apart: under load a flush then carries many datagrams (trap 29). Each costs a TLS record and a
 * call of the system at either end, which is dearer than the datagrams in it; what comes after a pause goes out at once.
 */
const FLUSH_GAP_MS = 4

type Every = (ms: number, tick: () => void) => () => void

/** A connection alone must not keep the process. */
const everyWithoutHold: Every = (ms, tick) => {
  const timer = setInterval(tick, ms).unref()
  return () => clearInterval(timer)
}

/** Wraps a stream that is joined already. It is read from the next turn on. */
export class BindConnection {
  readonly #stream: Duplex
  readonly #handlers: BindHandlers
  readonly #nowMs: () => number
  readonly #outbox = new Outbox()
  readonly #liveness: Liveness
  readonly #stopTicking: () => void
  readonly counts: BindCounts = {
    datagramsIn: 0,
    datagramsOut: 0,
    bytesIn: 0,
    bytesOut: 0,
    late: 0,
    forged: 0,
  }
  #service: { readonly context: number; readonly service: string } | null = null
  #ended = false
  #blocked = false
  #scheduled = false
  #flushedMs = 0
  readonly #flush = (): void => {
    this.#scheduled = false
    this.#write(this.#nowMs())
  }

  /**
   * @param early bytes that came before it was handed over
   * @param nowMs a clock that never goes back
   * @param every calls back again and again; returns what ends it
   */
  constructor(
    stream: Duplex,
    early: Uint8Array,
    handlers: BindHandlers,
    nowMs: () => number,
    every: Every = everyWithoutHold,
  ) {
    this.#stream = stream
    this.#handlers = handlers
    this.#nowMs = nowMs
    this.#liveness = new Liveness(nowMs())
    const reader = new CapsuleReader((type, value) => this.#capsule(type, value), isKnownCapsule)
    stream.pause()
    stream.on('data', (chunk: Uint8Array) => this.#received(reader, chunk))
    stream.on('drain', () => {
      this.#blocked = false
      this.#flush()
    })
    // What is wrong is in 'close': an error without a listener would end the process.
    stream.on('error', error => this.#leave({ by: 'network', code: GOODBYE.silent, text: error.message }))
    stream.on('end', () => {
      if (!reader.isBetween) this.end(GOODBYE.malformed, 'the stream ended within a capsule')
      else this.end(GOODBYE.done, 'the other end is gone')
    })
    stream.on('close', () =>
      this.#leave({ by: 'network', code: GOODBYE.silent, text: 'the connection was closed' }),
    )
    this.#stopTicking = every(TICK_MS, () => this.#tick())
    setImmediate(() => {
      if (early.length > 0) this.#received(reader, early)
      stream.resume()
    })
  }

  /** Whether it can be used. */
  get isOpen(): boolean {
    return !this.#ended
  }

  get roundTripMs(): number | null {
    return this.#liveness.roundTripMs
  }

  /** Datagrams that were not sent, because they had waited too long or too many waited. */
  get dropped(): { readonly aged: number; readonly overflow: number } {
    return this.#outbox.dropped
  }

  get queuedBytes(): number {
    return this.#outbox.queuedBytes
  }

  /** Sends a datagram at the end of the turn. The payload is copied. */
  send(context: number, payload: Uint8Array): void {
    if (this.#ended) return
    this.counts.datagramsOut++
    this.counts.bytesOut += payload.length
    this.#outbox.datagram(context, payload, this.#nowMs())
    this.#schedule()
  }

  assign(context: number, peer: ContextPeer, service: string | null): void {
    this.#outbox.assign(context, peer, service)
    this.#schedule()
  }

  acknowledge(context: number): void {
    this.#outbox.acknowledge(context)
    this.#answered()
  }

  close(context: number): void {
    this.#outbox.close(context)
    this.#answered()
  }

  trouble(context: number, code: number): void {
    this.#outbox.trouble(context, code)
    this.#schedule()
  }

  /** Ends the connection; the other end is told why, if it listens. */
  end(code: number, text: string): void {
    if (this.#ended) return
    this.#write(this.#nowMs())
    if (this.#stream.writable) this.#stream.end(encodeGoodbye(code, text))
    // Whoever does not read our goodbye does not close either.
    const force = setTimeout(() => this.#stream.destroy(), 1_000)
    force.unref()
    this.#stream.once('close', () => clearTimeout(force))
    this.#leave({ by: 'self', code, text })
  }

  #received(reader: CapsuleReader, chunk: Uint8Array): void {
    if (this.#ended) return
    this.#liveness.heard(this.#nowMs())
    try {
      reader.push(chunk)
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error)
      this.end(error instanceof CapsuleError ? GOODBYE.malformed : GOODBYE.defect, message)
    }
  }

  #capsule(type: number, value: Uint8Array): void {
    if (this.#ended) return
    if (type === CAPSULE.datagram) {
      const end = value.length === 0 ? 1 : varintSize(value[0] ?? 0)
      if (end > value.length) throw new CapsuleError('a datagram without a context id')
      this.counts.datagramsIn++
      this.counts.bytesIn += value.length - end
      // A view of its own kind: those of Buffer are several times as dear.
      const payload = new Uint8Array(value.buffer, value.byteOffset + end, value.length - end)
      this.#handlers.onDatagram(readVarint(value, 0), payload)
    } else this.#control(type, value)
  }

  #control(type: number, value: Uint8Array): void {
    switch (type) {
      case CAPSULE.assign: {
        const { context, peer } = readAssign(value)
        const service = this.#service?.context === context ? this.#service.service : null
        this.#service = null
        this.#handlers.onAssign(context, peer, service)
        return
      }
      case CAPSULE.acknowledge:
        this.#handlers.onAcknowledge(readContext(value))
        return
      case CAPSULE.close:
        this.#handlers.onClose(readContext(value))
        return
      case CAPSULE.ping:
        this.#outbox.probe('pong', readProbe(value))
        this.#schedule()
        return
      case CAPSULE.pong:
        this.#liveness.answered(readProbe(value), this.#nowMs())
        if (!this.#outbox.isEmpty) this.#schedule()
        return
      case CAPSULE.trouble: {
        const { context, code } = readTrouble(value)
        this.#handlers.onTrouble(context, code)
        return
      }
      case CAPSULE.service:
        this.#service = readService(value)
        return
      case CAPSULE.goodbye: {
        this.#stream.end()
        this.#leave({ by: 'peer', ...readGoodbye(value) })
      }
    }
  }

  #answered(): void {
    if (this.#outbox.answers > MAX_ANSWERS)
      this.end(GOODBYE.excess, 'the other end asks for contexts and does not read the answers')
    else this.#schedule()
  }

  #schedule(): void {
    if (this.#scheduled || this.#blocked || this.#ended) return
    this.#scheduled = true
    const leftMs = FLUSH_GAP_MS - (this.#nowMs() - this.#flushedMs)
    if (leftMs <= 0) setImmediate(this.#flush)
    else setTimeout(this.#flush, leftMs)
  }

  #write(nowMs: number): void {
    if (this.#blocked || this.#ended || !this.#stream.writable) return
    this.#flushedMs = nowMs
    const pieces = this.#outbox.take(nowMs, this.#liveness.keepsUp(nowMs))
    if (pieces.length === 0) return
    this.#liveness.sent()
    if (pieces.length > 1) this.#stream.cork()
    for (const piece of pieces) if (!this.#stream.write(piece)) this.#blocked = true
    if (pieces.length > 1) this.#stream.uncork()
    if (!this.#outbox.isEmpty) this.#schedule()
  }

  #tick(): void {
    const nowMs = this.#nowMs()
    this.#outbox.expire(nowMs)
    switch (this.#liveness.tick(nowMs)) {
      case 'dead':
        // Nobody would read a goodbye.
        this.#stream.destroy()
        this.#leave({ by: 'network', code: GOODBYE.silent, text: 'nothing was heard for 4.5 s' })
        return
      case 'ping':
        this.#outbox.probe('ping', this.#liveness.pingId)
        break
      case 'nothing':
    }
    if (!this.#outbox.isEmpty) this.#schedule()
  }

  #leave(end: BindEnd): void {
    if (this.#ended) return
    this.#ended = true
    this.#stopTicking()
    this.#handlers.onEnd(end)
  }
}
