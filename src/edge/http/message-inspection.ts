// Holds the first messages of a WebSocket's client until rules have judged them; afterwards the sockets are joined as if it never was.
import { randomBytes } from 'node:crypto'
import { MAX_EARLIER } from '../../ips/parts/inspected.ts'
import type { RuleHit } from '../../ips/rule-set.ts'
import { classPolicy } from '../../policy/decide-request.ts'
import type { RequestFacts } from '../../policy/facts.ts'
import { refusalOfHits } from '../../policy/rule-hits.ts'
import { ruleScope } from '../../policy/rule-scope.ts'
import { BUILT_IN, formatSourceLine } from '../../policy/source-line.ts'
import type { Refusal } from '../../policy/verdict.ts'
import { GRACE_MS, HeldBody } from './held-body.ts'
import type { HttpConnection } from './http-connection.ts'
import { MessageReader, type RawMessage, type Reading } from './message-reader.ts'
import { reportRefusal, type RequestRecord } from './request-record.ts'
import { reportDetections, reportUnread, type Unread } from './rule-reports.ts'
import { MessageInflater, type Deflate } from './web-socket-extensions.ts'
import { CLOSE, closeFrame, FrameBoundary } from './web-socket-frames.ts'

/** The splice, as its inspection sees it. */
export type InspectedSplice = {
  /** Sends bytes of the client to the upstream. */
  readonly forward: (bytes: Buffer) => void
  /** The inspection is over: bytes go through from now on. */
  readonly inspected: () => void
  /** Nothing of the client goes on; `toUpstream` null: its stream is within a frame and is only ended. */
  readonly refuse: (toClient: Buffer, toUpstream: Buffer | null) => void
}

/** What the connection was opened with. */
export type MessageContext = {
  readonly request: RequestFacts
  readonly record: RequestRecord
  /** Compression as agreed; null: none. */
  readonly deflate: Deflate | null
}

const NO_HITS: readonly RuleHit[] = []

/** The inspection of one connection. */
export class MessageInspection {
  /** Monotonic milliseconds at which a message under way is too slow; Infinity: none is. */
  deadlineMs = Infinity
  /** Where the frames of the server end: what the gate itself says must not stand within one. */
  readonly fromServer = new FrameBoundary()
  private readonly conn: HttpConnection
  private readonly context: MessageContext
  private readonly splice: InspectedSplice
  private readonly reader: MessageReader
  private readonly inflater: MessageInflater | null
  private held: HeldBody | null = null
  private taken = 0
  private number = 0
  /** What earlier messages said, for rules that read them as one stream. */
  private earlier = ''
  private startedMs = 0
  private over = false
  /** Something of the message under way was passed on before its end. */
  private partial = false

  constructor(conn: HttpConnection, context: MessageContext, splice: InspectedSplice) {
    this.conn = conn
    this.context = context
    this.splice = splice
    const { messageBytes } = conn.facts.standing.snapshot.limits
    this.reader = new MessageReader(messageBytes, context.deflate !== null)
    this.inflater = context.deflate === null ? null : new MessageInflater(context.deflate)
  }

  /** Takes bytes of the client. */
  take(chunk: Buffer): void {
    const { reader } = this
    let passed = 0
    let at = 0
    while (!this.over) {
      const reading = reader.read(chunk, at)
      if (reading.found === 'more') break
      if (reading.found === 'invalid')
        return this.refuse('message-invalid', reading.saw, NO_HITS, CLOSE.protocol)
      at = reading.end
      if (!this.judge(reading)) return
      passed = this.pass(chunk, passed, at)
    }
    if (this.over || reader.isSkipping) this.pass(chunk, passed, chunk.length)
    else if (passed < chunk.length) this.hold(chunk, passed)
  }

  /** A message takes longer than it may. */
  onDeadline(): void {
    const saw = `${this.reader.rawBytes} bytes in ${Math.round(this.conn.services.deadlines.nowMs - this.startedMs)} ms`
    this.refuse('message-too-slow', saw, NO_HITS, CLOSE.policy)
  }

  /** Lets go of everything held; nothing of it is sent. */
  drop(): void {
    this.over = true
    this.release()
  }

  /** Returns false when the connection was refused. */
  private judge(reading: Exclude<Reading, { readonly found: 'more' | 'invalid' }>): boolean {
    if (reading.found === 'control') return true
    if (reading.found === 'message' && !this.judgeMessage(reading.message, null)) return false
    if (reading.found === 'overflow') {
      const saw = `more than ${this.conn.facts.standing.snapshot.limits.messageBytes} bytes`
      if (!this.judgeMessage(reading.message, { what: 'message', why: 'size', saw })) return false
    }
    this.partial = this.reader.isSkipping
    if (!this.partial) this.countDown()
    return true
  }

