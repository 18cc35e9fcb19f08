// Joins two sockets after an accepted upgrade: raw bytes both ways with back-pressure, half-close, RST as RST, one idle limit.
import type { Duplex } from 'node:stream'
import type { TrafficClass } from '../../policy/classes.ts'
import type { Ending } from '../../journal/events.ts'
import type { Deadlines, Watched } from './deadlines.ts'
import type { InspectedSplice, MessageInspection } from './message-inspection.ts'
import type { Successor } from './successor.ts'
import type { FrameBoundary } from './web-socket-frames.ts'

/** After one side has ended, so much silence of the other ends the splice: WebSocket has no half-open state (RFC 6455, section 7). */
const HALF_CLOSED_IDLE_MS = 500

/** How long, and for how many bytes, a refused client is listened to so that it can read why. */
const LINGER_MS = 2_000
const LINGER_BYTES = 1 << 20

/** What is left to say after a refusal. */
type Refusal = {
  readonly toClient: Buffer
  /** Null: it was said. */
  boundary: FrameBoundary | null
  dropped: number
}

/** What a splice needs to know. */
export type SpliceOptions = {
  readonly down: Duplex
  readonly up: Duplex
  /** Longest silence, both directions together; 0: no limit. */
  readonly idleMs: number
  /** Longest silence after one side has ended; 0: no limit. Left out: that of WebSockets. */
  readonly halfClosedIdleMs?: number
  readonly deadlines: Deadlines
  /** Class of the traffic, for status. */
  readonly class: TrafficClass
  /** Ends the downstream connection with a RST. */
  readonly resetDown: () => void
  /** Called once, when both sockets are closed. */
  readonly onClosed: (ending: Ending) => void
}

const PARTNER: unique symbol = Symbol('splice')

type Spliced = Duplex & { [PARTNER]?: Splice }

/** Two joined sockets. The listeners are shared by all splices; only this object is made per splice. */
export class Splice implements Watched, InspectedSplice, Successor {
  deadlineMs: number
  bytesIn = 0
  bytesOut = 0
  readonly class: TrafficClass
  private readonly options: SpliceOptions
  /** How it ends; null while nothing has ended it. */
  ending: Ending | null = null
  private open = 2
  private halfClosed = false
  /** Null once nothing has to be looked at. */
  private inspection: MessageInspection | null
  private refusal: Refusal | null = null

  /** @param inspect looks at the client's first messages; null: nobody wants to. It is not kept. */
  constructor(
    options: SpliceOptions,
    inspect: ((splice: InspectedSplice) => MessageInspection) | null = null,
  ) {
    this.options = options
    this.class = options.class
    this.deadlineMs = Infinity
    this.inspection = inspect === null ? null : inspect(this)
    const { down, up, deadlines } = options
    for (const socket of [down, up]) {
      const spliced: Spliced = socket
      spliced[PARTNER] = this
      // The other direction goes on until it ends by itself.
      socket.allowHalfOpen = true
      socket.on('data', onData)
      socket.on('drain', onDrain)
      socket.on('end', onEnd)
      socket.on('error', onError)
      socket.on('close', onClose)
    }
    this.touch()
    deadlines.add(this)
    for (const socket of [down, up]) {
      if (socket.destroyed) this.closed(socket)
      else if (socket.readableEnded) this.ended(socket)
      else socket.resume()
    }
  }

  /** Bytes from one side to the other. */
  data(from: Duplex, chunk: Buffer): void {
    const { down, up } = this.options
    const to = from === down ? up : down
    if (from === down) this.bytesIn += chunk.length
    else this.bytesOut += chunk.length
    if (this.inspection !== null || this.refusal !== null) {
      this.inspectedData(from, chunk)
      return
    }
    this.touch()
    if (!to.write(chunk)) from.pause()
  }

  forward(bytes: Buffer): void {
    if (!this.options.up.write(bytes)) this.options.down.pause()
  }

  inspected(): void {
    this.inspection = null
  }

  refuse(toClient: Buffer, toUpstream: Buffer | null): void {
    const { down, up, deadlines } = this.options
    const boundary = this.inspection?.fromServer ?? null
    this.inspection = null
    this.ending ??= 'refused'
    this.refusal = { toClient, boundary, dropped: 0 }
    if (up.writable) {
      if (toUpstream === null) up.end()
      else up.end(toUpstream)
    }
    this.sayRefusal()
    this.deadlineMs = deadlines.nowMs + LINGER_MS
    // What the client still sends is read and thrown away: unread, it would turn the end into a reset, and the reason be lost.
    down.resume()
    up.resume()
  }

