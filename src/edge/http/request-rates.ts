// Rules that count, as one request meets them: asked before it is forwarded, told how it came out.
import { outcomeOf, rateRule } from '../../ips/rate/rate-rule.ts'
import { Rates, type RateAnswer, type RateTicket } from '../../ips/rate/rates.ts'
import { sourceKey } from '../../ips/rate/source-key.ts'
import { isEverActive } from '../../ips/modes.ts'
import type { RateQuestion, RuleHit } from '../../ips/rule-set.ts'
import type { TrafficClass } from '../../policy/classes.ts'
import { enforces } from '../../policy/rule-hits.ts'
import type { Snapshot } from '../../policy/snapshot.ts'
import type { ConnectionFacts } from '../../policy/standing.ts'
import type { Refusal } from '../../policy/verdict.ts'
import type { OpenConnection } from '../connection.ts'
import { clientFields, type RequestRecord } from './request-record.ts'
import type { HttpServices } from './services.ts'

const MAX_USER = 256

/** The memory of a gate's rules that count. It outlives policies: what did not change goes on. */
export class GateRates {
  readonly rates = new Rates()
  #snapshot: Snapshot | null = null

  /** Brings the memory up to a policy. */
  under(snapshot: Snapshot): Rates {
    if (this.#snapshot !== snapshot) {
      this.#snapshot = snapshot
      const counting = snapshot.rules.rules.filter(isEverActive)
      this.rates.retain(counting.flatMap(({ id, rate }) => (rate === null ? [] : rateRule(id, rate))))
    }
    return this.rates
  }
}

/** Why a request is refused for now. */
export type RateRefusal = {
  readonly refusal: Refusal
  readonly hits: readonly RuleHit[]
  readonly retryAfterSeconds: number
}

/** What one request is counted by. */
export class RequestRates {
  readonly #services: HttpServices
  readonly #connection: OpenConnection
  readonly #facts: ConnectionFacts
  readonly #rates: Rates
  readonly #record: RequestRecord
  readonly #path: string
  #tickets: RateTicket[] = []

  /** @param path the normalised path of the request */
  constructor(
    conn: { readonly services: HttpServices; readonly connection: OpenConnection },
    facts: ConnectionFacts,
    record: RequestRecord,
    path: string,
  ) {
    this.#services = conn.services
    this.#connection = conn.connection
    this.#facts = facts
    this.#record = record
    this.#path = path
    this.#rates = conn.services.rates.under(facts.standing.snapshot)
  }

  /** Asks rules that count; the first that holds the request refuses it. */
  ask(counted: readonly RateQuestion[], trafficClass: TrafficClass): RateRefusal | null {
    const { source, site } = this.#facts.standing
    const nowMs = this.#services.clock.monotonicMs()
    for (const { rule, user, hit } of counted) {
      const name = user?.trim().slice(0, MAX_USER) ?? ''
      const who = {
        source: sourceKey(source.address),
        site: site?.id ?? null,
        user: name === '' ? null : this.#services.sha256Hex(name),
        class: trafficClass,
      }
      const answer = this.#rates.ask(rule, who, nowMs)
      if (!answer.over) {
        if (answer.ticket !== null) this.#tickets.push(answer.ticket)
        continue
      }
      const acts = enforces(hit) && !answer.soft
      if (answer.began) this.#report(hit, answer, rule.perMs, nowMs, trafficClass, acts)
      if (!acts) continue
      const whom = answer.whom === 'user' ? 'one user' : 'this address'
      const saw = `${rule.id}: ${whom}, over ${answer.limit} in ${rule.perMs / 1000} s`
      const refusal: Refusal = { reason: 'rate-limited', stage: 'rules', saw, line: hit.at }
      const retryAfterSeconds = Math.max(1, Math.ceil((answer.untilMs - nowMs) / 1000))
      return { refusal, hits: [hit], retryAfterSeconds }
    }
    return null
  }

  /** The head of the server's answer is there. */
  answered(status: number, headers: readonly string[]): void {
    if (this.#tickets.length === 0) return
    this.#settle(outcomeOf({ status, location: headerOf(headers, 'location') }, this.#path))
  }

  /** The request is over; without an answer it counts neither way. */
  over(): void {
    if (this.#tickets.length > 0) this.#settle('none')
  }

  #settle(outcome: ReturnType<typeof outcomeOf>): void {
    const nowMs = this.#services.clock.monotonicMs()
    for (const ticket of this.#tickets) this.#rates.outcome(ticket, outcome, nowMs)
    this.#tickets = []
  }

  #report(
    hit: RuleHit,
    answer: Extract<RateAnswer, { readonly over: true }>,
    perMs: number,
    nowMs: number,
    trafficClass: TrafficClass,
    acts: boolean,
  ): void {
    const { host, method, path } = this.#record
    this.#services.reporter.report('rate.held', {
      ...clientFields(this.#connection, this.#facts),
      reference: this.#services.newReference(),
      host,
      method,
      path,
      class: trafficClass,
      hit,
      whom: answer.whom,
      limit: answer.limit,
      perMs,
      holdMs: answer.untilMs - nowMs,
      acts,
    })
  }
}

function headerOf(headers: readonly string[], wanted: string): string | null {
  for (let at = 0; at + 1 < headers.length; at += 2) {
    const name = headers[at] ?? ''
    if (name.length === wanted.length && name.toLowerCase() === wanted) return headers[at + 1] ?? null
  }
  return null
}
