// What a file of the ModSecurity rule language says, before anything of it is understood.
import type { SourceLine } from '../../policy/source-line.ts'

/** One variable of a rule, for example `&REQUEST_HEADERS:Host` or `!ARGS:/^q/`. */
export type SecVariable = {
  /** In capitals. */
  readonly name: string
  /** Member of a collection, as written; null: the whole. */
  readonly selector: string | null
  /** The selector is a regular expression, given without its slashes. */
  readonly isPattern: boolean
  readonly kind: 'include' | 'exclude' | 'count'
}

/** The operator of a rule. */
export type SecOperator = { readonly name: string; readonly argument: string; readonly isNegated: boolean }

/** One action, for example `t:lowercase`: name in small letters, value without its quotes. */
export type SecActionItem = { readonly name: string; readonly value: string | null }

/** A rule, an action without a rule, or a marker, in the order of the files. */
export type SecStep =
  | {
      readonly kind: 'rule'
      readonly variables: readonly SecVariable[]
      readonly operator: SecOperator
      readonly actions: readonly SecActionItem[]
      readonly at: SourceLine
    }
  | { readonly kind: 'action'; readonly actions: readonly SecActionItem[]; readonly at: SourceLine }
  | { readonly kind: 'marker'; readonly name: string; readonly at: SourceLine }
  | { readonly kind: 'default'; readonly actions: readonly SecActionItem[]; readonly at: SourceLine }

/** Which rules a directive or a control action means. */
export type RuleChoice =
  | { readonly by: 'id'; readonly from: number; readonly to: number }
  | { readonly by: 'tag' | 'message'; readonly text: string }

/** A directive that changes rules that stand in the files; it applies to what stands before it. */
export type SecChange = {
  readonly choices: readonly RuleChoice[]
  /** Place within a chain; 0: its first rule. */
  readonly link: number
  /** How many steps stood before it. */
  readonly before: number
  readonly at: SourceLine
} & (
  | { readonly kind: 'remove' }
  | { readonly kind: 'targets'; readonly variables: readonly SecVariable[] }
  | { readonly kind: 'actions'; readonly actions: readonly SecActionItem[] }
)

/** Something that cannot be carried over, and what follows from that. */
export type SecProblem = {
  /** `error`: what was meant cannot be told, so that the files must not be used. `note`: a part is left out or has no effect. */
  readonly level: 'error' | 'note'
  readonly message: string
  readonly at: SourceLine
}

/** All files together. */
export type SecDocument = {
  readonly steps: readonly SecStep[]
  readonly changes: readonly SecChange[]
  readonly problems: readonly SecProblem[]
}
