// PURE: which member of an upstream group serves. Facts (probes, live failures, the clock) go in, changes come out.
import type { ServerHealth } from '../policy/running-state.ts'

/** Something that was observed of a member. */
export type HealthFact =
  | { readonly kind: 'probe-ok' }
  | { readonly kind: 'probe-failed'; readonly problem: string }
  | { readonly kind: 'live-failed'; readonly problem: string }
  | { readonly kind: 'live-ok' }

/** What a fact changed, for events. Positions are those of the members in their group. */
export type HealthChange =
  | { readonly kind: 'suspected'; readonly member: number; readonly problem: string }
  | { readonly kind: 'down'; readonly member: number; readonly problem: string }
  | { readonly kind: 'up'; readonly member: number; readonly downMs: number }
  | {
      readonly kind: 'switched'
      readonly from: number | null
      readonly to: number | null
      readonly why: string
    }

/** All that is known of one member. It can be carried over to the group of a new policy. */
export type MemberRecord = {
  state: ServerHealth
  sinceMs: number
  /** Failures in a row. One is a suspicion, two are a verdict. */
  strikes: number
  /** The last probe failed: answers on old connections do not clear that, because new ones are what counts. */
  probeFailed: boolean
  lastProblem: string | null
  healthySinceMs: number
  downSinceMs: number
  /** Unbroken health that the member must show after its last failure before it takes traffic back. */
  holdOffMs: number
  /** Recent failures; each doubles the hold-off, half an hour of health takes one away. */
  flaps: number
}

/** Longest hold-off, and the health that takes one flap off the record. */
export const MAX_HOLD_OFF_MS = 30 * 60_000

const STRIKES_DOWN = 2

/** A member of which nothing is known yet: it serves until a probe says otherwise. */
export function unknownMember(nowMs: number, returnAfterMs: number): MemberRecord {
  return {
    state: 'unknown',
    sinceMs: nowMs,
    strikes: 0,
    probeFailed: false,
    lastProblem: null,
    healthySinceMs: nowMs,
    downSinceMs: nowMs,
    holdOffMs: returnAfterMs,
    flaps: 0,
  }
}

/** The health of one group. The first member is the preferred one. */
export class GroupHealth {
  readonly records: readonly MemberRecord[]
  readonly #returnAfterMs: number
  #serving: number | null

  /** @param serving position of the member that served before, when the group is carried over */
  constructor(records: readonly MemberRecord[], returnAfterMs: number, serving: number | null = null) {
    this.records = records
    this.#returnAfterMs = returnAfterMs
    this.#serving = serving !== null && this.#mayServe(serving) ? serving : this.#best()
  }

  /** The member that serves new requests; null when all are down. */
  get serving(): number | null {
    return this.#serving
  }

  /**
   * The member for one request: the serving one, unless it is excluded, or suspected while another may serve. Does
   * not change who serves.
   */
  pick(isExcluded: (member: number) => boolean): number | null {
    const serving = this.#serving
    if (serving === null) return null
    const usable = !isExcluded(serving)
    if (usable && this.records[serving]?.strikes === 0) return serving
    return this.#first(member => member !== serving && !isExcluded(member)) ?? (usable ? serving : null)
  }

  /** Takes a fact in. Times must not run backwards. */
  take(member: number, fact: HealthFact, nowMs: number): HealthChange[] {
    const record = this.records[member]
    if (record === undefined) return []
    switch (fact.kind) {
      case 'live-ok':
        // A server that is shutting down answers on kept connections while it refuses new ones.
        if (record.state !== 'down' && !record.probeFailed) record.strikes = 0
        return []
      case 'probe-ok':
        return this.#probeOk(member, record, nowMs)
      case 'probe-failed':
        record.probeFailed = true
        return this.#failed(member, record, fact.problem, nowMs)
      case 'live-failed':
        return this.#failed(member, record, fact.problem, nowMs)
    }
  }

  #probeOk(member: number, record: MemberRecord, nowMs: number): HealthChange[] {
    record.strikes = 0
    record.probeFailed = false
    if (record.state === 'unknown') {
      // A new member that is preferred to the serving one proves itself like one that returns.
      const serves = this.#serving === null || this.#serving <= member
      setState(record, serves ? 'up' : 'returning', nowMs)
      record.healthySinceMs = nowMs
      return []
    }
    if (record.state === 'down') {
      setState(record, 'returning', nowMs)
      record.healthySinceMs = nowMs
      const change: HealthChange = { kind: 'up', member, downMs: nowMs - record.downSinceMs }
      return [change, ...this.#choose('it answers again')]
    }
    if (record.state === 'returning' && nowMs - record.healthySinceMs >= record.holdOffMs) {
      setState(record, 'up', nowMs)
      record.lastProblem = null
      return this.#choose(`healthy for ${Math.round((nowMs - record.healthySinceMs) / 1000)} s`)
    }
    return []
  }

  #failed(member: number, record: MemberRecord, problem: string, nowMs: number): HealthChange[] {
    record.lastProblem = problem
    record.strikes++
    if (record.state === 'down') return []
    // A member on probation gets no second chance; anybody else is suspected first and asked again at once.
    if (record.strikes < STRIKES_DOWN && record.state !== 'returning') {
      return [{ kind: 'suspected', member, problem }]
    }
    const healthyMs = nowMs - record.healthySinceMs
    record.flaps = Math.max(0, record.flaps - Math.floor(healthyMs / MAX_HOLD_OFF_MS))
    record.holdOffMs = Math.min(
      this.#returnAfterMs * 2 ** Math.min(record.flaps, 32),
      Math.max(MAX_HOLD_OFF_MS, this.#returnAfterMs),
    )
    record.flaps++
    record.downSinceMs = nowMs
    setState(record, 'down', nowMs)
    return [{ kind: 'down', member, problem }, ...this.#choose(problem)]
  }

  /** Decides again who serves: who serves stays, unless it is down or a better one has proved itself. */
  #choose(why: string): HealthChange[] {
    const from = this.#serving
    const better = this.records.findIndex(
      (record, member) => (from === null || member < from) && record.state === 'up' && record.strikes === 0,
    )
    if (from === null || !this.#mayServe(from)) this.#serving = this.#best()
    else if (better >= 0) this.#serving = better
    return this.#serving === from ? [] : [{ kind: 'switched', from, to: this.#serving, why }]
  }

  #best(): number | null {
    return this.#first(() => true)
  }

  /** The first member fit to serve: proven or unknown ones before returning ones, suspected ones last. */
  #first(fits: (member: number) => boolean): number | null {
    let best: number | null = null
    let bestRank = Infinity
    for (const [member, record] of this.records.entries()) {
      if (record.state === 'down' || !fits(member)) continue
      const rank = (record.state === 'returning' ? 1 : 0) + (record.strikes > 0 ? 2 : 0)
      if (rank < bestRank) {
        best = member
        bestRank = rank
      }
    }
    return best
  }

  #mayServe(member: number): boolean {
    const record = this.records[member]
    return record !== undefined && record.state !== 'down'
  }
}

function setState(record: MemberRecord, state: ServerHealth, nowMs: number): void {
  record.state = state
  record.sinceMs = nowMs
}
