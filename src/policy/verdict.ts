// Verdicts and the steps that explain them.
import type { Reason } from './reasons.ts'
import type { SourceLine } from './source-line.ts'

/** Stages of a decision, in the order in which they are asked. */
const STAGES = [
  'allow',
  'ban',
  'limits',
  'site',
  'country',
  'name',
  'tls',
  'upstream',
  'host',
  'class',
  'access',
  'rules',
] as const

/** One question of a decision. */
export type Stage = (typeof STAGES)[number]

/**
 * What one stage saw and decided. `pass` ends nothing; `refuse` ends the decision; `detect` would, were it not for a trial;
 * `note` is information only.
 */
export type Step = {
  readonly stage: Stage
  readonly outcome: 'pass' | 'refuse' | 'detect' | 'note'
  /** What was looked at, for example `country DE` or `offered TLSv1, TLSv1.1`. */
  readonly saw: string
  /** Why it came out so, for a person. */
  readonly why: string
  /** The line that decided. */
  readonly line: SourceLine
}

/** Collects steps. Live traffic passes none and pays nothing; a refusal asks again with one (decisions are pure). */
export type Trace = { readonly steps: Step[] }

/** A refusal: why, by which line, and the words for a person. */
export type Refusal = {
  readonly reason: Reason
  readonly stage: Stage
  /** What was seen, completing the sentence of the reason, for example `DE` or `TLSv1`. */
  readonly saw: string
  readonly line: SourceLine
}
