// What the families of fields say of themselves.
import type { Inspected } from '../parts/inspected.ts'
import type { FieldValue, RulePhase, Run } from '../rule.ts'

/** Without which part of a request a field has no value; `always`: it may have one in every request. */
export type FieldSource = 'always' | 'query' | 'body' | 'query-or-body' | { readonly header: string }

/** How a field is read. */
export type FieldSpec = {
  /** The first phase in which it is complete; `hello` for what is known from the beginning. */
  readonly phase: RulePhase
  readonly source: FieldSource
  /** Whether it is a property of the path alone. */
  readonly aboutPath?: boolean
  /** Whether it holds the bytes as sent, case kept. */
  readonly raw?: boolean
  readonly read: (inspected: Inspected, run: Run) => readonly FieldValue[]
}

/** Fields of a family by their full name. */
export type FieldTable = Readonly<Record<string, FieldSpec>>

/** A family whose fields end in a name, such as `header.<name>`. */
export type NamedFamily = {
  readonly prefix: string
  readonly spec: (name: string, raw: boolean) => FieldSpec
}
