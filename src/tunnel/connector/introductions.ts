// Introduces a connector with `use: standby` to the gates that it does not need yet: what they would refuse is known before, and its name there is its own.
import { DialError, type GateAddress } from './dial.ts'
import type { ConnectorEvent } from './events.ts'
import { placeOf } from './gate-place.ts'

/** Times in milliseconds; each is stretched by up to its half again, so that a fleet does not come at once. */
export type IntroductionPace = {
  readonly firstMs: number
  readonly againMs: number
  /** After a gate that could not be reached, or said no. */
  readonly retryMs: number
}

/** Usual pace. */
export const INTRODUCTION_PACE: IntroductionPace = {
  firstMs: 20_000,
  againMs: 8 * 3_600_000,
  retryMs: 10 * 60_000,
}

/** What introductions need. */
export type IntroductionOptions = {
  readonly gates: readonly GateAddress[]
  /** Whether a gate is wanted now: it gets to know the connector by its attaching. */
  readonly isWanted: (gate: number) => boolean
  /** Attaches, and leaves as soon as the gate has said yes. @throws DialError */
  readonly knock: (gate: GateAddress, signal: AbortSignal) => Promise<void>
  /** 0 (included) to 1 (excluded). */
  readonly random: () => number
  readonly report: (event: ConnectorEvent) => void
  readonly pace: IntroductionPace
}

const KNOCK_MS = 10_000

/** Starts them. Returns the way to stop. */
export function startIntroductions(options: IntroductionOptions): () => void {
  const { gates, isWanted, knock, random, report, pace } = options
  const stop = new AbortController()
  const timers = new Map<number, NodeJS.Timeout>()
  /** What was said of each gate last; `ready`, or the code of the failure. */
  const said = new Map<number, string>()

  const later = (index: number, ms: number): void => {
    if (stop.signal.aborted) return
    const timer = setTimeout(() => void introduce(index), ms * (1 + random() / 2))
    timer.unref()
    timers.set(index, timer)
  }

  const say = (index: number, what: string, event: ConnectorEvent): void => {
    if (said.get(index) === what) return
    said.set(index, what)
    report(event)
  }

  const introduce = async (index: number): Promise<void> => {
    const address = gates[index]
    if (address === undefined) return
    if (isWanted(index)) {
      later(index, pace.retryMs)
      return
    }
    const gate = placeOf(address)
    try {
      await knock(address, AbortSignal.any([stop.signal, AbortSignal.timeout(KNOCK_MS)]))
      say(index, 'ready', { event: 'standby.ready', gate })
      later(index, pace.againMs)
    } catch (error) {
      if (stop.signal.aborted) return
      if (!(error instanceof DialError)) throw error
      const { kind, code, message, remedy, retryAfterMs } = error.failure
      say(index, code, { event: 'standby.unready', gate, kind, code, problem: message, remedy })
      later(index, Math.max(pace.retryMs, retryAfterMs ?? 0))
    }
  }

  for (const index of gates.keys()) later(index, pace.firstMs)
  return () => {
    stop.abort()
    for (const timer of timers.values()) clearTimeout(timer)
  }
}
