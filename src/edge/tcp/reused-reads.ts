// Reads into memory that is used again: a fresh buffer for every read costs more than carrying its bytes.
import { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { takeOverReads, type ReadsInto } from './reads-taken-over.ts'

/** Idle streams hold so much each; chunks that are not larger make no stream one in bulk. */
const SMALL_BYTES = 4_096
/** Streams in bulk hold so much each, while they are. */
const LARGE_BYTES = 262_144
/** TLS gives what is in one record at most (RFC 8446, section 5.1). */
const RECORD_BYTES = 16_384
/** Large buffers that are kept for the next stream in bulk. */
const SPARE_BUFFERS = 16
/** Whoever stops in the middle of bulk keeps its large buffer. Once there are so many, streams in bulk get little ones. */
const MAX_LARGE_BUFFERS = 1_024

const spare: Buffer[] = []
let large = 0

/**
 * The read buffers of one socket whose bytes all go to one other. They are emitted as `data`, as those of every socket, but a
 * chunk may only be looked at until its listeners return, and written nowhere else.
 */
export class ReusedReads {
  /** Option of `connect`. */
  readonly onread: ReadsInto
  readonly #partner: Socket
  /** What a TLS socket is given to write has been encrypted when `write` returns, unless it waits behind other writes. */
  readonly #encrypts: boolean
  #isTls = false
  #socket: Socket | null = null
  #buffer: Buffer = Buffer.allocUnsafeSlow(SMALL_BYTES)

  private constructor(partner: Socket) {
    this.#partner = partner
    this.#encrypts = isTls(partner)
    this.onread = {
      buffer: () => this.#buffer,
      callback: length => this.#read(length),
    }
  }

  /**
   * Buffers for what goes to this socket; null where memory cannot be used again. A plain TCP socket that has nothing queued after
   * a write has handed every byte to the kernel, and a TLS socket has encrypted it. Streams through a connector hold chunks for longer.
   */
  static to(partner: Duplex): ReusedReads | null {
    return partner instanceof Socket ? new ReusedReads(partner) : null
  }

  /** Gives a socket such buffers once more comes from it at a time than a stream has that is not in bulk. */
  static onceInBulk(from: Duplex, partner: Duplex): void {
    if (!(from instanceof Socket)) return
    const look = (chunk: Buffer): void => {
      if (chunk.length <= SMALL_BYTES) return
      // What was read before it flowed is still to come, from memory of its own.
      if (from.readableLength > 0) return
      from.off('data', look)
      const reads = ReusedReads.to(partner)
      if (reads !== null) reads.#takeOver(from)
    }
    from.on('data', look)
  }

  /** The socket that was made with the option. Nothing is read from it until it is resumed: nobody listens before. */
  of(socket: Socket): void {
    socket.pause()
    this.#serve(socket)
  }

  #takeOver(socket: Socket): void {
    if (socket.destroyed) return
    this.#isTls = isTls(socket)
    this.#buffer = this.#grown()
    if (takeOverReads(socket, this.onread)) this.#serve(socket)
    else this.#giveBack(true)
  }

  #serve(socket: Socket): void {
    this.#socket = socket
    socket.once('close', () => {
      this.#giveBack(true)
      this.#buffer = NOTHING
    })
  }

  #read(length: number): boolean {
    const buffer = this.#buffer
    const wasIdle = this.#partner.writableLength === 0
    this.#socket?.emit('data', buffer.subarray(0, length))
    // What is still queued will be written later: that memory is not ours any more.
    const queued = this.#partner.writableLength
    const isFree = queued === 0 || (this.#encrypts && wasIdle && queued <= length)
    if (length === buffer.length && length === SMALL_BYTES) this.#buffer = this.#grown()
    else if (length <= SMALL_BYTES && buffer.length === LARGE_BYTES) {
      this.#giveBack(isFree)
      this.#buffer = Buffer.allocUnsafeSlow(SMALL_BYTES)
    } else if (!isFree) this.#buffer = bufferOf(buffer.length)
    return true
  }

  #grown(): Buffer {
    if (this.#isTls || large >= MAX_LARGE_BUFFERS) return bufferOf(RECORD_BYTES)
    large++
    return bufferOf(LARGE_BYTES)
  }

  #giveBack(isFree: boolean): void {
    if (this.#buffer.length !== LARGE_BYTES) return
    large--
    if (isFree && spare.length < SPARE_BUFFERS) spare.push(this.#buffer)
  }
}

function bufferOf(bytes: number): Buffer {
  return (bytes === LARGE_BYTES ? spare.pop() : undefined) ?? Buffer.allocUnsafeSlow(bytes)
}

const NOTHING = Buffer.alloc(0)

function isTls(socket: Socket): boolean {
  return 'encrypted' in socket
}
