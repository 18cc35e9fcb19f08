// What one end of a UDP tunnel has to send: control capsules that must arrive, and datagrams that may be too old to. Pure.
import {
  datagramHeadLength,
  encodeAssign,
  encodeContext,
  encodeProbe,
  encodeService,
  encodeTrouble,
  writeDatagramHead,
  type ContextPeer,
} from './capsules.ts'

/** Datagrams that wait longer than this are worth nothing: the sender has sent newer ones. */
export const MAX_AGE_MS = 2_000
/** What may wait in all. Beyond it the oldest datagrams are dropped. */
export const MAX_QUEUED_BYTES = 1_048_576
/** What one flush hands to the connection at most, so that control capsules never wait behind more. */
const FLUSH_BYTES = 262_144
/** Answers to the peer that may wait; a peer that asks on and on and reads nothing is hung up on (draft, section 8). */
export const MAX_ANSWERS = 65_536

/** Datagrams of one batch came within this time, so that its age is known to that much. */
const BATCH_MS = 100
const BATCH_BYTES = 65_536

type Assigning = { readonly peer: ContextPeer; readonly service: string | null }
type Batch = { readonly bytes: Uint8Array; readonly atMs: number; readonly count: number }

/** Datagrams that were not sent. */
export type Dropped = { aged: number; overflow: number }

/** Collects what is to be sent, and gives it out in as few pieces as possible. */
export class Outbox {
  readonly #scratch = new Uint8Array(BATCH_BYTES)
  #scratchLength = 0
  #scratchCount = 0
  #scratchMs = 0
  #batches: Batch[] = []
  #batchBytes = 0
  readonly #assigning = new Map<number, Assigning>()
  readonly #acknowledging = new Set<number>()
  readonly #closing = new Set<number>()
  #ping: number | null = null
  #pong: number | null = null
  #trouble: { readonly context: number; readonly code: number } | null = null
  readonly dropped: Dropped = { aged: 0, overflow: 0 }

  /** Bytes of datagrams that wait. */
  get queuedBytes(): number {
    return this.#batchBytes + this.#scratchLength
  }

  /** Answers that wait; more than MAX_ANSWERS means that the peer asks and does not read. */
  get answers(): number {
    return this.#acknowledging.size + this.#closing.size
  }