  /** Bytes while messages are looked at, or after one was refused. */
  private inspectedData(from: Duplex, chunk: Buffer): void {
    const { down, up } = this.options
    const { inspection, refusal } = this
    if (inspection !== null) {
      if (from === down) inspection.take(chunk)
      else {
        inspection.fromServer.follow(chunk)
        if (!down.write(chunk)) up.pause()
      }
      if (this.refusal === null) this.touch()
    } else if (refusal !== null && from === down) {
      refusal.dropped += chunk.length
      if (refusal.dropped > LINGER_BYTES) down.destroy()
    } else if (refusal !== null && refusal.boundary !== null) {
      down.write(chunk.subarray(0, refusal.boundary.follow(chunk, 0, true)))
      this.sayRefusal()
    }
  }

  /** Tells the client why, as soon as no frame of the server is under way. */
  private sayRefusal(): void {
    const { down } = this.options
    const { refusal } = this
    if (refusal === null || refusal.boundary?.isBetween === false) return
    refusal.boundary = null
    if (down.writable) down.end(refusal.toClient)
  }

  drained(to: Duplex): void {
    this.touch()
    const { down, up } = this.options
    const from = to === down ? up : down
    from.resume()
  }

  ended(from: Duplex): void {
    const { down, up } = this.options
    if (this.refusal !== null) {
      // A server that ends within a frame leaves no place for a reason.
      if (from === up && down.writable) down.end()
      return
    }
    this.halfClosed = true
    this.ending ??= 'complete'
    const to = from === down ? up : down
    if (to.writable) to.end()
    this.touch()
  }

  failed(from: Duplex): void {
    const { down, up, resetDown } = this.options
    if (this.refusal !== null) return
    this.ending ??= from === down ? 'client-abort' : 'upstream-abort'
    if (from === down) reset(up)
    else resetDown()
  }

  closed(from: Duplex): void {
    const { down, up, deadlines, resetDown, onClosed } = this.options
    const spliced: Spliced = from
    if (spliced[PARTNER] === undefined) return
    delete spliced[PARTNER]
    from.off('data', onData)
    from.off('drain', onDrain)
    from.off('end', onEnd)
    from.off('close', onClose)
    this.open--
    if (this.open === 0) {
      deadlines.remove(this)
      this.inspection?.drop()
      onClosed(this.ending ?? 'complete')
      return
    }
    if ((from.readableEnded && from.writableFinished) || this.refusal !== null) return
    // Closed without an end in both directions: the other side must not take this for a clean end.
    this.ending ??= from === down ? 'client-abort' : 'upstream-abort'
    if (from === down) reset(up)
    else resetDown()
  }

  onDeadline(): void {
    const { down, up, deadlines, resetDown } = this.options
    const { inspection } = this
    if (inspection !== null && inspection.deadlineMs <= deadlines.nowMs) {
      inspection.onDeadline()
      return
    }
    this.ending ??= 'client-timeout'
    this.deadlineMs = Infinity
    if (this.halfClosed || this.refusal !== null) {
      down.destroy()
      up.destroy()
      return
    }
    reset(up)
    resetDown()
  }

  /** What it is, for status. */
  get state(): string {
    return `websocket ${this.class}`
  }

  /** Goes on: only the end of the time for draining ends it. */
  drain(): void {}

  /** Cuts both sides. */
  cut(ending: Ending): void {
    this.ending ??= ending
    this.options.down.destroy()
    this.options.up.destroy()
  }

  private touch(): void {
    const { idleMs, deadlines, halfClosedIdleMs = HALF_CLOSED_IDLE_MS } = this.options
    const limit = this.halfClosed ? halfClosedIdleMs : idleMs
    this.deadlineMs = limit > 0 ? deadlines.nowMs + limit : Infinity
    const held = this.inspection?.deadlineMs ?? Infinity
    if (held < this.deadlineMs) this.deadlineMs = held
  }
}

function onData(this: Spliced, chunk: Buffer): void {
  this[PARTNER]?.data(this, chunk)
}

function onDrain(this: Spliced): void {
  this[PARTNER]?.drained(this)
}

function onEnd(this: Spliced): void {
  this[PARTNER]?.ended(this)
}

// Stays attached after the close: an error that comes late must find a listener.
function onError(this: Spliced): void {
  this[PARTNER]?.failed(this)
}

function onClose(this: Spliced): void {
  this[PARTNER]?.closed(this)
}

/** Ends a socket with a RST where it is a TCP socket, and with a plain close otherwise. */
export function reset(socket: Duplex): void {
  if (socket.destroyed) return
  if (
    'resetAndDestroy' in socket &&
    typeof socket.resetAndDestroy === 'function' &&
    !('encrypted' in socket)
  ) {
    socket.resetAndDestroy()
  } else {
    socket.destroy()
  }
}
