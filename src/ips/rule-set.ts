// The shape of a compiled rule set and of what it finds. The engine behind it can change without policy or edge noticing.
import type { HelloFacts, RequestFacts } from '../policy/facts.ts'
import type { TrafficClass } from '../policy/classes.ts'
import type { SourceLine } from '../policy/source-line.ts'
import type { Inflate, MessageFacts } from './parts/inspected.ts'
import type { RateRule } from './rate/rate-rule.ts'
import type { ModeOverride, RuleRate } from './rule-document.ts'
import type { RulePhase } from './rule.ts'

/** What a rule does when it fires. `detect` records and lets pass. */
export type RuleMode = 'enforce' | 'detect' | 'off'

/** A rule that fired. */
export type RuleHit = {
  readonly ruleId: string
  readonly title: string
  readonly severity: 'critical' | 'high' | 'medium' | 'low'
  readonly mode: RuleMode
  /** The field that matched, for example `query.id`. */
  readonly field: string
  /** Further fields in which a rule of an imported set held. */
  readonly alsoIn?: readonly string[]
  /** The decoded value around the match, secrets redacted, at most 120 characters. */
  readonly value: string
  /** How the value was decoded, first step first, for example `["percent x2", "base64"]`. */
  readonly steps: readonly string[]
  /** Points that the hit adds to the score of the request; 0 for rules that block or are set to detect. */
  readonly score: number
  /** Id of the exception that kept the rule from acting; null: none. */
  readonly exception: SourceLine | null
  readonly at: SourceLine
}

/** Where a request stands, for scoping of modes and exceptions. */
export type RuleScope = {
  readonly class: TrafficClass
  /** Id of the listener that took the connection. */
  readonly listener: string
  /** ISO 3166-1 alpha-2, or `private`, `cgnat`, `loopback`, `unknown`, `unavailable` and the like. */
  readonly country: string
  readonly site: string | null
  readonly sourceText: string
  readonly nowMs: number
  /** Ids of rules that enforce by themselves by now although their mode is detect. */
  readonly promoted?: ReadonlySet<string>
}

/** Where a ClientHello stands: no class is known yet. */
export type HelloScope = Omit<RuleScope, 'class'>

/** A compiled rule set. Pure: the same facts give the same hits. */
export type RuleSet = {
  readonly size: number
  readonly rules: readonly RuleInfo[]
  /** Judges the head; stops at the first hit that would refuse, hits of detect rules come along. */
  readonly matchHead: (facts: RequestFacts, scope: RuleScope) => readonly RuleHit[]
  /** Whether any rule wants this request's body. When false, the body is never held back. */
  readonly wantsBody: (facts: RequestFacts, scope: RuleScope) => boolean
  /** Judges a body, complete or cut off at limits.inspectBytes. */
  readonly matchBody: (
    facts: RequestFacts,
    scope: RuleScope,
    body: Uint8Array,
    complete: boolean,
    /** Undoes content codings; without it, coded bodies count as unreadable. */
    inflate?: Inflate,
  ) => readonly RuleHit[]
  /** How many of the client's first WebSocket messages rules want to see; 0: none, join the sockets at once. */
  readonly messagesWanted: (facts: RequestFacts, scope: RuleScope) => number
  /** Judges a message of the client before it is forwarded; `facts` are those of the upgrade request. */
  readonly matchMessage: (facts: RequestFacts, scope: RuleScope, message: MessageFacts) => readonly RuleHit[]
  /** Judges a ClientHello. */
  readonly matchHello: (hello: HelloFacts, scope: HelloScope) => readonly RuleHit[]
  /**
   * Rules that count this request, for the state machine in rate/. Ask after `matchHead` for `head`, and after `matchBody` for
   * `body`: for rules whose condition or user is in the body. Each rule comes once.
   */
  readonly ratesOf: (facts: RequestFacts, scope: RuleScope, phase: 'head' | 'body') => readonly RateQuestion[]
  /** What each rule cost since the set was made. */
  readonly counters: () => readonly RuleCounter[]
}

/** A rule that counts a request. */
export type RateQuestion = {
  readonly rule: RateRule
  /** The user whom it counts for, as sent but decoded and in small letters; null: none is named. */
  readonly user: string | null
  /** The hit when the request is one too many: its mode says whether it refuses. */
  readonly hit: RuleHit
}

/** What a rule cost: how often it was asked (scans rule out most), how often it fired, and characters looked at. */
export type RuleCounter = {
  readonly id: string
  readonly asked: number
  readonly hits: number
  readonly work: number
}

/** What lists and explanations show of a rule. */
export type RuleInfo = {
  readonly id: string
  readonly title: string
  readonly severity: 'critical' | 'high' | 'medium' | 'low'
  readonly mode: RuleMode
  readonly pack: string
  readonly tags: readonly string[]
  readonly phase: RulePhase
  readonly action: 'block' | 'score'
  /** Modes that the policy states for some places. */
  readonly overrides: readonly ModeOverride[]
  readonly rate: RuleRate | null
  /** Set to detect, and enforcing by itself after so many days without a hit of a known agent; null: never. */
  readonly enforceAfterDays: number | null
  /** Of what the rule says; empty for rules that do not enforce by themselves. */
  readonly digest: string
  readonly refs: readonly string[]
  /** Exceptions with their ends. */
  readonly exceptions: readonly {
    readonly reason: string
    readonly owner: string
    readonly at: SourceLine
    readonly expiresMs: number
  }[]
  readonly at: SourceLine
}
