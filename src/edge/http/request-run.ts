// One request from its parsed head to its closing event: verdict, limits, body, answer of the gate, report.
import { normaliseTarget } from '../../ips/target.ts'
import type { RateQuestion, RuleHit } from '../../ips/rule-set.ts'
import type { Ending } from '../../journal/events.ts'
import { afterRules, classPolicy, decideRequest } from '../../policy/decide-request.ts'
import type { RequestFacts } from '../../policy/facts.ts'
import { REASONS } from '../../policy/reasons.ts'
import { ruleScope } from '../../policy/rule-scope.ts'
import { BUILT_IN, formatSourceLine } from '../../policy/source-line.ts'
import type { ConnectionFacts, RequestVerdict } from '../../policy/standing.ts'
import type { Refusal } from '../../policy/verdict.ts'
import { BodyDecoder, type BodySink } from './body-decoder.ts'
import { FlatHeaders } from './header-view.ts'
import { inflate } from './inflate.ts'
import { HeldBody } from './held-body.ts'
import type { HttpConnection } from './http-connection.ts'
import { ownAnswer, prefersJson } from './refusal-page.ts'
import type { HeadProblem, RequestHead } from './request-head.ts'
import { RequestRates } from './request-rates.ts'
import { closedFields, newRecord, reportRefusal, type RequestRecord } from './request-record.ts'
import { CONTINUE } from './response-head.ts'
import { reportDetections, reportUnacted, reportUnread } from './rule-reports.ts'
import { sideOf, type Side } from './side.ts'
import { announcedUnread, beyondMemory, beyondSize, refusalOfUnread, type UnreadBody } from './unread-body.ts'
import { problemOfHandshake } from './web-socket-handshake.ts'

/** A verdict that lets a request pass. */
export type AllowedRequest = Extract<RequestVerdict, { readonly allow: true }>

/** Methods that a class without a list of its own accepts. Others must be named in the policy. */
const USUAL_METHODS: ReadonlySet<string> = new Set([
  'GET',
  'HEAD',
  'POST',
  'PUT',
  'PATCH',
  'DELETE',
  'OPTIONS',
])
const RETRY_AFTER_SECONDS = 10
const NO_HITS: readonly RuleHit[] = []
const ASTERISK = { path: '*', pathFolded: '*', query: '' }

/** State of one request. */
export class RequestRun implements BodySink {
  readonly record: RequestRecord
  readonly headers: FlatHeaders
  /** Facts of the connection under the policy that this request was decided by. */
  facts: ConnectionFacts
  /** Null while there is no body to receive. */
  decoder: BodyDecoder | null = null
  held: HeldBody | null = null
  over = false
  /** The connection ends after this request. */
  close: boolean
  bodyOver: boolean
  private readonly conn: HttpConnection
  private readonly head: RequestHead
  private readonly outBefore: number
  private allowed: AllowedRequest | null = null
  private request: RequestFacts | null = null
  /** The request, when rules want to see messages of the WebSocket that it opens. */
  inspected: RequestFacts | null = null
  private unread: UnreadBody | null = null
  private upstream: Side | null = null
  private counted = false
  private rates: RequestRates | null = null
  private retryAfterSeconds = RETRY_AFTER_SECONDS

  constructor(conn: HttpConnection, head: RequestHead) {
    this.conn = conn
    this.head = head
    this.facts = conn.facts
    this.headers = new FlatHeaders(head.headers)
    this.outBefore = conn.out.totalBytes
    this.close = !head.keepAlive
    this.bodyOver =
      head.framing.kind === 'none' || (head.framing.kind === 'length' && head.framing.bytes === 0)
    this.record = newRecord(head, this.headers, conn.services.clock.monotonicMs())
  }

  /** Longest silence of the client in its body; 0: no limit. */
  bodyIdleMs(): number {
    const idleMs = this.allowed?.policy.limits.bodyIdleMs ?? 0
    const leftMs = (this.held?.untilMs ?? Infinity) - this.conn.services.deadlines.nowMs
    return leftMs === Infinity ? idleMs : Math.max(1, Math.min(leftMs, idleMs || leftMs))
  }

