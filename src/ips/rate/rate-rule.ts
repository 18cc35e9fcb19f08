// What a rate rule counts, for whom, and what it is told of a request.
import { AGENT_CLASSES, type TrafficClass } from '../../policy/classes.ts'

/** The `rate` of a rule. Times in milliseconds. */
export type RatePlan = {
  /** What is let through within `perMs`; the next one is over. */
  readonly over: number
  readonly perMs: number
  /**
   * Whose requests count together. A site's addresses are one; without a site, `site` is the address. `source+user` counts
   * nothing that names no user.
   */
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
 * How an answer of the server counts for rules on failures: 401, 403 and 429 are failures, and so is a redirect back to the
 * page that the login was sent to.
 * @param answer `location` as sent, or null
 * @param path the path of the request
 */
export function outcomeOf(
  answer: { readonly status: number; readonly location: string | null },
  path: string,
): RateOutcome {
  const { status, location } = answer
  if (status === 401 || status === 403 || status === 429) return 'failure'
  if (status >= 300 && status < 400 && status !== 304) {
    return location !== null && pathOf(location, path) === path.toLowerCase() ? 'failure' : 'success'
  }
  return status >= 200 && status < 300 ? 'success' : 'none'
}

/** The path that a Location leads to, in small letters (RFC 9110, 10.2.2). */
function pathOf(location: string, base: string): string {
  const local = location.replace(/^(?:[a-z][a-z0-9+.-]{0,20}:)?\/\/[^/?#]*/i, '')
  const path = /^[^?#]*/.exec(local)?.[0] ?? ''
  if (path === '') return local === location ? base.toLowerCase() : '/'
  const whole = path.startsWith('/') ? path : base.slice(0, base.lastIndexOf('/') + 1) + path
  return whole.replace(/^((?:[^/]*\/)+)\.\//, '$1').toLowerCase()
}
