// Turns what the watch over senders found into events.
import type { Reporter } from '../../journal/events.ts'
import type { PresenceReport } from './presence.ts'

/** Reports one finding about the senders of a listener. */
export function reportPresence(
  reporter: Reporter,
  listener: string,
  everyMs: number,
  report: PresenceReport,
): void {
  if (report.kind === 'all') {
    const { gone, known, places, lastMs } = report
    reporter.report('heartbeat.all-gone', { listener, gone, known, places, everyMs, lastMs })
    return
  }
  const { site, address } = report.place ?? { site: null, address: null }
  const at = { listener, site, address }
  if (report.kind === 'place') {
    const { known, others, lastMs } = report
    reporter.report('heartbeat.site-gone', { ...at, known, others, everyMs, lastMs })
  } else if (report.kind === 'some') {
    const { gone, known, places, lastMs } = report
    reporter.report('heartbeat.senders-gone', { ...at, gone, known, places, everyMs, lastMs })
  } else {
    const { gone, known, sinceMs } = report
    reporter.report('heartbeat.back', { ...at, gone, known, sinceMs })
  }
}
