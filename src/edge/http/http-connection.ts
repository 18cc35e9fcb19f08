// One downstream connection that speaks HTTP/1: heads in order, one request at a time, keep-alive, time limits, drain, close.
import type { Socket } from 'node:net'
import type { Ending } from '../../journal/events.ts'
import type { ConnectionFacts } from '../../policy/standing.ts'
import type { Refusal } from '../../policy/verdict.ts'
import type { ConnectionActivity, OpenConnection, SecureConnection } from '../connection.ts'
import type { BodyDecoder } from './body-decoder.ts'
import type { Watched } from './deadlines.ts'
import { HeadBytes } from './head-bytes.ts'
import { refusedHead } from './refused-head.ts'
import { renewStanding } from './renew-standing.ts'
import {
  findHeadEnd,
  isProblem,
  parseRequestHead,
  problemOfPartialHead,
  type HeadProblem,
} from './request-head.ts'
import { RequestRun } from './request-run.ts'
import { ResponseOut } from './response-out.ts'
import type { HttpServices, SourceUse } from './services.ts'
import { attach, detach } from './socket-events.ts'
import { reset } from './splice.ts'
import type { Successor } from './successor.ts'

/**
 * `idle`: between requests. `head`: a head has begun. `body`: a request's body is being received. `running`: a request is
 * complete and is being answered. `linger`: answered and ended, unread bytes are thrown away so that the answer is not lost
 * to a RST. `spliced`: the bytes are no HTTP any more. `closed`: over.
 */
type Phase = 'idle' | 'head' | 'body' | 'running' | 'linger' | 'spliced' | 'closed'

/** How long, and for how many bytes, a client is listened to after the last answer, so that it can read it. */
const LINGER_MS = 2_000
const LINGER_BYTES = 16 << 20

/** State of one connection. */
export class HttpConnection implements Watched {
  deadlineMs = Infinity
  facts: ConnectionFacts
  readonly connection: OpenConnection
  readonly services: HttpServices
  readonly socket: Socket
  readonly out: ResponseOut
  readonly source: SourceUse
  draining = false
  requests = 0
  private phase: Phase = 'idle'
  private bytesIn = 0
  private pending: HeadBytes | null = null
  private run: RequestRun | null = null
  /** What took the connection over after an upgrade. */
  splice: Successor | null = null
  private ending: Ending = 'complete'
  private pumping = false
  private unflushed = 0
  private lingered = 0

  constructor(connection: SecureConnection, services: HttpServices) {
    const { standing, ...kept } = connection
    this.connection = kept
    this.services = services
    this.socket = connection.socket
    this.source = services.sources.enter(standing.source.address.text)
    this.out = new ResponseOut(this.socket, services.turnEnd)
    this.facts = {
      standing,
      listener: connection.listener,
      name: connection.name,
      serverName: connection.hello.serverName,
      tlsVersion: connection.tls.version,
    }
    services.deadlines.add(this)
    this.rest()
    attach(this.socket, this)
  }

  /** What the gate sees of the connection. */
  activity(): ConnectionActivity {
    return {
      requests: () => this.requests,
      bytesIn: () => this.bytesIn + (this.splice?.bytesIn ?? 0),
      bytesOut: () => this.out.totalBytes + (this.splice?.bytesOut ?? 0),
      ending: () => this.splice?.ending ?? this.ending,
      state: () => this.splice?.state ?? this.run?.record.class ?? 'idle',
      // A WebSocket has no next request at which to ask.
      policyChanged: () => void (this.splice !== null && this.renew(this.services.clock.nowMs())),
      drain: () => this.drain(),
    }
  }

  /** Stops taking requests; ends at once when idle. */
  drain(): void {
    this.draining = true
    this.splice?.drain()
    if (this.phase === 'idle') this.hangUp('drain')
  }

  /** Renews standing when the policy in force has changed. Returns why the connection may not go on, or null. */
  renew(nowMs: number): Refusal | null {
    const policy = this.services.current()
    const { standing } = this.facts
    if (policy.snapshot === standing.snapshot && policy.overlay === standing.overlay) return null
    const { lookup } = this.services
    const { address } = standing.source
    const source = lookup === undefined ? standing.source : { address, geo: lookup(address) }
    const renewal = renewStanding(this.connection, this.facts, policy, source, nowMs)
    this.facts = renewal.facts
    return renewal.refusal
  }

