// Lets rules of `rules.enforceAfter` enforce by themselves once they were watched long enough without a hit of a known agent.
import type { EventFields, Reporter } from './journal/events.ts'
import type { Store } from './journal/store.ts'
import type { Snapshot } from './policy/snapshot.ts'

const DAY_MS = 86_400_000
const LOOK_MS = 3_600_000

/** The promotion of rules in a running gate. */
export type RulePromotion = {
  /** Looks at the rules of the policy in force; resolves with those that enforce by themselves. */
  readonly look: () => Promise<ReadonlySet<string>>
  readonly stop: () => void
}

/**
 * Looks every hour. `onChange` is told when a rule has begun to enforce. While the store cannot be used nothing changes: a
 * rule that enforces goes on, one that detects goes on.
 */
export function createRulePromotion(
  current: () => Snapshot,
  store: Pick<Store, 'call' | 'flush'>,
  reporter: Reporter,
  clock: () => number,
  onChange: (promoted: ReadonlySet<string>) => void,
): RulePromotion {
  let promoted: ReadonlySet<string> = new Set()
  const heldBack = new Map<string, number>()

  const look = async (): Promise<ReadonlySet<string>> => {
    const nowMs = clock()
    const rules = current().rules.rules.filter(rule => rule.enforceAfterDays !== null)
    const days = new Map(rules.map(rule => [rule.id, rule.enforceAfterDays ?? 0]))
    const watched = await store.call(
      'watchRules',
      rules.map(({ id, digest }) => ({ ruleId: id, digest })),
      nowMs,
    )
    const enforcing = new Set<string>()
    /** Rules that were watched long enough, by their days. */
    const due = new Map<number, string[]>()
    for (const { ruleId, sinceMs, promotedMs } of watched) {
      const wanted = days.get(ruleId) ?? Infinity
      if (promotedMs !== null) {
        enforcing.add(ruleId)
        continue
      }
      if (nowMs - sinceMs < wanted * DAY_MS) continue
      due.set(wanted, [...(due.get(wanted) ?? []), ruleId])
    }
    if (due.size > 0) await store.flush()
    // One question for all rules of a span: each reads every detection of that time.
    for (const [wanted, ruleIds] of due) {
      for (const effect of await store.call('ruleEffects', ruleIds, nowMs - wanted * DAY_MS)) {
        const { ruleId, knownAgents } = effect
        if (effect.incomplete || knownAgents > 0) {
          holdBack({ rule: ruleId, days: wanted, knownAgents }, nowMs)
          continue
        }
        await store.call('promoteRule', ruleId, nowMs)
        enforcing.add(ruleId)
        reporter.report('rule.promoted', { rule: ruleId, days: wanted, strangers: effect.sourceCount })
      }
    }
    const isSame = enforcing.size === promoted.size && [...enforcing].every(id => promoted.has(id))
    promoted = enforcing
    if (!isSame) onChange(promoted)
    return promoted
  }
  const holdBack = (fields: EventFields['rule.held-back'], nowMs: number): void => {
    if (nowMs - (heldBack.get(fields.rule) ?? -Infinity) < DAY_MS) return
    heldBack.set(fields.rule, nowMs)
    reporter.report('rule.held-back', fields)
  }
  // The store reports its own failures.
  const timer = setInterval(() => void look().catch(() => undefined), LOOK_MS)
  timer.unref()
  return { look, stop: () => clearInterval(timer) }
}
