// A rule as its YAML file states it, validated but not compiled. config/ reads these, ips/compile.ts makes a RuleSet of them.
import type { TrafficClass } from '../policy/classes.ts'
import type { SourceLine } from '../policy/source-line.ts'
import type { RuleMode } from './rule-set.ts'

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
      readonly at: SourceLine
    }

/** A request written in a rule's tests. */
export type RuleTestRequest = {
  /** `METHOD target`. */
  readonly request: string
  readonly host?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly webSocket?: boolean
  readonly body?: string
  readonly form?: Readonly<Record<string, string>>
  readonly json?: unknown
  readonly xml?: string
  /** Class under which the rule is asked; the rule's first class, or `other`, when absent. */
  readonly class?: TrafficClass
  readonly at: SourceLine
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
  readonly when: RuleCondition
  readonly except: readonly RuleException[]
  readonly tests: { readonly fires: readonly RuleTestRequest[]; readonly quiet: readonly RuleTestRequest[] }
  readonly at: SourceLine
}

/** Something wrong with a rule. */
export type RuleProblem = { readonly ruleId: string; readonly message: string; readonly at: SourceLine }