  /** Longest wait for the upstream to take more body; 0: no limit. */
  stallMs(): number {
    return this.allowed?.policy.limits.responseMs ?? 0
  }

  /** Decides on the head and begins what follows from it. */
  start(): void {
    const { conn, head } = this
    const { services } = conn
    const nowMs = services.clock.nowMs()
    const standing = conn.renew(nowMs)
    this.facts = conn.facts
    if (standing !== null) {
      this.close = true
      this.refuse(standing, null, NO_HITS)
      return
    }
    if (head.webSocket) {
      const problem = problemOfHandshake(head, this.headers)
      if (problem !== undefined) return this.refuseProblem(problem)
    }
    const normal = head.target === '*' ? ASTERISK : normaliseTarget(head.target)
    if (normal === undefined) return this.refuseProblem({ reason: 'target-invalid', saw: this.record.path })
    const request: RequestFacts = {
      method: head.method,
      host: head.host,
      target: head.target,
      path: normal.path,
      pathFolded: normal.pathFolded,
      query: normal.query,
      headers: this.headers,
      webSocket: head.webSocket,
      nowMs,
    }
    const verdict = decideRequest(conn.facts, request, services.sha256Hex)
    this.record.class = verdict.class
    reportUnacted(conn, this.facts, this.record, verdict, nowMs)
    if (!verdict.allow) return this.refuse(verdict.refusal, verdict.class, verdict.hits)
    this.allowed = verdict
    this.request = request
    if (this.admit(verdict)) this.proceed(verdict, request)
  }

  /** A portion of the body. */
  onBody(portion: Buffer): void {
    const { held } = this
    if (this.over || held === null) return
    const hasRoom = held.add(portion)
    if (!held.judging) {
      this.upstream?.sendBody(portion)
      return
    }
    const { inspectBytes } = this.facts.standing.snapshot.limits
    if (held.bytes > inspectBytes) this.judgeBody(beyondSize(this.head.framing, inspectBytes))
    else if (!hasRoom) this.judgeBody(beyondMemory(held.bytes))
  }

  /** The body is complete. */
  bodyDone(): void {
    if (this.over) return
    this.bodyOver = true
    if (this.held?.judging === true) this.judgeBody(null)
    else this.upstream?.endBody()
  }

  /** The body cannot be read on: it is too large or its framing is broken. */
  refuseBody(problem: HeadProblem): void {
    this.close = true
    this.refuseProblem(problem)
  }

  /** Notes when the head of the upstream's answer came. */
  upstreamAnswered(status: number, headers: readonly string[]): void {
    this.rates?.answered(status, headers)
    this.record.upstreamMs = this.conn.services.clock.monotonicMs() - this.record.startedMs
  }

  onDownstreamDrain(bodyComing: boolean): void {
    if (this.upstream?.isBlocked !== true) return
    this.conn.limitSilence(bodyComing ? this.bodyIdleMs() : 0)
    this.upstream.resume()
  }

  /** A deadline passed: the client sends or takes nothing, or the upstream takes nothing. */
  onSilence(): void {
    if (this.upstream?.isBlocked === true) {
      this.giveUp('client-timeout')
    } else if (this.bodyOver) {
      this.close = true
      this.fail(
        'client-timeout',
        408,
        'sent-ahead',
        'more was sent ahead than is kept, and the answer did not come',
      )
    } else if (this.conn.socket.isPaused()) {
      this.fail('upstream-timeout', 504, 'upstream-stalled', 'the server took no more of the request in time')
    } else if ((this.held?.untilMs ?? Infinity) <= this.conn.services.deadlines.nowMs) {
      this.refuseBody({ reason: 'body-too-slow', saw: `${this.held?.bytes ?? 0} bytes came` })
    } else {
      this.close = true
      this.fail('client-timeout', 408, 'body-timeout', 'the rest of the request did not arrive in time')
    }
  }

  /** Ends the request without an answer, for example because the client is gone. */
  giveUp(ending: Ending): void {
    if (this.over) return
    this.finish(ending, 'cut')
  }