  data(chunk: Buffer): void {
    this.bytesIn += chunk.length
    switch (this.phase) {
      case 'body':
        this.feedBody(chunk, 0)
        this.pump()
        return
      case 'linger':
        this.lingered += chunk.length
        if (this.lingered > LINGER_BYTES) this.socket.destroy()
        return
      case 'closed':
      case 'spliced':
        return
      case 'running':
        this.keep(chunk)
        this.boundPending()
        return
      case 'idle':
      case 'head':
        this.keep(chunk)
        this.pump()
        this.boundPending()
    }
  }

  /** The body of the running request goes on; `pauseReading` and `resumeReading` follow the upstream's appetite. */
  pauseReading(): void {
    if (this.phase !== 'body' || this.run?.decoder?.done === true) return
    this.socket.pause()
    this.limitSilence(this.run?.stallMs() ?? 0)
  }

  resumeReading(): void {
    if (this.phase === 'body') this.limitSilence(this.run?.bodyIdleMs() ?? 0)
    this.socket.resume()
  }

  /** Sets the deadline; 0: none. */
  limitSilence(ms: number): void {
    this.deadlineMs = ms > 0 ? this.services.deadlines.nowMs + ms : Infinity
  }

  /** The running request is answered completely. `keep`: the connection can take another one. */
  runOver(ending: Ending, keep: boolean): void {
    this.run = null
    this.ending = ending
    if (this.phase === 'closed' || this.phase === 'linger') return
    if (!keep || this.phase === 'body') return this.hangUp(ending)
    this.rest()
    this.socket.resume()
    this.pump()
  }

  /** The running request ended and so must the connection, at once and visibly unclean. */
  cut(ending: Ending): void {
    this.run = null
    this.ending = ending
    this.socket.destroy()
  }

  /** Like `cut`, with a RST: agents notice it at once and try their other server. */
  resetConnection(ending: Ending): void {
    this.run = null
    this.ending = ending
    this.resetDown()
  }

  resetDown(): void {
    const { reset: resetTcp } = this.connection
    if (this.socket.destroyed) return
    if (resetTcp === undefined) reset(this.socket)
    else resetTcp()
  }

  /** Gives the socket away to a splice: from here on this object only counts. Returns bytes that came after the head. */
  release(): Buffer | null {
    const { socket, services } = this
    this.phase = 'spliced'
    this.run = null
    const early = this.pending?.takeAll() ?? null
    this.pending = null
    services.deadlines.remove(this)
    detach(socket)
    return early
  }

  /** The request that is being answered is the last of this connection. */
  closesNext(): boolean {
    return this.draining || this.requests >= this.facts.standing.snapshot.limits.requestsPerConnection
  }

  onDeadline(): void {
    switch (this.phase) {
      case 'idle':
        if (!this.stillFlushing()) this.hangUp(this.requests === 0 ? 'client-timeout' : 'complete')
        return
      case 'head':
        this.refuseHead({ reason: 'request-timeout', saw: `${this.pending?.length ?? 0} bytes of a head` })
        return
      case 'body':
      case 'running':
        this.deadlineMs = Infinity
        this.run?.onSilence()
        return
      case 'linger':
        if (!this.stillFlushing()) this.socket.destroy()
        return
      case 'spliced':
      case 'closed':
    }
  }

  drained(): void {
    this.run?.onDownstreamDrain(this.phase === 'body')
    if (!this.isTakingHeads()) return
    this.pump()
    this.socket.resume()
  }

  /** The client sent its last byte. HTTP has no use for a half-open client: a running request counts as given up. */
  ended(): void {
    this.run?.giveUp('client-abort')
    if (this.phase === 'closed') return
    if (this.phase === 'head') this.ending = 'client-abort'
    if (this.phase === 'idle' || this.phase === 'head') {
      this.out.flush()
      this.socket.end()
    } else if (this.phase !== 'linger') this.socket.destroy()
  }

  closed(): void {
    if (this.phase === 'closed') return
    const { run } = this
    this.phase = 'closed'
    this.services.deadlines.remove(this)
    this.services.sources.leave(this.source)
    run?.giveUp('client-abort')
    this.run = null
    this.pending = null
  }

  /** A defect of the gate: this connection ends, the process goes on. */
  broken(error: unknown): void {
    const problem = error instanceof Error ? error : new Error(String(error))
    const { reporter } = this.services
    reporter.report('gate.internal-error', {
      where: 'http connection',
      problem: problem.message,
      stack: problem.stack ?? '',
    })
    const { run } = this
    this.run = null
    this.ending = 'internal-error'
    this.splice?.cut('internal-error')
    this.socket.destroy()
    run?.giveUp('internal-error')
  }

