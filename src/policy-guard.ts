// Watches the fleet after a change of policy and puts the old one back by itself when agents stop coming.
import type { EventFields, EventName, Reporter } from './journal/events.ts'
import { createCheckIns } from './plan/check-ins.ts'
import { judgeGuard, type GuardBaseline } from './plan/guard.ts'
import type { PolicyVersion } from './plan/history.ts'

/** How long a change is watched. */
export type GuardPlan = { readonly windowMs: number; readonly windows: number }

/** What the guard says of itself. */
export type GuardState = {
  readonly version: number
  readonly previous: number
  readonly untilMs: number
  readonly knownSources: number
  readonly usual: number | null
}

/** The guard of a running gate. */
export type PolicyGuard = {
  /** Hears every event. */
  readonly record: <K extends EventName>(name: K, fields: EventFields[K], nowMs: number) => void
  /**
   * Starts watching a change. While an earlier one is still being watched, the way back stays the policy before that one:
   * what lies between was never proven.
   */
  readonly watch: (plan: GuardPlan, version: PolicyVersion, previous: PolicyVersion) => void
  /** Somebody changed the policy again, without a guard: what was watched is no longer what is in force. */
  readonly release: () => void
  /** Null: nothing is watched. */
  readonly state: () => GuardState | null
  readonly stop: () => void
}

const HOUR_MS = 3_600_000
const LOOK_MS = 1_000

type Watching = {
  readonly baseline: GuardBaseline
  readonly version: PolicyVersion
  readonly previous: PolicyVersion
}

/** Makes the guard. `rollBack` puts a version in force again. */
export function createPolicyGuard(
  reporter: Reporter,
  clock: () => number,
  rollBack: (to: PolicyVersion, why: string) => Promise<void>,
): PolicyGuard {
  const checkIns = createCheckIns(clock())
  let watching: Watching | null = null

  const look = (): void => {
    if (watching === null) return
    const { baseline, version, previous } = watching
    const { startedMs } = baseline
    const back = checkIns.seen(startedMs, Infinity)
    const refused = new Set([...checkIns.refused(startedMs)].filter(address => !back.has(address)))
    const verdict = judgeGuard(baseline, {
      nowMs: clock(),
      seen: (fromMs, toMs) => checkIns.seen(fromMs, toMs).size,
      refused,
      shutOut: checkIns.shutOut(startedMs),
    })
    if (verdict.kind === 'watch') return
    watching = null
    if (verdict.kind === 'keep') {
      reporter.report('policy.kept', { version: version.number, sources: back.size })
      return
    }
    const { why } = verdict
    reporter.report('policy.rolled-back', {
      version: version.number,
      to: previous.number,
      why,
      who: 'the guard',
    })
    void rollBack(previous, why)
  }
  const timer = setInterval(look, LOOK_MS)
  timer.unref()

  return {
    record: checkIns.record,
    watch: ({ windowMs, windows }, version, previous) => {
      const before = watching
      const nowMs = clock()
      const seen = checkIns.seen(nowMs - HOUR_MS, nowMs)
      // What checked in before the earlier change counts: that one may be what cut it off.
      const known = before === null ? seen : new Set([...seen, ...before.baseline.known])
      // Somebody went back by hand. Agents that the change between cut off may be slow to return: only refusals count.
      const isWayBack = before?.previous.id === version.id
      const usual = before?.baseline.windowMs === windowMs ? before.baseline.usual : usualOf(nowMs, windowMs)
      watching = {
        version,
        previous: before === null || isWayBack ? previous : before.previous,
        baseline: { startedMs: nowMs, windowMs, windows, known, usual: isWayBack ? null : usual },
      }
      checkIns.mark(nowMs)
    },
    release: () => {
      watching = null
    },
    state: () =>
      watching === null
        ? null
        : {
            version: watching.version.number,
            previous: watching.previous.number,
            untilMs: watching.baseline.startedMs + watching.baseline.windowMs * watching.baseline.windows,
            knownSources: watching.baseline.known.size,
            usual: watching.baseline.usual,
          },
    stop: () => clearInterval(timer),
  }

  function usualOf(nowMs: number, windowMs: number): number | null {
    let least: number | null = null
    for (
      let toMs = nowMs;
      toMs - windowMs >= Math.max(checkIns.sinceMs(), nowMs - HOUR_MS);
      toMs -= windowMs
    ) {
      const { size } = checkIns.seen(toMs - windowMs, toMs)
      least = least === null ? size : Math.min(least, size)
    }
    return least
  }
}
