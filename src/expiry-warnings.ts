// Warns, once a day each, of allows and exceptions that end soon: nobody should be surprised by a date.
import type { CurrentPolicy } from './edge/connection.ts'
import type { Reporter } from './journal/events.ts'
import { expiringEntries } from './policy/expiring.ts'
import { formatSourceLine } from './policy/source-line.ts'

const DAY_MS = 86_400_000
const WARN_BEFORE_MS = 14 * DAY_MS
const LOOK_MS = 60_000

/** Starts to look every minute; `stop` ends it. */
export function startExpiryWarnings(
  current: CurrentPolicy,
  reporter: Reporter,
  clock: () => number,
): { readonly stop: () => void } {
  let warned = new Map<string, number>()
  const look = (): void => {
    const nowMs = clock()
    const { snapshot, overlay } = current()
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
  const timer = setInterval(look, LOOK_MS)
  timer.unref()
  look()
  return { stop: () => clearInterval(timer) }
}