  /** Adds a datagram; its payload is copied. */
  datagram(context: number, payload: Uint8Array, nowMs: number): void {
    const length = datagramHeadLength(context, payload.length) + payload.length
    if (this.#scratchLength + length > BATCH_BYTES || nowMs - this.#scratchMs > BATCH_MS) this.#seal()
    if (length > BATCH_BYTES) {
      const bytes = new Uint8Array(length)
      bytes.set(payload, writeDatagramHead(bytes, 0, context, payload.length))
      this.#add({ bytes, atMs: nowMs, count: 1 })
      return
    }
    if (this.#scratchCount === 0) this.#scratchMs = nowMs
    const at = writeDatagramHead(this.#scratch, this.#scratchLength, context, payload.length)
    this.#scratch.set(payload, at)
    this.#scratchLength = at + payload.length
    this.#scratchCount++
  }

  /** A context is to be opened. The gate says for which service. */
  assign(context: number, peer: ContextPeer, service: string | null): void {
    this.#assigning.set(context, { peer, service })
  }

  /** A context of the peer is accepted. */
  acknowledge(context: number): void {
    this.#acknowledging.add(context)
  }

  /** A context is over. One that was never sent needs no word, which bounds what can wait. */
  close(context: number): void {
    if (this.#assigning.delete(context)) return
    this.#acknowledging.delete(context)
    this.#closing.add(context)
  }

  /** Only the last ping is worth sending, and only the last answer. */
  probe(kind: 'ping' | 'pong', id: number): void {
    if (kind === 'ping') this.#ping = id
    else this.#pong = id
  }

  /** Only the last trouble is worth sending. */
  trouble(context: number, code: number): void {
    this.#trouble = { context, code }
  }

  /**
   * Everything that goes out now, in order.
   * @param datagrams false: only what controls the tunnel
   */
  take(nowMs: number, datagrams = true): Uint8Array[] {
    const out: Uint8Array[] = []
    const control = this.#takeControl()
    if (control !== null) out.push(control)
    if (!datagrams) return out
    this.expire(nowMs)
    // What was sealed before is older than what is not.
    let length = 0
    let taken = 0
    while (taken < this.#batches.length && length < FLUSH_BYTES)
      length += this.#batches[taken++]?.bytes.length ?? 0
    for (const { bytes } of this.#batches.splice(0, taken)) out.push(bytes)
    this.#batchBytes -= length
    if (this.#batches.length === 0 && this.#scratchLength > 0) {
      out.push(this.#scratch.slice(0, this.#scratchLength))
      this.#scratchLength = 0
      this.#scratchCount = 0
    }
    return out
  }

  /** Whether anything waits. */
  get isEmpty(): boolean {
    return this.queuedBytes === 0 && !this.#hasControl()
  }

  /** Drops datagrams that have waited too long. */
  expire(nowMs: number): void {
    if (this.#scratchCount > 0 && nowMs - this.#scratchMs > BATCH_MS) this.#seal()
    let aged = 0
    for (const { atMs, bytes, count } of this.#batches) {
      if (nowMs - atMs <= MAX_AGE_MS) break
      aged++
      this.#batchBytes -= bytes.length
      this.dropped.aged += count
    }
    if (aged > 0) this.#batches.splice(0, aged)
  }

  #seal(): void {
    if (this.#scratchCount === 0) return
    const bytes = this.#scratch.slice(0, this.#scratchLength)
    this.#scratchLength = 0
    const count = this.#scratchCount
    this.#scratchCount = 0
    this.#add({ bytes, atMs: this.#scratchMs, count })
  }

  #add(batch: Batch): void {
    this.#batches.push(batch)
    this.#batchBytes += batch.bytes.length
    while (this.#batchBytes > MAX_QUEUED_BYTES) {
      const oldest = this.#batches.shift()
      if (oldest === undefined) return
      this.#batchBytes -= oldest.bytes.length
      this.dropped.overflow += oldest.count
    }
  }

  #hasControl(): boolean {
    if (this.#ping !== null || this.#pong !== null || this.#trouble !== null) return true
    return this.#assigning.size > 0 || this.#acknowledging.size > 0 || this.#closing.size > 0
  }

  #takeControl(): Uint8Array | null {
    if (!this.#hasControl()) return null
    const parts: Uint8Array[] = []
    for (const context of this.#closing) parts.push(encodeContext('close', context))
    for (const context of this.#acknowledging) parts.push(encodeContext('acknowledge', context))
    for (const [context, { peer, service }] of this.#assigning) {
      if (service !== null) parts.push(encodeService(context, service))
      parts.push(encodeAssign(context, peer))
    }
    this.#closing.clear()
    this.#acknowledging.clear()
    this.#assigning.clear()
    if (this.#pong !== null) parts.push(encodeProbe('pong', this.#pong))
    if (this.#ping !== null) parts.push(encodeProbe('ping', this.#ping))
    if (this.#trouble !== null) parts.push(encodeTrouble(this.#trouble.context, this.#trouble.code))
    this.#ping = null
    this.#pong = null
    this.#trouble = null
    return joined(parts)
  }
}

function joined(parts: readonly Uint8Array[]): Uint8Array {
  if (parts.length === 1 && parts[0] !== undefined) return parts[0]
  let length = 0
  for (const part of parts) length += part.length
  const bytes = new Uint8Array(length)
  let at = 0
  for (const part of parts) {
    bytes.set(part, at)
    at += part.length
  }
  return bytes
}
