// Reads of a dialled socket into memory that is used again: a fresh buffer for every read costs more than carrying its bytes.
import { Socket, type OnReadOpts } from 'node:net'
import type { Duplex } from 'node:stream'

/** Idle streams hold so much each. */
const SMALL_BYTES = 4_096
/** Streams in bulk hold so much each, while they are. */
const LARGE_BYTES = 262_144
/** Large buffers that are kept for the next stream in bulk. */
const SPARE_BUFFERS = 16

const spare: Buffer[] = []

/**
 * The read buffers of one socket whose bytes all go to one other. They are emitted as `data`, as those of every socket, but a
 * chunk may only be looked at until its listeners return, and written nowhere else.
 */
export class ReusedReads {
  /** Option of `connect`. */
  readonly onread: OnReadOpts
  readonly #partner: Socket
  #socket: Socket | null = null
  #buffer: Buffer = Buffer.allocUnsafeSlow(SMALL_BYTES)

  private constructor(partner: Socket) {
    this.#partner = partner
    this.onread = {
      buffer: () => this.#buffer,
      callback: length => this.#read(length),
    }
  }

  /**
   * Buffers for what goes to this socket; null where memory cannot be used again. A plain TCP socket that has nothing queued after
   * a write has handed every byte to the kernel. Others, TLS above all, hold chunks for longer.
   */
  static to(partner: Duplex): ReusedReads | null {
    return partner instanceof Socket && !('encrypted' in partner) ? new ReusedReads(partner) : null
  }

  /** The socket that was made with the option. Nothing is read from it until it is resumed: nobody listens before. */
  of(socket: Socket): void {
    this.#socket = socket
    socket.pause()
    socket.once('close', () => {
      this.#giveBack()
      this.#buffer = NOTHING
    })
  }

  #read(length: number): boolean {
    const buffer = this.#buffer
    this.#socket?.emit('data', buffer.subarray(0, length))
    // What is still queued will be written later: that memory is not ours any more.
    const isFree = this.#partner.writableLength === 0
    const isLarge = buffer.length === LARGE_BYTES
    if (length === buffer.length && !isLarge) this.#buffer = largeBuffer()
    else if (isLarge && length <= SMALL_BYTES) {
      if (isFree) this.#giveBack()
      this.#buffer = Buffer.allocUnsafeSlow(SMALL_BYTES)
    } else if (!isFree) this.#buffer = isLarge ? largeBuffer() : Buffer.allocUnsafeSlow(SMALL_BYTES)
    return true
  }

  #giveBack(): void {
    if (this.#buffer.length === LARGE_BYTES && spare.length < SPARE_BUFFERS) spare.push(this.#buffer)
  }
}

const NOTHING = Buffer.alloc(0)

function largeBuffer(): Buffer {
  return spare.pop() ?? Buffer.allocUnsafeSlow(LARGE_BYTES)
}
