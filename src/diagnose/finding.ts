// The words of a diagnosis: what is known, what was found, and the pieces that several findings share.
import type { Explanation } from '../policy/explain.ts'
import { formatSourceLine } from '../policy/source-line.ts'
import type { Activity } from './activity.ts'
import type { Fix, FixContext } from './fixes.ts'
import type { HeartbeatListenerFacts } from './heartbeats.ts'

/** What the diagnosis found; a closed set, stable for ticket systems. */
export type Cause =
  | 'healthy'
  | 'never-arrived'
  | 'reachability-test'
  | 'banned'
  | 'country'
  | 'tls-version'
  | 'certificate'
  | 'handshake'
  | 'name'
  | 'plaintext'
  | 'class'
  | 'rule'
  | 'upstream'
  | 'capacity'
  | 'protocol'
  | 'heartbeats-unanswered'
  | 'replies-stopped'
  | 'fixed'

/** A rule that fired, the field that its hit shows, and further ones in which it held. */
export type HitRule = {
  readonly ruleId: string
  readonly field: string
  readonly alsoIn: readonly string[]
}

/** What is known when the tree is walked. */
export type Evidence = {
  readonly address: string
  readonly explanation: Explanation
  /** Null: nothing has ever been recorded. */
  readonly activity: Activity | null
  /** Rule hits of the newest refusal by a rule, when the store has it. */
  readonly ruleHit: {
    readonly ruleId: string
    readonly field: string
    readonly alsoIn: readonly string[]
    readonly path: string
    readonly class: string
    /** The decoded value, secrets redacted, and how it was decoded; null: the event does not say. */
    readonly seen: string | null
    /** Other rules that gave the points which refused together with it. */
    readonly others: readonly HitRule[]
  } | null
  /** What the newest broken handshake ended with, in words; null: not known. */
  readonly handshakeProblem: string | null
  /** Names whose upstream is down now; null: no gate runs, so nobody knows. */
  readonly upstreamsDown: readonly string[] | null
  readonly certificateProblem: string | null
  /** Listeners for heartbeats, as the running gate has them; left out: none runs. */
  readonly heartbeatListeners?: readonly HeartbeatListenerFacts[]
  readonly publicHost: string | null
  /** Options that a command needs to reach this policy, with a leading space; empty: none. */
  readonly commandOptions: string
  readonly nowMs: number
}

/** The result: one sentence, its cause, and what to do. */
export type Diagnosis = {
  readonly cause: Cause
  readonly healthy: boolean
  readonly sentence: string
  readonly fix: Fix | null
}

/** What fixes need to know of the evidence. */
export function fixContext({ address, explanation, commandOptions, nowMs }: Evidence): FixContext {
  return { address, site: explanation.standing.site, commandOptions, nowMs }
}

/** A diagnosis that needs a fix. */
export function problem(cause: Cause, sentence: string, fix: Fix): Diagnosis {
  return { cause, healthy: false, sentence, fix }
}

/** `198.51.100.7 is banned until ... : password guessing (...).` */
export function banSentence(address: string, ban: Explanation['standing']['ban']): string {
  if (ban === null) return `${address} is banned.`
  const scope = ban.classes === null ? '' : ` from ${[...ban.classes].join(', ')}`
  const until =
    ban.expiresMs === null
      ? 'without an end'
      : `until ${new Date(ban.expiresMs).toISOString().slice(0, 16).replace('T', ' ')} UTC`
  const line = formatSourceLine(ban.at)
  const where = ban.at.line === 0 ? line : `(by ${ban.owner}, ${line})`
  return `${address} is banned${scope} ${until}: ${ban.reason} ${where}.`
}
