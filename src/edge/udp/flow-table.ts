// The flow table of one heartbeat listener: which datagram passes, which flow it belongs to, what may go back. No sockets, no clock.
import { sourceKey } from '../../ips/rate/source-key.ts'
import type { Address } from '../../net/address.ts'
import type { HeartbeatVerdict } from '../../policy/decide-heartbeat.ts'
import type { Reason } from '../../policy/reasons.ts'
import type { HeartbeatListener } from '../../policy/snapshot.ts'
import type { Standing } from '../../policy/standing.ts'
import type { Refusal } from '../../policy/verdict.ts'
import type { EndedFlow, Flow, FlowCount, FlowEnd, Passed, Received, Tick } from './flow.ts'
import { FlowRate } from './flow-rate.ts'
import { GivingWay, KnownSources } from './giving-way.ts'
import { beat, newRhythm, takeJudged } from './rhythm.ts'

/** Headers of IPv4 and UDP: with tiny datagrams they are most of what a sender has to pay for. */
export const HEADER_BYTES = 28
/** A second datagram so long after the first makes a sender more than a single spoofed packet. */
const CONFIRM_MS = 1_000
/** Time between reports of a flow that goes on. */
export const COUNT_MS = 20_000
/** So long a reply may take before its heartbeat counts as unanswered. */
export const GRACE_MS = 3_000
/** How long a verdict holds while the policy stays the same: windows and expiries follow the clock. */
export const JUDGE_MS = 30_000
/** A server that answers nobody for so long, and so many heartbeats, is reported. */
export const SILENT_MS = 30_000
const SILENT_HEARTBEATS = 5
/** Sources that are known by their flows: far more than stand behind one gate. */
const MAX_KNOWN_SOURCES = 100_000

/** What the table needs from outside. */
export type FlowTableOptions = {
  readonly settings: HeartbeatListener
  /** Asks the policy in force. Called before there is any state, and again when the policy has changed. */
  readonly judge: (address: Address, nowMs: number) => HeartbeatVerdict
  /** The policy in force, by identity. */
  readonly policy: () => object
  /** Whether a source is known not to be forged, so that the reply ratio need not hold for it; absent: never. */
  readonly isProven?: (address: Address) => boolean
}

/** The flows of one listener. */
export class FlowTable<Upstream> {
  #settings: HeartbeatListener
  readonly #options: FlowTableOptions
  readonly #flows = new Map<string, Flow<Upstream>>()
  readonly #bySource = new Map<string, Set<Flow<Upstream>>>()
  readonly #givingWay = new GivingWay<Flow<Upstream>>()
  readonly #knownSources = new KnownSources(MAX_KNOWN_SOURCES)
  readonly #rate: FlowRate
  #unanswered = { sinceMs: 0, heartbeats: 0 }
  #silent = false

  constructor(options: FlowTableOptions) {
    this.#options = options
    this.#settings = options.settings
    this.#rate = new FlowRate(options.settings)
  }

  /** Other limits from now on; flows beyond them stay until they end. */
  reconfigure(settings: HeartbeatListener): void {
    this.#settings = settings
    this.#rate.reconfigure(settings)
  }

  get size(): number {
    return this.#flows.size
  }

  flows(): Iterable<Flow<Upstream>> {
    return this.#flows.values()
  }

  sources(): number {
    return this.#bySource.size
  }

  /** Whether the server is silent, as the last tick found. */
  get silent(): boolean {
    return this.#silent
  }

