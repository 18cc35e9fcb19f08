// What a rate rule counts, for whom, and what it is told of a request.
import { AGENT_CLASSES, type TrafficClass } from '../../policy/classes.ts'

/** The `rate` of a rule. Times in milliseconds. */
export type RatePlan = {
  /** What is let through within `perMs`; the next one is over. */
  readonly over: number
  readonly perMs: number
  /** Whose requests count together. A site's addresses are one; without a site, `site` is the address. */
  readonly by: 'source' | 'site' | 'source+user'
  /** `failure`: only what the server answered as a failed login. */
  readonly on: 'request' | 'failure'
  /** How long the rule goes on once it is met. Attempts meanwhile do not make it longer. */
  readonly holdMs: number
}

/** A rule that counts. Equal keys count together, over reloads too. */
export type RateRule = RatePlan & { readonly id: string; readonly key: string }

/** Who asks. */
export type RateFacts = {
  /** The address as `sourceKey` writes it. */
  readonly source: string
  /** Id of the known site; null: none. */
  readonly site: string | null
  /** A digest of the user's name, or of the device; null: the request does not say. */
  readonly user: string | null
  readonly class: TrafficClass
}

/** How a request came out. `none`: it never got an answer of the server, or one that says neither. */
export type RateOutcome = 'failure' | 'success' | 'none'

/** Makes the rule of a plan: a change of anything that counts begins anew, a change of anything else does not. */
export function rateRule(id: string, plan: RatePlan): RateRule {
  const { over, perMs, by, on, holdMs } = plan
  return { over, perMs, by, on, holdMs, id, key: [id, over, perMs, by, on, holdMs].join(' ') }
}

const UNATTENDED: ReadonlySet<TrafficClass> = new Set(AGENT_CLASSES)

/** Whether a rule has anything to say: failures of logins are never counted on the paths of agents. */
export function concerns(rule: RateRule, facts: RateFacts): boolean {
  return rule.on === 'request' || !UNATTENDED.has(facts.class)
}

/**
 * How an answer of the server counts for rules on failures.
 * @param answer `location` as sent, or null
 * @param login what this login answers when it fails, beside 401 and 403: statuses, and the path of its page (a redirect
 * back to it is a failure)
 */
export function outcomeOf(
  answer: { readonly status: number; readonly location: string | null },
  login: { readonly failureStatuses: ReadonlySet<number>; readonly path: string },
): RateOutcome {
  const { status, location } = answer
  if (status === 401 || status === 403 || login.failureStatuses.has(status)) return 'failure'
  if (status >= 300 && status < 400 && status !== 304) {
    return location !== null && pathOf(location) === login.path.toLowerCase() ? 'failure' : 'success'
  }
  return status >= 200 && status < 300 ? 'success' : 'none'
}

function pathOf(location: string): string {
  const path = location.replace(/^(?:[a-z][a-z0-9+.-]{0,20}:)?\/\/[^/?#]*/i, '')
  return (/^[^?#]*/.exec(path)?.[0] ?? '').toLowerCase()
}
