// Rate rules with holds: whether a request is one too many, and for whom. Pure but for its own memory; the clock is given in.
import {
  COUNTER_LIMITS,
  Counters,
  type Counter,
  type CounterLimits,
  type CounterSizes,
  type Domain,
} from './counters.ts'
import { concerns, type RateFacts, type RateOutcome, type RateRule } from './rate-rule.ts'

/** How a question came out. */
export type RateAnswer =
  | {
      readonly over: false
      /** To be given back with the outcome, exactly once; null: nothing to report. */
      readonly ticket: RateTicket | null
      readonly count: number
      readonly limit: number
    }
  | {
      readonly over: true
      readonly ruleId: string
      /** Whom it concerns: one user of the source, or all of it. */
      readonly whom: 'user' | 'source'
      /** Earliest moment at which it may pass, on the clock of the question. */
      readonly untilMs: number
      /** This question began the hold: the moment to report it. */
      readonly began: boolean
      /** Record and let pass: all of a known site is concerned, and a site is not shut out for some of it. */
      readonly soft: boolean
      readonly count: number
      readonly limit: number
    }

/** A question whose outcome is not known yet. */
export type RateTicket = { readonly rule: RateRule; readonly facts: RateFacts }

/** So many users who logged in make a source a shared one: an office, a CGNAT, a relay. */
const SHARED_FROM = 3
/** How long a login speaks for its source. */
const LOGIN_COUNTS_MS = 12 * 3_600_000
/** Each user who logged in raises what the source may do, up to this factor. */
const MAX_FACTOR = 20
/** How soon a request may come again that was refused because earlier ones have no answer yet. */
const PENDING_MS = 1000

/**
 * Counts for rate rules.
 *
 * - A source that is shared is never held for failures as a whole; users of it are, one by one.
 * - Users who logged in raise the limit of their source.
 * - Attempts during a hold do not lengthen it; after it, counting begins anew.
 * - Requests without an answer yet count as failures, so that many at once get no further than one after the other.
 *
 * Times are milliseconds of a clock that never goes back.
 */
export class Rates {
  readonly #counters: Counters
  /** Keys of the rules in force; null: not told yet. */
  #inForce: ReadonlySet<string> | null = null

  constructor(limits: CounterLimits = COUNTER_LIMITS) {
    this.#counters = new Counters(limits)
  }

  get sizes(): CounterSizes {
    return this.#counters.sizes
  }

  /** Asks whether a request may pass, and counts it if it may. */
  ask(rule: RateRule, facts: RateFacts, nowMs: number): RateAnswer {
    const place = concerns(rule, facts) ? this.#place(rule, facts, nowMs) : null
    if (place === null) return { over: false, ticket: null, count: 0, limit: rule.over }
    const { domain, counter, whom } = place
    const limit = limitOf(rule, domain, whom, nowMs)
    const soft = whom === 'source' && facts.site !== null
    const over = { over: true, ruleId: rule.id, whom, soft, limit } as const
    if (counter.heldUntilMs > nowMs) {
      return { ...over, untilMs: counter.heldUntilMs, began: false, count: limit }
    }
    counter.heldUntilMs = 0
    const count = counter.window.count(nowMs, rule.perMs)
    if (count >= limit) {
      const untilMs = nowMs + holdOf(rule, facts, whom)
      this.#counters.hold(domain, counter, untilMs)
      return { ...over, untilMs, began: true, count }
    }
    if (rule.on === 'request') {
      counter.window.add(nowMs, rule.perMs)
      return { over: false, ticket: null, count: count + 1, limit }
    }
    if (count + counter.pending >= limit) {
      return { ...over, untilMs: nowMs + PENDING_MS, began: false, count: count + counter.pending }
    }
    counter.pending++
    return { over: false, ticket: { rule, facts }, count, limit }
  }

  /** Says how a request came out that `ask` let through with a ticket. */
  outcome(ticket: RateTicket, outcome: RateOutcome, nowMs: number): void {
    const { rule, facts } = ticket
    if (this.#inForce?.has(rule.key) === false) return
    const place = this.#place(rule, facts, nowMs)
    if (place === null) return
    const { domain, counter } = place
    if (counter.pending > 0) counter.pending--
    if (outcome === 'failure' && counter.heldUntilMs <= nowMs) counter.window.add(nowMs, rule.perMs)
    if (outcome !== 'success' || facts.user === null) return
    this.#counters.welcome(domain, facts.user, nowMs)
    // The user has shown that the failures were slips. Those of others stay.
    if (place.whom === 'user') counter.window.clear()
  }

  /** Forgets what belongs to none of these rules: called when the policy changes. Rules that did not change go on. */
  retain(rules: Iterable<RateRule>): void {
    this.#inForce = new Set([...rules].map(rule => rule.key))
    this.#counters.retain(this.#inForce)
  }

  #place(rule: RateRule, facts: RateFacts, nowMs: number): Place | null {
    const isPerUser = rule.by === 'source+user'
    // Whoever names no user is not one: rules by source count that.
    if (isPerUser && facts.user === null) return null
    const name = rule.by === 'site' && facts.site !== null ? `site ${facts.site}` : facts.source
    const domain = this.#counters.domain(name, nowMs)
    if (domain === null) return null
    const user = isPerUser ? facts.user : null
    const member = user === null ? rule.key : `${rule.key}\n${user}`
    const counter = this.#counters.counter(domain, member, rule.key, nowMs)
    return counter === null ? null : { domain, counter, whom: user === null ? 'source' : 'user' }
  }
}

type Place = { readonly domain: Domain; readonly counter: Counter; readonly whom: 'user' | 'source' }

/** What is let through: as the rule says for a user, more for a source where users log in, anything where it is shared. */
function limitOf(rule: RateRule, domain: Domain, whom: 'user' | 'source', nowMs: number): number {
  if (whom === 'user') return rule.over
  let users = 0
  for (const lastMs of domain.users.values()) if (lastMs > nowMs - LOGIN_COUNTS_MS) users++
  if (rule.on === 'failure' && users >= SHARED_FROM) return Infinity
  return rule.over * Math.min(1 + users, MAX_FACTOR)
}

/** A user of a known site waits no longer than the time in which attempts are counted. */
function holdOf(rule: RateRule, facts: RateFacts, whom: 'user' | 'source'): number {
  return whom === 'user' && facts.site !== null ? Math.min(rule.holdMs, rule.perMs) : rule.holdMs
}