  /** @param unread why the message is not whole; null: it is */
  private judgeMessage(message: RawMessage, unread: Unread | null): boolean {
    const read = this.textOf(message, unread === null)
    if (read === null) {
      this.refuse('message-invalid', 'a compressed message that is broken', NO_HITS, CLOSE.protocol)
      return false
    }
    const why = unread ?? read.unread
    this.number++
    const { conn } = this
    const { request, record } = this.context
    const { facts } = conn
    const { rules } = facts.standing.snapshot
    const trafficClass = record.class ?? 'other'
    const hits = rules.matchMessage(request, ruleScope(facts, trafficClass, conn.services.clock.nowMs()), {
      number: this.number,
      kind: message.kind,
      text: read.text,
      complete: why === null,
      earlier: this.earlier,
    })
    if (this.earlier.length < MAX_EARLIER) this.earlier = (this.earlier + read.text).slice(0, MAX_EARLIER)
    reportDetections(conn, facts, record, hits)
    const refusal = refusalOfHits(hits)
    if (refusal !== null) {
      this.refuseFor(refusal, hits, CLOSE.policy)
      return false
    }
    if (why === null) return true
    if (classPolicy(facts, trafficClass).limits.whenUnread === 'record') {
      reportUnread(conn, facts, record, why)
      return true
    }
    const code = why.why === 'memory' ? CLOSE.tryLater : CLOSE.tooBig
    this.refuse(why.why === 'memory' ? 'inspection-full' : 'message-unread', why.saw, NO_HITS, code)
    return false
  }

  /** The text of a message, decompressed; null: it is broken. */
  private textOf(
    message: RawMessage,
    whole: boolean,
  ): { readonly text: string; readonly unread: Unread | null } | null {
    const { inflater } = this
    if (!message.compressed || inflater === null) return { text: latin1(message.payload), unread: null }
    if (inflater.lost) {
      const saw = 'compressed with the context of a message that was not read whole'
      return { text: '', unread: { what: 'message', why: 'coding', saw } }
    }
    const { messageBytes } = this.conn.facts.standing.snapshot.limits
    const { bytes, ended } = inflater.inflate(message.payload, messageBytes)
    if (!whole) inflater.skipped()
    if (ended === 'broken') return null
    const saw = `more than ${messageBytes} bytes when decompressed`
    return { text: latin1(bytes), unread: ended === 'limit' ? { what: 'message', why: 'size', saw } : null }
  }

  private countDown(): void {
    const { facts, services } = this.conn
    const { request, record } = this.context
    const scope = ruleScope(facts, record.class ?? 'other', services.clock.nowMs())
    if (this.number < facts.standing.snapshot.rules.messagesWanted(request, scope)) return
    this.over = true
    this.splice.inspected()
  }

  /** Sends what is held and the chunk up to `end`. Returns `end`. */
  private pass(chunk: Buffer, from: number, end: number): number {
    const held = this.held?.portions() ?? []
    this.release()
    for (const portion of held) this.splice.forward(portion)
    if (end > from)
      this.splice.forward(from === 0 && end === chunk.length ? chunk : chunk.subarray(from, end))
    return end
  }

  private hold(chunk: Buffer, from: number): void {
    const { conn, reader } = this
    const { limits } = conn.facts.standing.snapshot
    const { deadlines, held: memory } = conn.services
    this.held ??= new HeldBody(true)
    this.held.add(from === 0 ? chunk : chunk.subarray(from))
    const nowMs = deadlines.nowMs
    if (this.deadlineMs === Infinity) this.startedMs = nowMs
    if (limits.heldBytesPerSecond > 0) {
      this.deadlineMs = this.startedMs + GRACE_MS + (this.held.bytes / limits.heldBytesPerSecond) * 1_000
    }
    const needed = this.held.bytes + reader.memory + (this.inflater?.memory ?? 0) - this.taken
    if (needed <= 0) return
    if (memory.take(needed, limits.heldBytes)) {
      this.taken += needed
      return
    }
    const message = reader.skip()
    // The beginning of a frame takes a few bytes: those are always had.
    if (message === null) return
    const saw = `${this.held.bytes} bytes of a message`
    if (!this.judgeMessage(message, { what: 'message', why: 'memory', saw })) return
    this.partial = true
    this.pass(chunk, chunk.length, chunk.length)
  }

  /** Lets go of what was held; only the context of the compression stays, and stays counted. */
  private release(): void {
    const { conn, inflater } = this
    const kept = this.over || inflater === null ? 0 : inflater.memory
    const { held: memory } = conn.services
    memory.give(this.taken)
    this.taken = 0
    if (kept > 0 && memory.take(kept, conn.facts.standing.snapshot.limits.heldBytes)) this.taken = kept
    else if (kept > 0) inflater?.skipped()
    this.held = null
    this.deadlineMs = Infinity
  }

  private refuse(reason: Refusal['reason'], saw: string, hits: readonly RuleHit[], closeCode: number): void {
    this.refuseFor({ reason, stage: 'limits', saw, line: BUILT_IN }, hits, closeCode)
  }

  private refuseFor(refusal: Refusal, hits: readonly RuleHit[], closeCode: number): void {
    const { connection, facts, services } = this.conn
    const { record } = this.context
    const reference = services.newReference()
    record.reference = reference
    reportRefusal(services.reporter, connection, facts, record, refusal, {
      reference,
      status: record.status,
      hits,
      line: formatSourceLine(refusal.line),
    })
    this.drop()
    const toUpstream = this.partial ? null : closeFrame(CLOSE.goingAway, '', randomBytes(4))
    this.splice.refuse(
      closeFrame(closeCode, `Refused by the gate. Reference: ${reference}`, null),
      toUpstream,
    )
  }
}

function latin1(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1')
}
