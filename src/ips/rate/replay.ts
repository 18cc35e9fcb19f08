// Plays a request of a rule's test against the counting: so often, over so long, answered with one status.
import type { TrafficClass } from '../../policy/classes.ts'
import { outcomeOf, type RateRule } from './rate-rule.ts'
import { Rates } from './rates.ts'

/** What is played. */
export type Replay = {
  readonly rule: RateRule
  readonly source: string
  readonly user: string | null
  readonly class: TrafficClass
  readonly path: string
  readonly times: number
  readonly withinMs: number
  /** What the server answers; 200 says that a login succeeded. */
  readonly status: number
}

/** Whether any of the requests is one too many. They come evenly spread, the first at once and the last at the end. */
export function isEverOver(replay: Replay): boolean {
  const { rule, source, user, class: trafficClass, path, times, withinMs, status } = replay
  const rates = new Rates()
  const facts = { source, site: null, user, class: trafficClass }
  for (let index = 0; index < times; index++) {
    const nowMs = times === 1 ? 0 : (index * withinMs) / (times - 1)
    const answer = rates.ask(rule, facts, nowMs)
    if (answer.over) return true
    if (answer.ticket !== null) {
      rates.outcome(answer.ticket, outcomeOf({ status, location: null }, path), nowMs)
    }
  }
  return false
}
