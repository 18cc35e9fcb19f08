// How decisions write their steps down.
import { REASONS, type Reason } from './reasons.ts'
import type { SourceLine } from './source-line.ts'
import type { Refusal, Stage, Step, Trace } from './verdict.ts'

/** Adds a step that does not end the decision. */
export function note(
  trace: Trace,
  stage: Stage,
  outcome: Exclude<Step['outcome'], 'refuse'>,
  saw: string,
  why: string,
  line: SourceLine,
): void {
  trace.steps.push({ stage, outcome, saw, why, line })
}

/** Makes a refusal and, when traced, the step that says so. */
export function refuseWith(
  trace: Trace | undefined,
  stage: Stage,
  reason: Reason,
  saw: string,
  line: SourceLine,
): Refusal {
  if (trace) trace.steps.push({ stage, outcome: 'refuse', saw, why: REASONS[reason].because, line })
  return { reason, stage, saw, line }
}

/** ` until 2026-12-31T00:00:00Z`, or nothing for an entry without an end. */
export function whileValid(entry: { readonly expiresMs: number | null }): string {
  return entry.expiresMs === null ? '' : `, until ${new Date(entry.expiresMs).toISOString()}`
}
