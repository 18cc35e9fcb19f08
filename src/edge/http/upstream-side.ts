// The upstream side of one request: picks a member, sends the request, tries another one when nothing was sent, takes the answer.
import type { Exchange, UpgradeHandler, Upgraded, UpstreamResponseHead } from '../../forward/forwarder.ts'
import { headersForDownstream, headersForUpstream, type Way } from '../../forward/headers.ts'
import { isMemberFailure } from '../../forward/upstream-error.ts'
import type { Ending } from '../../journal/events.ts'
import type { PortcullisError } from '../../policy/error.ts'
import type { UpstreamMember } from '../../policy/snapshot.ts'
import { reportCrossOrigin } from './cross-origin.ts'
import type { HttpConnection } from './http-connection.ts'
import { joinWebSocket } from './join-web-socket.ts'
import type { RequestHead } from './request-head.ts'
import type { AllowedRequest, RequestRun } from './request-run.ts'
import { responseFraming, serialiseHead, serialiseInterim } from './response-head.ts'
import { readableOffers } from './web-socket-extensions.ts'

/** Exchange handler of one request. What its methods throw is a defect and ends the connection, not the process. */
export class UpstreamSide implements UpgradeHandler {
  /** The head of the upstream's answer is on its way to the client. */
  answering = false
  private readonly run: RequestRun
  private readonly conn: HttpConnection
  private readonly head: RequestHead
  private readonly allowed: AllowedRequest
  private exchange: Exchange | null = null
  private attempts = 0
  private member: UpstreamMember | null = null
  private way: Way | null = null
  private failedMembers: string[] | null = null
  private blocked = false

  constructor(run: RequestRun, conn: HttpConnection, head: RequestHead, allowed: AllowedRequest) {
    this.run = run
    this.conn = conn
    this.head = head
    this.allowed = allowed
  }

  /** Sends the request to the member that serves, with as much of the body as is there. */
  forward(): void {
    const { allowed, conn, head, run } = this
    const { forwarder, selection } = conn.services
    const { snapshot, source } = run.facts.standing
    const group = snapshot.upstreams.get(allowed.name.upstream)
    const member = selection.pick(allowed.name.upstream, this.failedMembers ?? undefined)
    if (member === null || group === undefined) {
      run.allDown()
      return
    }
    this.member = member
    run.record.upstream = member.id
    if (run.record.forwardedMs < 0)
      run.record.forwardedMs = conn.services.clock.monotonicMs() - run.record.startedMs
    const { profile } = allowed.name
    const way: Way = { profile, group, member, host: head.hostField, clientAddress: source.address.text }
    this.way = way
    const request = {
      method: head.method,
      target: head.target,
      headers: headersForUpstream(run.inspected === null ? head.headers : readableOffers(head.headers), way),
      framing: head.framing,
      limits: allowed.policy.limits,
      connectMs: snapshot.limits.upstreamConnectMs,
    }
    const attempt = ++this.attempts
    const exchange = head.webSocket
      ? forwarder.upgrade(member, request, this)
      : forwarder.exchange(member, request, this)
    // The handler may have been called already: with an error that led to another attempt, or with the whole answer.
    if (attempt !== this.attempts) return
    if (run.over) {
      exchange.abort()
      return
    }
    this.exchange = exchange
    // The member before may have stopped the reading; this one says for itself when it has had enough.
    if (attempt > 1 && !run.bodyOver) this.conn.resumeReading()
    for (const portion of run.held?.portions() ?? []) {
      if (attempt === this.attempts) this.sendBody(portion)
    }
    if (attempt === this.attempts && run.bodyOver && head.framing.kind !== 'none') exchange.end()
  }

  sendBody(portion: Buffer): void {
    const { exchange } = this
    if (exchange !== null && !exchange.write(portion) && !this.run.over) this.conn.pauseReading()
  }

  endBody(): void {
    this.exchange?.end()
  }

  abort(): void {
    const { exchange } = this
    this.exchange = null
    exchange?.abort()
  }

  /** The client takes more of the answer. Returns false when nobody was waiting for that. */
  resume(): boolean {
    if (!this.blocked) return false
    this.blocked = false
    this.exchange?.resume()
    return true
  }

  /** The client is the one who keeps the exchange waiting. */
  get isBlocked(): boolean {
    return this.blocked
  }

  onInterim(status: number, headers: readonly string[]): void {
    const { head, way, run } = this
    if (run.over || this.answering || way === null || head.minor === 0) return
    // The gate has answered Expect itself, and a switch is only a switch after an upgrade request.
    if (status === 100 || status === 101) return
    try {
      const text = serialiseInterim(status, headersForDownstream(headers, way))
      if (text !== undefined) this.conn.out.say(text)
    } catch (error) {
      this.conn.broken(error)
    }
  }

  onHead(head: UpstreamResponseHead): void {
    try {
      if (!this.run.over) this.takeHead(head)
    } catch (error) {
      this.conn.broken(error)
    }
  }

  onData(chunk: Buffer): boolean {
    try {
      return this.run.over || this.takeData(chunk)
    } catch (error) {
      this.conn.broken(error)
      return true
    }
  }

  // Dropped: a recipient that merges trailers into the head could be fooled, and no RMM client asks for them.
  onTrailers(): void {}

