// The one internal form of a rule: YAML rule files and imported SecLang both compile to it, and one engine runs it.
import type { HelloFacts } from '../policy/facts.ts'
import type { SourceLine } from '../policy/source-line.ts'
import type { Requirement } from './regex/requirement.ts'
import type { Inspected } from './parts/inspected.ts'
import type { HelloScope, RuleScope } from './rule-set.ts'

/** When a rule is asked. Each phase sees what the phases before it saw as well. */
export type RulePhase = 'hello' | 'head' | 'body' | 'message'

/** A value that a collection holds. */
export type FieldValue = {
  /** As hits show it: `args.q`, `ARGS:q`. */
  readonly field: string
  /** The member of the collection, as selectors see it; empty for a collection without members. */
  readonly name: string
  /** A byte string (one character per byte) unless the collection decodes. */
  readonly value: string
  readonly secret: boolean
  /** How the value came to be read like this, for example `["percent x2", "base64"]`; worked out for hits only. */
  readonly steps?: () => readonly string[]
}

/** Where values come from: a field of the YAML language (`args`, `path`) or a SecLang variable (`ARGS_GET`, `TX`). */
export type Collection = {
  readonly id: string
  /** The first phase in which it is complete. */
  readonly phase: RulePhase
  /** Whether it reads the state of the run (TX, MATCHED_VARS): then nothing about it may be remembered. */
  readonly volatile: boolean
  readonly read: (inspected: Inspected, run: Run) => readonly FieldValue[]
}

/** Picks members of a collection by `FieldValue.name`; names compare without regard to case. */
export type Selector = (name: string) => boolean

/** What a test looks at. */
export type Target = {
  readonly collection: Collection
  readonly only: Selector | null
  readonly except: readonly Selector[]
  /** Look at the number of values, written as digits, instead of the values; transforms do not apply. */
  readonly count: boolean
}

/** A named, pure change of a value; equal ids are the same change, so that results can be shared. */
export type Transform = {
  readonly id: string
  readonly apply: (value: string) => string
  /** Characters of which a value must have one to be changed, units above a byte aside; left out: any value may be changed. */
  readonly changes?: string
}

/** Where an operator found something; `groups` are captured texts, the whole match first. */
export type Place = {
  readonly at: number
  readonly length: number
  readonly groups?: readonly (string | undefined)[]
}

/** What a value is asked. */
export type Operator = {
  readonly id: string
  readonly find: (value: string, run: Run) => Place | null
  /** Whether `find` would find something, for those who need no place; left out: `find` is as cheap. */
  readonly holds?: (value: string, run: Run) => boolean
  /** What a value must contain for `find` to have a chance; null: it cannot say, ask always. */
  readonly requires: Requirement | null
  /** Characters that `find` looks at per character of the value, for the work budget. */
  readonly cost: number
}

/** One test: targets, transformed, asked. */
export type Test = {
  readonly targets: readonly Target[]
  readonly transforms: readonly Transform[]
  readonly operator: Operator
  readonly negated: boolean
  /** Ask after every transform, not only after the last. */
  readonly multiMatch: boolean
  /** What happens when it holds, once per matching value (SecLang setvar, ctl). */
  readonly effects: readonly Effect[]
  readonly at: SourceLine
}

/** What a rule looks for. */
export type Expression =
  | { readonly kind: 'all'; readonly parts: readonly Expression[] }
  | { readonly kind: 'any'; readonly parts: readonly Expression[] }
  | { readonly kind: 'not'; readonly part: Expression }
  | { readonly kind: 'test'; readonly test: Test }
  | { readonly kind: 'always'; readonly effects: readonly Effect[] }

/** A change of the run's state. */
export type Effect = (run: Run, matched: FieldValue | null, place: Place | null) => void

/** The state of one request's way through the rules. */
export type Run = {
  /** Where the request or ClientHello stands. */
  readonly scope: RuleScope | HelloScope | null
  /** Only in phase `hello`. */
  readonly hello: HelloFacts | null
  /** What is looked at: for effects and operators that quote other values (`%{ARGS.q}`). The pass keeps it current. */
  inspected: Inspected | null
  /** SecLang's TX, names in lower case. */
  readonly tx: Map<string, string>
  /** Rules that a control rule has taken out. */
  readonly removedRules: Set<string>
  /** Rules that are recorded and add nothing to scores. */
  silentRules: ReadonlySet<string>
  /** Targets that a control rule has taken out, per rule id. */
  readonly removedTargets: Map<string, { collection: string; only: Selector | null }[]>
  /** The value that matched last, and all that matched within the rule under test; as transformed. */
  matched: FieldValue | null
  matchedAll: FieldValue[]
  /** Work done so far, in characters looked at. */
  work: number
}

/** A compiled rule. */
export type Rule = {
  readonly id: string
  readonly title: string
  readonly severity: 'critical' | 'high' | 'medium' | 'low'
  readonly pack: string
  readonly tags: readonly string[]
  readonly refs: readonly string[]
  readonly phase: RulePhase
  readonly when: Expression
  /** `block` refuses at once, `score` adds the points of its severity, `control` only has effects. */
  readonly action: 'block' | 'score' | 'control'
  /** Marker to go on at when it holds; null: the next rule. */
  readonly skipTo: string | null
  readonly at: SourceLine
}

/** A place in the order of rules that `Rule.skipTo` names. */
export type Marker = { readonly marker: string }
