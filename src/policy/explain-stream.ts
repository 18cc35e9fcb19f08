// Answers "what would this source get of raw TCP here, and which line decides?" by asking the decisions of live streams.
import { decideStreamAccept, decideStreamService, NOTHING_OPEN } from './decide-stream.ts'
import type { SourceFacts } from './facts.ts'
import type { Overlay, Snapshot } from './snapshot.ts'
import type { StreamListener, StreamService } from './streams.ts'
import type { WouldBe } from './trial.ts'
import type { Refusal, Step, Trace } from './verdict.ts'

/** What a source gets of one service. */
export type ExplainedService = {
  readonly service: StreamService
  readonly refusal: Refusal | null
  /** What enforcing would refuse it for; null: nothing that is on trial. */
  readonly wouldBe: WouldBe | null
  readonly steps: readonly Step[]
}

/** What a source gets of a stream listener. */
export type ExplainedStream = {
  readonly listener: StreamListener
  /** Refused before any service is asked; null: it is not. */
  readonly refusal: Refusal | null
  readonly steps: readonly Step[]
  /** Empty when it is refused before. */
  readonly services: readonly ExplainedService[]
}

/** Explains a stream listener. Limits are taken as not reached, and every port as one that is not internal. */
export function explainStream(
  snapshot: Snapshot,
  overlay: Overlay,
  source: SourceFacts,
  listener: StreamListener,
  nowMs: number,
  port: number | null = null,
): ExplainedStream {
  const trace: Trace = { steps: [] }
  const facts = { source, listener, port, open: NOTHING_OPEN, nowMs }
  const verdict = decideStreamAccept(snapshot, overlay, facts, trace)
  if (!verdict.allow) return { listener, refusal: verdict.refusal, steps: trace.steps, services: [] }
  const { standing } = verdict
  return {
    listener,
    refusal: null,
    steps: trace.steps,
    services: listener.services
      .filter(({ action }) => action.kind === 'forward')
      .map(service => {
        const own: Trace = { steps: [] }
        const question = { service, listener: listener.id, openOfClass: 0, tlsVersion: null, nowMs }
        const access = decideStreamService(standing, question, own)
        const { refusal } = access
        return { service, refusal, wouldBe: verdict.wouldBe ?? access.wouldBe, steps: own.steps }
      }),
  }
}
