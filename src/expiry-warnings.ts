// Warns, once a day each, of allows, exceptions and trials that end soon, and tells the end of a trial: nobody should be surprised by a date.
import type { CurrentPolicy } from './edge/connection.ts'
import type { Reporter } from './journal/events.ts'
import { expiringEntries } from './policy/expiring.ts'
import { formatSourceLine } from './policy/source-line.ts'

const DAY_MS = 86_400_000
const WARN_BEFORE_MS = 14 * DAY_MS
const LOOK_MS = 60_000

/** Starts to look every minute, or when `every` says; `stop` ends it. */
export function startExpiryWarnings(
  current: CurrentPolicy,
  reporter: Reporter,
  clock: () => number,
  every: (ms: number, look: () => void) => () => void = everyUnheld,
): { readonly stop: () => void } {
  let warned = new Map<string, number>()
  let lookedMs = clock()
  const look = (): void => {
    const nowMs = clock()
    const { snapshot, overlay } = current()
    for (const { stages, expiresMs, at } of snapshot.trials) {
      // What was over when the gate started, or when the policy was loaded, is a warning of the policy.
      if (expiresMs <= lookedMs || expiresMs > nowMs) continue
      reporter.report('trial.ended', { stages: [...stages], line: formatSourceLine(at), expiresMs })
    }
    lookedMs = nowMs
    const stillThere = new Map<string, number>()
    for (const { what, at, expiresMs } of expiringEntries(snapshot, overlay, nowMs)) {
      if (expiresMs - nowMs > WARN_BEFORE_MS) continue
      const line = formatSourceLine(at)
      const key = `${line} ${what}`
      const lastMs = warned.get(key) ?? -Infinity
      if (nowMs - lastMs < DAY_MS) {
        stillThere.set(key, lastMs)
        continue
      }
      stillThere.set(key, nowMs)
      const daysLeft = Math.floor((expiresMs - nowMs) / DAY_MS)
      reporter.report('exception.expiring', { what, line, expiresMs, daysLeft })
    }
    warned = stillThere
  }
  const stop = every(LOOK_MS, look)
  look()
  return { stop }
}

function everyUnheld(ms: number, look: () => void): () => void {
  const timer = setInterval(look, ms)
  timer.unref()
  return () => clearInterval(timer)
}
