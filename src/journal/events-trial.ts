// Fields of the events about trials; catalogue/trial.ts says the rest of them.
import type { TrafficClass } from '../policy/classes.ts'
import type { Reason } from '../policy/reasons.ts'
import type { ClientFields, RefusalFields } from './events.ts'

/** Events of trials. */
export type TrialEventFields = {
  /** Something passed only because its stage is on trial. */
  'trial.admitted': ClientFields &
    Omit<RefusalFields, 'reference' | 'reason'> & {
      /** What enforcing would refuse it for. Not `reason`: whoever looks for refusals must not find it. */
      readonly wouldBe: Reason
      readonly class: TrafficClass | null
      /** Host or server name; empty: none was named. */
      readonly host: string
      /** `file:line:column` of the trial. */
      readonly trial: string
      readonly expiresMs: number
      /** Requests, streams or heartbeat reports; the first is reported at once, the others of an hour together. */
      readonly count: number
    }
  /** A trial is over: its stages enforce. */
  'trial.ended': {
    readonly stages: readonly string[]
    readonly line: string
    readonly expiresMs: number
  }
}
