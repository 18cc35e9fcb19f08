// How many new flows a heartbeat listener opens per second: per source, in all, and as many again for sources that are known. Pure.

/** Per second. */
export type FlowRateLimits = {
  /** New flows in all; known sources have as many of their own. */
  readonly newFlows: number
  /** New flows of one source: an address, or a /64 of IPv6. */
  readonly newFlowsPerSource: number
}

/** What a limit allows at once: what it allows in so many seconds. Agents send every 5 s, so a whole site that returns fits. */
export const BURST_S = 5
/** Sources that are remembered while they open flows. Beyond it the longest remembered one begins anew. */
export const MAX_RATED_SOURCES = 65_536

type Bucket = { tokens: number; atMs: number }

/** Counts new flows. */
export class FlowRate {
  #limits: FlowRateLimits
  readonly #known: Bucket
  readonly #unknown: Bucket
  readonly #bySource = new Map<string, Bucket>()

  constructor(limits: FlowRateLimits) {
    this.#limits = limits
    this.#known = { tokens: limits.newFlows * BURST_S, atMs: 0 }
    this.#unknown = { tokens: limits.newFlows * BURST_S, atMs: 0 }
  }

  /** Other limits from now on. */
  reconfigure(limits: FlowRateLimits): void {
    this.#limits = limits
  }

  /** Sources that are remembered now. */
  get size(): number {
    return this.#bySource.size
  }

  /**
   * Asks for one new flow.
   * @param known the source has a place of its own in all: nobody who forges other addresses can take it
   * @returns null: it may open; else which limit it has reached
   */
  take(source: string, known: boolean, nowMs: number): 'source' | 'total' | null {
    const { newFlows, newFlowsPerSource } = this.#limits
    const own = this.#bySource.get(source)
    if (own !== undefined && !hasToken(own, newFlowsPerSource, nowMs)) return 'source'
    const all = known ? this.#known : this.#unknown
    if (!hasToken(all, newFlows, nowMs)) return 'total'
    all.tokens--
    if (own === undefined) this.#remember(source, nowMs)
    else own.tokens--
    return null
  }

  /** Forgets sources that have as much as one that never came. To be called about once a second. */
  sweep(nowMs: number): void {
    const full = this.#limits.newFlowsPerSource * BURST_S
    for (const [source, own] of this.#bySource) {
      refill(own, this.#limits.newFlowsPerSource, nowMs)
      if (own.tokens >= full) this.#bySource.delete(source)
    }
  }

  #remember(source: string, nowMs: number): void {
    if (this.#bySource.size >= MAX_RATED_SOURCES) {
      const [oldest] = this.#bySource.keys()
      if (oldest !== undefined) this.#bySource.delete(oldest)
    }
    this.#bySource.set(source, { tokens: this.#limits.newFlowsPerSource * BURST_S - 1, atMs: nowMs })
  }
}

function hasToken(bucket: Bucket, perSecond: number, nowMs: number): boolean {
  refill(bucket, perSecond, nowMs)
  return bucket.tokens >= 1
}

function refill(bucket: Bucket, perSecond: number, nowMs: number): void {
  // A clock that is set back must not take anything away.
  const passedMs = Math.max(0, nowMs - bucket.atMs)
  bucket.tokens = Math.min(perSecond * BURST_S, bucket.tokens + (perSecond * passedMs) / 1_000)
  bucket.atMs = nowMs
}