  onEnd(): void {
    const { conn, run } = this
    if (run.over) return
    try {
      if (!this.answering || !conn.out.isWhole()) {
        run.fail('upstream-abort', 502, 'response-truncated', 'the server broke its answer off')
        return
      }
      conn.out.finish()
      if (run.bodyOver) this.exchange = null
      run.finish('complete', run.close ? 'close' : 'keep')
    } catch (error) {
      conn.broken(error)
    }
  }

  onError(error: PortcullisError): void {
    if (this.run.over) return
    try {
      this.takeError(error)
    } catch (defect) {
      this.conn.broken(defect)
    }
  }

  onDrain(): void {
    if (!this.run.over && !this.run.bodyOver) this.conn.resumeReading()
  }

  onUpgrade(upgraded: Upgraded): void {
    const { allowed, conn, run, way } = this
    if (run.over || way === null) {
      upgraded.socket.destroy()
      return
    }
    try {
      const key = run.headers.get('sec-websocket-key') ?? ''
      run.upstreamAnswered(101, [])
      const problem = joinWebSocket(
        conn,
        upgraded,
        key,
        way,
        run.record,
        allowed.policy.limits.webSocketIdleMs,
        run.inspected,
      )
      if (problem === undefined) {
        run.over = true
        return
      }
      upgraded.socket.destroy()
      run.fail('upstream-invalid', 502, 'response-invalid', NOT_VALID)
    } catch (error) {
      upgraded.socket.destroy()
      conn.broken(error)
      run.giveUp('internal-error')
    }
  }

  private takeHead(head: UpstreamResponseHead): void {
    const { conn, run, member, way } = this
    if (member === null || way === null) return
    const { method, minor, webSocket } = this.head
    run.upstreamAnswered(head.status, head.headers)
    conn.services.selection.succeeded(member)
    reportCrossOrigin(conn, run.record, run.headers, head.status, head.headers)
    const framing = responseFraming(method, head.status, minor, head.contentLength)
    const carriesBody = framing.kind !== 'none' && method !== 'HEAD' && head.status !== 304
    const maxBytes = this.allowed.policy.limits.maxResponseBytes
    if (carriesBody && maxBytes > 0 && framing.kind === 'length' && framing.bytes > maxBytes) {
      run.fail('limit', 502, 'response-too-large', TOO_LARGE)
      return
    }
    // A body that is still coming when the answer begins may never end: the connection is not used again.
    run.close ||= !run.bodyOver || conn.closesNext() || framing.kind === 'close' || webSocket
    const text =
      head.status < 200 || head.status > 999
        ? undefined
        : serialiseHead(
            head.status,
            head.statusText,
            headersForDownstream(head.headers, way),
            framing,
            run.close,
          )
    if (text === undefined) {
      run.fail('upstream-invalid', 502, 'response-invalid', NOT_VALID)
      return
    }
    run.record.status = head.status
    this.answering = true
    run.held?.forget()
    conn.out.begin(text, framing, carriesBody)
  }

  /** Returns false when the client takes no more for now. */
  private takeData(chunk: Buffer): boolean {
    const { conn, run } = this
    const { out } = conn
    if (!this.answering || !out.fits(chunk.length)) {
      run.fail('upstream-invalid', 502, 'response-invalid', NOT_VALID)
      return true
    }
    const maxBytes = this.allowed.policy.limits.maxResponseBytes
    if (maxBytes > 0 && out.bodyBytes + chunk.length > maxBytes) {
      run.fail('limit', 502, 'response-too-large', TOO_LARGE)
      return true
    }
    if (out.data(chunk)) return true
    this.blocked = true
    conn.limitSilence(run.bodyIdleMs())
    return false
  }

  private takeError(error: PortcullisError): void {
    const { conn, member, run } = this
    this.exchange = null
    if (member !== null) {
      const { reporter, selection } = conn.services
      const { id } = member
      const problem = error.message
      reporter.report('upstream.failed', {
        group: this.allowed.name.upstream,
        member: id,
        code: error.code,
        problem,
      })
      // Anything else than a connection that could not be made, one request could cause on purpose.
      const memberFailed = isMemberFailure(error)
      if (memberFailed) selection.failed(member, problem, error.code)
      if (error.retry && !this.answering && run.held?.complete !== false) {
        this.failedMembers ??= []
        this.failedMembers.push(id)
        if (memberFailed || selection.pick(this.allowed.name.upstream, this.failedMembers) !== null) {
          this.forward()
          return
        }
      }
    }
    const status = error.status ?? 502
    run.fail(endingOf(error, status), status, error.code, BECAUSE[status] ?? BECAUSE_502)
  }
}

function endingOf(error: PortcullisError, status: number): Ending {
  if (error.side === 'internal') return 'internal-error'
  if (error.retry) return 'upstream-refused'
  if (error.code === 'upstream-invalid') return 'upstream-invalid'
  return status === 504 ? 'upstream-timeout' : 'upstream-abort'
}

const NOT_VALID = 'the server behind the gate did not answer in valid HTTP'
const TOO_LARGE = 'the answer of the server is larger than the limit'
const BECAUSE_502 = 'the connection to the server behind the gate failed'
const BECAUSE: Readonly<Record<number, string>> = {
  502: BECAUSE_502,
  503: 'no server behind this name could be reached',
  504: 'the server behind the gate did not answer in time',
}
