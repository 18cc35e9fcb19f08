// What the desk is asked and answers: a thread that does for the dashboard what commands do, beside the gate's event loop.
import type { AddressDiagnosis, PlanOutcome } from './admin/dashboard/pages/sources.ts'
import type { ListedException } from './policy/expiring.ts'

/** The policy that a task works with. */
export type DeskPolicy = {
  /** Directory with the files of the policy in force: that of its version in the history. */
  readonly directory: string
  /** Policy directory of the gate, to which other directories are relative. */
  readonly meantFor: string
  readonly label: string
  readonly stateDir: string
  /** Digest of the policy in force: the desk loads it once. */
  readonly id: string
  /** What a suggested command needs to reach it; empty: nothing. */
  readonly commandPolicy: string
}

/** A task. Times in milliseconds by the gate's clock. */
export type DeskTask = { readonly id: number; readonly policy: DeskPolicy; readonly nowMs: number } & (
  | { readonly kind: 'diagnose'; readonly addresses: readonly string[]; readonly limited: boolean }
  | { readonly kind: 'plan'; readonly candidate: string; readonly label: string }
  | { readonly kind: 'exceptions' }
)

/** What the desk says. */
export type DeskReply = { readonly id: number } & (
  | { readonly kind: 'diagnoses'; readonly diagnoses: readonly AddressDiagnosis[] }
  | { readonly kind: 'progress'; readonly text: string }
  | { readonly kind: 'plan'; readonly outcome: PlanOutcome }
  | { readonly kind: 'exceptions'; readonly exceptions: readonly ListedException[] }
  | { readonly kind: 'problem'; readonly problem: string }
)
