// A client and a server that are joined: the splice, whether both speak TLS or neither, and the bytes that passed.
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { Ending } from '../../journal/events.ts'
import type { TrafficClass } from '../../policy/classes.ts'
import type { Deadlines } from '../http/deadlines.ts'
import { reset, Splice } from '../http/splice.ts'
import { ReusedReads } from './reused-reads.ts'
import { isTlsRecord } from './sniff.ts'

/** What is joined. */
export type JoinOptions = {
  readonly raw: Socket
  /** The socket of the client as its bytes are read: `raw`, or the TLS socket over it. */
  readonly down: Duplex
  readonly up: Duplex
  /** Read from the client already. */
  readonly first: Buffer | null
  readonly class: TrafficClass
  readonly idleMs: number
  readonly deadlines: Deadlines
  /** Whether the bytes of client and server are compared: not where the gate itself speaks TLS to the server. */
  readonly compares: boolean
  /** Asked when the client begins with TLS: true refuses it. The answer is sent to the client. */
  readonly refuseTls: () => Buffer | null
  readonly onMismatch: (what: 'tls-to-plain' | 'plain-to-tls') => void
  readonly onClosed: (ending: Ending) => void
}

/** A joined stream. */
export class JoinedStream {
  readonly #options: JoinOptions
  readonly #splice: Splice
  /** Null: that side has not spoken yet. */
  #clientTls: boolean | null = null
  #serverTls: boolean | null = null
  #isOver = false

  constructor(options: JoinOptions) {
    this.#options = options
    const { raw, down, up, first, idleMs, deadlines } = options
    // Attached before the splice's own listeners: what is refused must not reach the server.
    down.once('data', this.#clientBegan)
    if (options.compares) up.once('data', this.#serverBegan)
    if (first !== null && first.length > 0) {
      down.off('data', this.#clientBegan)
      this.#clientTls = isTlsRecord(first, 'client')
      up.write(first)
    }
    this.#splice = new Splice({
      down,
      up,
      idleMs,
      halfClosedIdleMs: idleMs,
      deadlines,
      class: options.class,
      resetDown: () => reset(raw),
      onClosed: ending => this.#closed(ending),
    })
    this.#splice.bytesIn += first?.length ?? 0
    ReusedReads.onceInBulk(down, up)
    ReusedReads.onceInBulk(up, down)
  }

  get bytesIn(): number {
    return this.#splice.bytesIn
  }

  get bytesOut(): number {
    return this.#splice.bytesOut
  }

  /**
   * Ends both sides with a reset. An orderly end would tell each that the other has said all it had to say, and a dump that
   * is cut short would pass for a whole one.
   */
  cut(ending: Ending): void {
    if (this.#isOver) return
    this.#splice.ending ??= ending
    reset(this.#options.up)
    reset(this.#options.raw)
    this.#options.down.destroy()
  }

  readonly #clientBegan = (chunk: Buffer): void => {
    this.#clientTls = isTlsRecord(chunk, 'client')
    const answer = this.#clientTls ? this.#options.refuseTls() : null
    if (answer === null) {
      this.#compare()
      return
    }
    // What refused it says so by an event of its own.
    this.#options.up.off('data', this.#serverBegan)
    this.#serverTls = true
    reset(this.#options.up)
    this.#splice.refuse(answer, null)
  }

  readonly #serverBegan = (chunk: Buffer): void => {
    this.#serverTls = isTlsRecord(chunk, 'server')
    this.#compare()
  }

  /** A server that speaks first in plain text and takes TLS later (STARTTLS and the like) is met by plain bytes first. */
  #compare(): void {
    if (!this.#options.compares || this.#clientTls === null || this.#serverTls === null) return
    if (this.#clientTls === this.#serverTls) return
    this.#options.onMismatch(this.#clientTls ? 'tls-to-plain' : 'plain-to-tls')
  }

  #closed(ending: Ending): void {
    this.#isOver = true
    const { compares, onMismatch, onClosed } = this.#options
    // It hung up on a ClientHello without a word: most servers that do not know TLS do.
    if (compares && this.#clientTls === true && this.#serverTls === null && ending !== 'client-abort')
      onMismatch('tls-to-plain')
    onClosed(ending)
  }
}
