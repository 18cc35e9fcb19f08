// Trials: stages of which refusals are recorded and let pass for a while, so that a policy can be watched before it is enforced. Pure.
import { isForwardId } from './invitations.ts'
import { REASONS, type Reason } from './reasons.ts'
import type { SourceLine } from './source-line.ts'
import type { Standing } from './standing.ts'
import { note, refuseWith } from './trace.ts'
import type { Refusal, Stage, Trace } from './verdict.ts'

/** Stages that can be on trial. */
export const TRIAL_STAGES = ['country', 'tls', 'access'] as const satisfies readonly Stage[]

/** One of them. */
export type TrialStage = (typeof TRIAL_STAGES)[number]

/** A trial. From its end on its stages enforce, whatever anybody remembers to do. */
export type Trial = {
  readonly stages: ReadonlySet<TrialStage>
  /** Null: everywhere. */
  readonly sites: ReadonlySet<string> | null
  readonly listeners: ReadonlySet<string> | null
  /** Milliseconds since the epoch. */
  readonly expiresMs: number
  readonly at: SourceLine
}

/** A refusal that a trial keeps from acting. */
export type WouldBe = Refusal & { readonly trial: Trial }

/**
 * Everything that can be on trial. What is not listed refuses in every trial: bans, limits, keys, methods, names, framing,
 * ports that are internal, the gate's own paths, and rules, which have modes of their own.
 */
const STAGE_OF: Partial<Readonly<Record<Reason, TrialStage>>> = {
  'country-refused': 'country',
  'country-unknown': 'country',
  'network-refused': 'country',
  'geo-unavailable': 'country',
  'class-country': 'country',
  'tls-version-too-low': 'tls',
  'tls-version-class': 'tls',
  'class-closed': 'access',
  'class-source': 'access',
  'class-window': 'access',
}

/** Where a question is asked. `listener` null: nothing is on trial here, as on the gate's own paths. */
export type TrialPlace = {
  readonly standing: Pick<Standing, 'snapshot' | 'site'>
  readonly listener: string | null
  readonly nowMs: number
}

/** The trial that a stage is in; the one that lasts longest when there are several; null: the stage enforces. */
function trialOf({ standing, listener, nowMs }: TrialPlace, stage: TrialStage): Trial | null {
  const { trials } = standing.snapshot
  // Behind the port of an invitation stands one PC: who may come there is never a matter of trying.
  if (trials.length === 0 || listener === null || isForwardId(listener)) return null
  let found: Trial | null = null
  for (const trial of trials) {
    const { stages, sites, listeners, expiresMs } = trial
    if (!stages.has(stage) || nowMs >= expiresMs || expiresMs <= (found?.expiresMs ?? 0)) continue
    if (listeners !== null && !listeners.has(listener)) continue
    if (sites !== null && (standing.site === null || !sites.has(standing.site.id))) continue
    found = trial
  }
  return found
}

/** The trials that are not over. */
export function liveTrials(
  { trials }: Pick<Standing['snapshot'], 'trials'>,
  nowMs: number,
): readonly Trial[] {
  return trials.filter(trial => nowMs < trial.expiresMs)
}

/** Makes a refusal; where its reason is on trial, one that does not act. The trace says which. */
export function refuseUnlessTried(
  trace: Trace | undefined,
  place: TrialPlace,
  stage: Stage,
  reason: Reason,
  saw: string,
  line: SourceLine,
): Refusal | WouldBe {
  const tried = STAGE_OF[reason]
  const trial = tried === undefined ? null : trialOf(place, tried)
  if (trial === null) return refuseWith(trace, stage, reason, saw, line)
  if (trace) {
    const end = new Date(trial.expiresMs).toISOString()
    note(trace, stage, 'detect', saw, `${REASONS[reason].because}; the trial lets it pass until ${end}`, line)
  }
  return { reason, stage, saw, line, trial }
}

/** Whether a refusal does not act. */
export function isTried(refusal: Refusal): refusal is WouldBe {
  return 'trial' in refusal
}