  /** Nothing serves the name now: what the client sees is the choice of the name (a reset, or 503). */
  allDown(): void {
    const { allowed } = this
    if (allowed === null) return
    const { upstream, at, whenDown } = allowed.name
    const refusal: Refusal = {
      reason: 'upstream-down',
      stage: 'upstream',
      saw: `group ${upstream}`,
      line: at,
    }
    this.refuse(refusal, allowed.class, NO_HITS, whenDown === 'reset' ? 'reset' : 503)
  }

  /** Ends a request that failed: with an answer while that is possible, otherwise by a visible break. */
  fail(ending: Ending, status: number, code: string, because: string): void {
    if (this.over) return
    if (this.upstream?.answering === true) {
      this.finish(ending, 'cut')
      return
    }
    const reference = this.conn.services.newReference()
    this.record.reference = reference
    this.record.status = status
    this.answer(status, code, because, reference)
    this.finish(ending, this.close ? 'close' : 'keep')
  }

  /** Reports the request and gives the connection back. */
  finish(ending: Ending, how: 'keep' | 'close' | 'cut'): void {
    if (this.over) return
    const { conn, record } = this
    const { services } = conn
    record.bytesOut = conn.out.totalBytes - this.outBefore
    const nowMs = services.clock.monotonicMs()
    services.reporter.report(
      'request.closed',
      closedFields(conn.connection, this.facts, record, ending, nowMs),
    )
    this.leave()
    if (how === 'cut') conn.cut(ending)
    else conn.runOver(ending, how === 'keep')
  }

  /** Limits of the class that are known with the head. Returns false when the request was refused. */
  private admit(allowed: AllowedRequest): boolean {
    const { conn, head } = this
    const { limits, access } = allowed.policy
    if (limits.methods === null && !USUAL_METHODS.has(head.method)) {
      const saw = `${head.method} for ${allowed.class}`
      this.refuse({ reason: 'method-refused', stage: 'class', saw, line: access.at }, allowed.class, NO_HITS)
      return false
    }
    if (!conn.services.sources.begin(conn.source, allowed.class, limits.concurrentPerSource)) {
      const saw = `${limits.concurrentPerSource} open`
      this.refuse({ reason: 'requests-limit', stage: 'limits', saw, line: access.at }, allowed.class, NO_HITS)
      return false
    }
    this.counted = true
    if (this.bodyOver) return true
    this.decoder = new BodyDecoder(head.framing, limits.maxBodyBytes)
    if (this.decoder.problem === null) return true
    this.refuseProblem(this.decoder.problem)
    return false
  }

  private proceed(allowed: AllowedRequest, request: RequestFacts): void {
    const { conn, facts, head } = this
    const { limits, rules } = facts.standing.snapshot
    const scope = ruleScope(facts, allowed.class, request.nowMs)
    conn.services.rates.under(facts.standing.snapshot)
    if (!this.mayPass(allowed, request.path, rules.ratesOf(request, scope, 'head'))) return
    this.upstream = sideOf(this, conn, head, allowed, request)
    if (head.webSocket && rules.messagesWanted(request, scope) > 0) this.inspected = request
    if (this.bodyOver) {
      this.upstream.forward()
      return
    }
    const judging = rules.wantsBody(request, scope)
    if (judging) {
      this.unread = announcedUnread(head.framing, head.headers, limits.inspectBytes)
      if (this.unread !== null && allowed.policy.limits.whenUnread === 'refuse')
        return this.refuseUnread(this.unread, allowed)
    }
    this.held = new HeldBody(judging, {
      memory: conn.services.held,
      maxBytes: limits.heldBytes,
      bytesPerSecond: limits.heldBytesPerSecond,
      sinceMs: conn.services.deadlines.nowMs,
    })
    if (head.expectContinue) conn.out.say(CONTINUE)
    if (!judging) this.upstream.forward()
  }

