// Joins two sockets after an accepted upgrade: raw bytes both ways with back-pressure, half-close, RST as RST, one idle limit.
import type { Duplex } from 'node:stream'
import type { TrafficClass } from '../../policy/classes.ts'
import type { Ending } from '../../journal/events.ts'
import type { Deadlines, Watched } from './deadlines.ts'

/** After one side has ended, so much silence of the other ends the splice: WebSocket has no half-open state (RFC 6455, section 7). */
const HALF_CLOSED_IDLE_MS = 500

/** What a splice needs to know. */
export type SpliceOptions = {
  readonly down: Duplex
  readonly up: Duplex
  /** Longest silence, both directions together; 0: no limit. */
  readonly idleMs: number
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
export class Splice implements Watched {
  deadlineMs: number
  bytesIn = 0
  bytesOut = 0
  readonly class: TrafficClass
  private readonly options: SpliceOptions
  /** How it ends; null while nothing has ended it. */
  ending: Ending | null = null
  private open = 2
  private halfClosed = false

  constructor(options: SpliceOptions) {
    this.options = options
    this.class = options.class
    this.deadlineMs = Infinity
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
    this.touch()
    if (!to.write(chunk)) from.pause()
  }

  drained(to: Duplex): void {
    this.touch()
    const { down, up } = this.options
    const from = to === down ? up : down
    from.resume()
  }

  ended(from: Duplex): void {
    const { down, up } = this.options
    this.halfClosed = true
    this.ending ??= 'complete'
    const to = from === down ? up : down
    if (to.writable) to.end()
    this.touch()
  }

  failed(from: Duplex): void {
    const { down, up, resetDown } = this.options
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
      onClosed(this.ending ?? 'complete')
      return
    }
    if (from.readableEnded && from.writableFinished) return
    // Closed without an end in both directions: the other side must not take this for a clean end.
    this.ending ??= from === down ? 'client-abort' : 'upstream-abort'
    if (from === down) reset(up)
    else resetDown()
  }

  onDeadline(): void {
    const { down, up, resetDown } = this.options
    this.ending ??= 'client-timeout'
    this.deadlineMs = Infinity
    if (this.halfClosed) {
      down.destroy()
      up.destroy()
      return
    }
    reset(up)
    resetDown()
  }

  /** Cuts both sides. */
  cut(ending: Ending): void {
    this.ending ??= ending
    this.options.down.destroy()
    this.options.up.destroy()
  }

  private touch(): void {
    const { idleMs, deadlines } = this.options
    const limit = this.halfClosed ? HALF_CLOSED_IDLE_MS : idleMs
    this.deadlineMs = limit > 0 ? deadlines.nowMs + limit : Infinity
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
