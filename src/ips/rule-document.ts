// A rule as its YAML file states it, validated but not compiled. config/ reads these, ips/compile.ts makes a RuleSet of them.
import type { TrafficClass } from '../policy/classes.ts'
import type { SourceLine } from '../policy/source-line.ts'
import type { RatePlan } from './rate/rate-rule.ts'
import type { RuleMode } from './rule-set.ts'
import type { RulePhase } from './rule.ts'

/** Fields of a request that conditions can look at; `header.<name>`, `args.<name>` and `cookies.<name>` narrow a family. */
export type RuleField = string

/** One condition. Exactly one of `all`, `any`, `not` or a field test is set. */
export type RuleCondition =
  | { readonly all: readonly RuleCondition[] }
  | { readonly any: readonly RuleCondition[] }
  | { readonly not: RuleCondition }
  | {
      readonly in: readonly RuleField[]
      /** RE2 dialect: no look-around, no back-references. Input is decoded and lower-cased unless the field ends in `.raw`. */
      readonly matches?: readonly string[]
      /** Literals, matched in lower case. */
      readonly has?: readonly string[]
      readonly equals?: readonly string[]
      readonly missing?: boolean
      readonly longerThan?: number
      /** The value is a number above or below this: `body.size`, `hello.ciphers`, `message.number`. */
      readonly above?: number
      readonly below?: number
      /** Where the texts of `matches` stand, in the same order; left out: nobody knows more than `at`. */
      readonly patternsAt?: readonly PatternPlace[]
      readonly at: SourceLine
    }

/** Where a pattern stands. `isExact`: its characters stand there as they are, so that columns can be counted on. */
export type PatternPlace = { readonly at: SourceLine; readonly isExact: boolean }

/** When a rule that counts is met, and the field that names the user whom it counts for. */
export type RuleRate = RatePlan & { readonly userField: RuleField | null }

/** What the policy says of a rule's mode in some place. */
export type ModeOverride = {
  readonly mode: RuleMode
  /** Null: everywhere. */
  readonly classes: readonly TrafficClass[] | null
  readonly sites: readonly string[] | null
  readonly listeners: readonly string[] | null
}

/** A request or ClientHello written in a rule's tests. */
export type RuleTestRequest = {
  /** `METHOD target`; null: only a ClientHello. */
  readonly request: string | null
  readonly host?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly webSocket?: boolean
  readonly body?: string
  readonly base64Body?: string
  readonly form?: Readonly<Record<string, string>>
  readonly json?: unknown
  readonly xml?: string
  readonly multipart?: readonly RuleTestPart[]
  /** Messages of the client after the handshake. */
  readonly messages?: readonly (string | { readonly base64: string })[]
  readonly hello?: RuleTestHello
  readonly from?: string
  readonly country?: string
  readonly listener?: string
  /** For rules that count: how often it comes, over how long, and with which status it is answered. */
  readonly times?: number
  readonly withinMs?: number
  readonly status?: number
  /** Class under which the rule is asked; the rule's first class, or `other`, when absent. */
  readonly class?: TrafficClass
  readonly at: SourceLine
}

/** A part of a multipart body in a test. */
export type RuleTestPart = {
  readonly name: string
  readonly fileName?: string | undefined
  readonly type?: string | undefined
  readonly content?: string | undefined
  readonly base64?: string | undefined
}

/** A ClientHello in a test; what is left out is that of an ordinary client. */
export type RuleTestHello = {
  readonly ja4?: string | undefined
  readonly alpn?: readonly string[] | undefined
  readonly versions?: readonly string[] | undefined
  readonly serverName?: string | null | undefined
  readonly ciphers?: number | undefined
}

/** A scoped exception. */
export type RuleException = {
  readonly paths?: readonly string[]
  readonly fields?: readonly RuleField[]
  readonly sources?: readonly string[]
  readonly sites?: readonly string[]
  readonly reason: string
  readonly owner: string
  readonly expiresMs: number
  readonly at: SourceLine
}

/** A rule document. */
export type RuleDocument = {
  readonly id: string
  readonly title: string
  readonly severity: 'critical' | 'high' | 'medium' | 'low'
  readonly mode: RuleMode
  readonly pack: string
  readonly tags: readonly string[]
  readonly refs: readonly string[]
  /** Null: all classes. */
  readonly classes: readonly TrafficClass[] | null
  readonly methods: readonly string[] | null
  /** Profiles whose products it concerns; null: all. */
  readonly products: readonly string[] | null
  /** Profiles whose products send what it looks for themselves: where one is in use, the rule is left out. */
  readonly notFor: readonly string[]
  /** Null: what its fields say. */
  readonly phase: RulePhase | null
  /** What a hit does where the rule is enforced: refuse at once, or add the points of its severity. */
  readonly action: 'block' | 'score'
  readonly rate: RuleRate | null
  /** Modes by place; the first that applies counts, else `mode`. */
  readonly overrides: readonly ModeOverride[]
  /** Detects until so many days have passed without a hit of a known agent; null: the mode stays. */
  readonly enforceAfterDays: number | null
  /** Of what the rule says, for rules that enforce by themselves: a changed rule starts anew. */
  readonly digest: string
  readonly when: RuleCondition
  readonly except: readonly RuleException[]
  readonly tests: { readonly fires: readonly RuleTestRequest[]; readonly quiet: readonly RuleTestRequest[] }
  readonly at: SourceLine
}

/** Something wrong with a rule. */
export type RuleProblem = { readonly ruleId: string; readonly message: string; readonly at: SourceLine }