  /** A slow client may still be taking the last answer: it gets more time as long as it takes something. */
  private stillFlushing(): boolean {
    const { writableLength } = this.socket
    if (writableLength === 0 || writableLength === this.unflushed) return false
    this.unflushed = writableLength
    this.limitSilence(this.facts.standing.snapshot.limits.keepAliveMs)
    return true
  }

  private keep(chunk: Buffer): void {
    if (this.pending === null) this.pending = new HeadBytes(chunk)
    else this.pending.append(chunk)
  }

  private rest(): void {
    this.phase = 'idle'
    if (this.draining) {
      this.hangUp('drain')
      return
    }
    this.limitSilence(this.facts.standing.snapshot.limits.keepAliveMs)
  }

  private hangUp(ending: Ending): void {
    this.ending = ending
    this.phase = 'linger'
    this.pending = null
    this.limitSilence(LINGER_MS)
    this.out.flush()
    this.socket.end()
    this.socket.resume()
  }

  /** Serves what is there, request after request, without recursion. */
  private pump(): void {
    if (this.pumping) return
    this.pumping = true
    try {
      // A client that does not read its answers gets no more of them.
      while (this.isTakingHeads() && this.pending !== null && !this.socket.writableNeedDrain) {
        if (!this.takeHead(this.pending)) break
      }
    } finally {
      this.pumping = false
    }
  }

  private isTakingHeads(): boolean {
    return this.phase === 'idle' || this.phase === 'head'
  }

  /** A client may send ahead, but not without bound; while nothing is read, nobody would notice that it is gone. */
  private boundPending(): void {
    if ((this.pending?.length ?? 0) <= this.facts.standing.snapshot.limits.headBytes) return
    this.socket.pause()
    if (this.phase === 'running') this.limitSilence(this.run?.bodyIdleMs() ?? 0)
  }

  /** Takes one head from the pending bytes. Returns false when it is not complete. */
  private takeHead(pending: HeadBytes): boolean {
    const { limits } = this.facts.standing.snapshot
    if (this.phase === 'idle') pending.skipLineBreak()
    if (pending.length === 0) {
      this.pending = null
      return false
    }
    const end = findHeadEnd(pending.bytes, pending.searchFrom(), pending.end)
    if (end < 0) {
      const problem = problemOfPartialHead(pending.bytes, pending.start, pending.end, limits)
      if (problem !== undefined) {
        this.refuseHead(problem)
        return false
      }
      pending.searched()
      if (this.phase === 'idle') {
        this.phase = 'head'
        this.limitSilence(limits.headMs)
      }
      return false
    }
    const head = parseRequestHead(pending.bytes.toString('latin1', pending.start, end), limits)
    if (isProblem(head)) {
      this.refuseHead(head)
      return false
    }
    const body = head.framing.kind !== 'none' && !(head.framing.kind === 'length' && head.framing.bytes === 0)
    this.requests++
    this.phase = body ? 'body' : 'running'
    this.deadlineMs = Infinity
    const rest = end < pending.end ? pending.bytes.subarray(end, pending.end) : null
    this.pending = body || rest === null ? null : new HeadBytes(rest)
    const run = new RequestRun(this, head)
    this.run = run
    run.start()
    if (body && this.run === run) {
      if (this.deadlineMs === Infinity) this.limitSilence(run.bodyIdleMs())
      if (rest !== null) this.feedBody(rest, 0)
    }
    return true
  }

  private feedBody(bytes: Buffer, from: number): void {
    const { run } = this
    const decoder: BodyDecoder | null = run?.decoder ?? null
    if (run === null || decoder === null) return
    const before = decoder.received
    const end = decoder.feed(bytes, from, run)
    if (this.run !== run) return
    run.record.bytesIn += end - from
    if (decoder.problem !== null) {
      run.refuseBody(decoder.problem)
      return
    }
    if (!decoder.done) {
      if (decoder.received > before && !this.socket.isPaused()) this.limitSilence(run.bodyIdleMs())
      return
    }
    this.phase = 'running'
    this.deadlineMs = Infinity
    if (end < bytes.length) this.keep(bytes.subarray(end))
    run.bodyDone()
  }

  private refuseHead(problem: HeadProblem): void {
    this.out.say(refusedHead(this, problem))
    this.hangUp('refused')
  }
}