  /**
   * Takes a datagram from a client.
   * @param key unique for listening socket, address and port
   * @param addressOf called only when the datagram is the first of its flow; undefined: it cannot be read
   * @param bytes length of the payload
   * @returns what to do; null: nothing, there is nobody to answer
   */
  received(
    key: string,
    addressOf: () => Address | undefined,
    port: number,
    bytes: number,
    nowMs: number,
  ): Received<Upstream> | null {
    const open = this.#flows.get(key)
    if (open !== undefined) return this.#again(open, bytes, nowMs)
    const address = addressOf()
    if (address === undefined) return null
    const { standing, refusal, wouldBe } = this.#options.judge(address, nowMs)
    if (refusal !== null) return { kind: 'refuse', standing, refusal, ended: null }
    if (bytes > this.#settings.datagramBytes) return this.#tooLarge(standing, bytes)
    const source = sourceKey(address)
    const known = standing.site !== null || this.#knownSources.has(source)
    const tooFast = this.#tooFast(source, known, nowMs)
    if (tooFast !== null) return { kind: 'refuse', standing, refusal: tooFast, ended: null }
    const room = this.#room(source, known)
    if (room.refusal !== null) return { kind: 'refuse', standing, refusal: room.refusal, ended: null }
    const flow: Flow<Upstream> = {
      key,
      address,
      port,
      openedMs: nowMs,
      upstream: null,
      standing,
      wouldBe,
      judgedBy: this.#options.policy(),
      judgedMs: nowMs,
      total: nothing(),
      fresh: { ...nothing(), firstMs: nowMs },
      countedMs: nowMs,
      lastHeartbeatMs: nowMs,
      lastReplyMs: null,
      withheld: 0,
      confirmed: false,
      proven: false,
      known,
      rhythm: newRhythm(),
    }
    this.#add(flow)
    this.#count(flow, bytes, nowMs)
    return { kind: 'open', flow, ended: room.ended }
  }

  /**
   * Takes a datagram from the server.
   * @returns whether it goes to the client: not when the flow has ended, and not when it is more than the client paid for
   */
  replied(flow: Flow<Upstream>, bytes: number, nowMs: number): boolean {
    if (this.#flows.get(flow.key) !== flow) return false
    const { total, fresh } = flow
    const paid = this.#settings.replyRatio * (total.bytesIn + HEADER_BYTES * total.heartbeats)
    const isMore = total.bytesOut + HEADER_BYTES * total.replies + bytes + HEADER_BYTES > paid
    if (isMore && !flow.proven) flow.proven = this.#options.isProven?.(flow.address) === true
    if (isMore && !flow.proven) {
      flow.withheld++
      return false
    }
    total.replies++
    total.bytesOut += bytes
    fresh.replies++
    fresh.bytesOut += bytes
    const isFirst = flow.lastReplyMs === null
    flow.lastReplyMs = nowMs
    this.#unanswered.heartbeats = 0
    if (isFirst) this.#more(flow)
    return true
  }

  /** The server is heard again after it was silent; true once. */
  takeRecovery(): boolean {
    if (!this.#silent || this.#unanswered.heartbeats > 0) return false
    this.#silent = false
    return true
  }

  /** To be called about once a second. */
  tick(nowMs: number): Tick<Upstream> {
    this.#rate.sweep(nowMs)
    const policy = this.#options.policy()
    const ended: EndedFlow<Upstream>[] = []
    const counted: FlowCount<Upstream>[] = []
    for (const flow of this.#flows.values()) {
      if (nowMs - flow.lastHeartbeatMs >= this.#settings.idleMs) ended.push(this.#end(flow, 'idle'))
      else if (isStale(flow, policy, nowMs) && this.#judgeAgain(flow, nowMs) !== null)
        ended.push(this.#end(flow, 'refused'))
      else if (isDue(flow, nowMs)) counted.push(this.take(flow, nowMs))
    }
    const { sinceMs, heartbeats } = this.#unanswered
    const becomesSilent =
      this.#settings.expectsReplies &&
      !this.#silent &&
      heartbeats >= SILENT_HEARTBEATS &&
      nowMs - sinceMs >= SILENT_MS
    if (becomesSilent) this.#silent = true
    return { ended, counted, silent: becomesSilent ? { sinceMs, heartbeats } : null }
  }

  /** Takes what a flow has not reported yet. */
  take(flow: Flow<Upstream>, nowMs: number): FlowCount<Upstream> {
    const { firstMs, ...passed } = flow.fresh
    Object.assign(flow.fresh, nothing())
    flow.countedMs = nowMs
    const young = passed.heartbeats === 0 || nowMs - firstMs < GRACE_MS
    const answered = passed.replies > 0 || !this.#settings.expectsReplies || young
    return { flow, ...passed, answered, ...takeJudged(flow.rhythm) }
  }

  /** Ends every flow that fits. */
  endAll(end: FlowEnd, fits: (flow: Flow<Upstream>) => boolean = () => true): EndedFlow<Upstream>[] {
    return [...this.#flows.values()].filter(fits).map(flow => this.#end(flow, end))
  }

  /** Ends one flow; null: it has ended before. */
  end(flow: Flow<Upstream>, end: FlowEnd): EndedFlow<Upstream> | null {
    return this.#flows.get(flow.key) === flow ? this.#end(flow, end) : null
  }

  #again(flow: Flow<Upstream>, bytes: number, nowMs: number): Received<Upstream> {
    if (isStale(flow, this.#options.policy(), nowMs)) {
      const refusal = this.#judgeAgain(flow, nowMs)
      if (refusal !== null) {
        const { standing } = flow
        return { kind: 'refuse', standing, refusal, ended: this.#end(flow, 'refused') }
      }
    }
    if (bytes > this.#settings.datagramBytes) return this.#tooLarge(flow.standing, bytes)
    if (!flow.confirmed && nowMs - flow.openedMs >= CONFIRM_MS) {
      flow.confirmed = true
      this.#more(flow)
    }
    this.#count(flow, bytes, nowMs)
    return { kind: 'forward', flow }
  }

  #judgeAgain(flow: Flow<Upstream>, nowMs: number): Refusal | null {
    const { standing, refusal, wouldBe } = this.#options.judge(flow.address, nowMs)
    flow.standing = standing
    flow.wouldBe = wouldBe
    flow.judgedBy = this.#options.policy()
    flow.judgedMs = nowMs
    return refusal
  }

  #count(flow: Flow<Upstream>, bytes: number, nowMs: number): void {
    const { total, fresh } = flow
    if (fresh.heartbeats === 0) fresh.firstMs = nowMs
    if (total.heartbeats > 0) beat(flow.rhythm, nowMs - flow.lastHeartbeatMs)
    total.heartbeats++
    total.bytesIn += bytes
    fresh.heartbeats++
    fresh.bytesIn += bytes
    flow.lastHeartbeatMs = nowMs
    if (this.#unanswered.heartbeats++ === 0) this.#unanswered.sinceMs = nowMs
  }

  /** More speaks for a flow than before: it came again, or it was answered. */
  #more(flow: Flow<Upstream>): void {
    const { expectsReplies } = this.#settings
    if (flow.confirmed && (flow.lastReplyMs !== null || !expectsReplies)) {
      flow.known = true
      this.#knownSources.add(sourceKey(flow.address))
    }
    this.#givingWay.place(flow)
  }

  #tooFast(source: string, known: boolean, nowMs: number): Refusal | null {
    const limit = this.#rate.take(source, known, nowMs)
    if (limit === null) return null
    const { newFlows, newFlowsPerSource, at } = this.#settings
    const [reason, most]: [Reason, number] =
      limit === 'source' ? ['flow-rate-source', newFlowsPerSource] : ['flow-rate-total', newFlows]
    return { reason, stage: 'limits', saw: `more than ${most} new flows per second`, line: at }
  }

  /** Makes room by ending the flow that least speaks for; flows that have come back and were answered never give way. */
  #room(
    source: string,
    known: boolean,
  ): { readonly refusal: Refusal | null; readonly ended: EndedFlow<Upstream> | null } {
    const { flows, flowsPerSource, expectsReplies } = this.#settings
    const own = this.#bySource.get(source)
    const ownFull = own !== undefined && own.size >= flowsPerSource
    if (!ownFull && this.#flows.size < flows) return { refusal: null, ended: null }
    const oldest = ownFull ? firstToYield(own) : this.#givingWay.next(known, expectsReplies && !this.#silent)
    if (oldest !== undefined) return { refusal: null, ended: this.#end(oldest, 'displaced') }
    const [reason, open, most]: [Reason, number, number] = ownFull
      ? ['flow-limit-source', own.size, flowsPerSource]
      : ['flow-limit-total', this.#flows.size, flows]
    const saw = `${open} of ${most} flows`
    return { refusal: { reason, stage: 'limits', saw, line: this.#settings.at }, ended: null }
  }

  #tooLarge(standing: Standing, bytes: number): Received<Upstream> {
    const saw = `${bytes} bytes, at most ${this.#settings.datagramBytes}`
    const line = this.#settings.at
    return {
      kind: 'refuse',
      standing,
      refusal: { reason: 'datagram-too-large', stage: 'limits', saw, line },
      ended: null,
    }
  }

  #add(flow: Flow<Upstream>): void {
    this.#flows.set(flow.key, flow)
    this.#givingWay.place(flow)
    const source = sourceKey(flow.address)
    const own = this.#bySource.get(source)
    if (own === undefined) this.#bySource.set(source, new Set([flow]))
    else own.add(flow)
  }

  #end(flow: Flow<Upstream>, end: FlowEnd): EndedFlow<Upstream> {
    this.#flows.delete(flow.key)
    this.#givingWay.remove(flow)
    const source = sourceKey(flow.address)
    const own = this.#bySource.get(source)
    own?.delete(flow)
    if (own?.size === 0) this.#bySource.delete(source)
    return { flow, end }
  }
}

function firstToYield<Upstream>(flows: Iterable<Flow<Upstream>>): Flow<Upstream> | undefined {
  let answered: Flow<Upstream> | undefined
  for (const flow of flows) {
    if (flow.confirmed) continue
    if (flow.lastReplyMs === null) return flow
    answered ??= flow
  }
  return answered
}

/** Whether the policy has changed since, or so much time has passed that windows and expiries may have. */
function isStale<Upstream>(flow: Flow<Upstream>, policy: object, nowMs: number): boolean {
  return flow.judgedBy !== policy || nowMs - flow.judgedMs >= JUDGE_MS
}

function nothing(): Passed {
  return { heartbeats: 0, replies: 0, bytesIn: 0, bytesOut: 0 }
}

// A reply that is still on its way must not make its heartbeat unanswered.
function isDue<Upstream>({ fresh, countedMs }: Flow<Upstream>, nowMs: number): boolean {
  if (fresh.heartbeats === 0 || nowMs - countedMs < COUNT_MS) return false
  return fresh.replies > 0 || nowMs - fresh.firstMs >= GRACE_MS
}