  /** @param beyond why the body is judged before all of it is here; null: it is complete */
  private judgeBody(beyond: UnreadBody | null): void {
    const { conn, held, facts, request, allowed, record } = this
    if (held === null || request === null || allowed === null) return
    record.waitedMs = conn.services.clock.monotonicMs() - record.startedMs
    const { limits, rules } = facts.standing.snapshot
    const judged = held.joined().subarray(0, limits.inspectBytes)
    const scope = ruleScope(facts, allowed.class, request.nowMs)
    const hits = rules.matchBody(request, scope, judged, beyond === null, inflate)
    const verdict = afterRules(allowed.class, allowed.name, allowed.policy, hits, allowed.wouldBe)
    reportDetections(conn, facts, record, hits)
    if (!verdict.allow) return this.refuse(verdict.refusal, allowed.class, hits)
    const unread = this.unread ?? beyond
    if (unread !== null) {
      if (allowed.policy.limits.whenUnread === 'refuse') return this.refuseUnread(unread, allowed)
      reportUnread(conn, facts, record, unread)
    }
    if (!this.mayPass(allowed, request.path, rules.ratesOf(request, scope, 'body'))) return
    held.judged()
    this.upstream?.forward()
  }

  /** Asks rules that count. Returns false when the request was refused. */
  private mayPass(allowed: AllowedRequest, path: string, counted: readonly RateQuestion[]): boolean {
    if (counted.length === 0) return true
    this.rates ??= new RequestRates(this.conn, this.facts, this.record, path)
    const refused = this.rates.ask(counted, allowed.class)
    if (refused === null) return true
    this.retryAfterSeconds = refused.retryAfterSeconds
    this.refuse(refused.refusal, allowed.class, refused.hits)
    return false
  }

  private refuseUnread(unread: UnreadBody, { class: trafficClass, policy }: AllowedRequest): void {
    this.refuse(refusalOfUnread(unread, policy.access.at), trafficClass, NO_HITS)
  }

  private refuseProblem(problem: HeadProblem): void {
    this.refuse({ ...problem, stage: 'limits', line: BUILT_IN }, this.record.class, NO_HITS)
  }

  /** Answers with a refusal and reports it: the only closing event of a refused request. */
  private refuse(
    refusal: Refusal,
    trafficClass: RequestRecord['class'],
    hits: readonly RuleHit[],
    how: number | 'reset' = REASONS[refusal.reason].status ?? 403,
  ): void {
    if (this.over) return
    const { conn, record } = this
    const { services } = conn
    const reference = services.newReference()
    const status = how === 'reset' ? 0 : how
    const answering = this.upstream?.answering === true
    record.class = trafficClass
    const line = formatSourceLine(refusal.line)
    reportRefusal(services.reporter, conn.connection, this.facts, record, refusal, {
      reference,
      status,
      hits,
      line,
    })
    this.leave()
    if (how === 'reset') {
      conn.resetConnection('upstream-refused')
    } else if (answering) {
      conn.cut('refused')
    } else {
      this.answer(status, refusal.reason, REASONS[refusal.reason].because, reference)
      conn.runOver('refused', !this.close)
    }
  }

  private answer(status: number, code: string, because: string, reference: string): void {
    const { conn, head, record } = this
    this.close ||= !this.bodyOver || conn.closesNext() || head.webSocket
    const retryAfterSeconds = status === 429 || status >= 502 ? this.retryAfterSeconds : null
    const allowedMethods = status === 405 ? this.allowedMethods() : null
    const form = {
      json: prefersJson(record.class, this.headers.get('accept')),
      headOnly: head.method === 'HEAD',
      close: this.close,
      nowMs: conn.services.clock.nowMs(),
    }
    conn.out.say(ownAnswer({ status, code, because, reference, retryAfterSeconds, allowedMethods }, form))
  }

  private allowedMethods(): Iterable<string> {
    const trafficClass = this.record.class
    const methods = trafficClass === null ? null : classPolicy(this.facts, trafficClass).limits.methods
    return methods ?? USUAL_METHODS
  }

  /** Lets go of everything that the request held. */
  private leave(): void {
    this.over = true
    this.upstream?.abort()
    this.rates?.over()
    this.held?.forget()
    if (this.counted && this.allowed !== null)
      this.conn.services.sources.done(this.conn.source, this.allowed.class)
  }
}
