// Whether the check-ins of an address have stopped, measured by how often agents of its product come. Pure.
import { checkInEvery, goneAfter, punctuality, slowestCheckIn, type Punctuality } from '../policy/check-in.ts'
import { AGENT_CLASSES } from '../policy/classes.ts'
import type { Evidence, Proof } from './finding.ts'

/** Without a known interval, so long a silence means something: agents check in every few minutes. */
const SILENT_MS = 2 * 3_600_000
const HOUR_MS = 3_600_000

/** How often the agents of the address check in; null: nobody knows, or none has. */
function everyMs({ activity, explanation }: Evidence): number | null {
  // Only what asks for work has a rhythm: updates and files come when they come.
  const hosts = activity?.classes.find(entry => entry.class === 'agent')?.hosts ?? []
  return checkInEvery(explanation.standing.snapshot, hosts)
}

/** Whether agents that were heard last at a time are silent for longer than they should be. */
export function isSilent(evidence: Evidence, lastMs: number): boolean {
  const { nowMs, gateStartedMs = 0, open } = evidence
  const every = everyMs(evidence)
  if (every === null) return nowMs - lastMs > SILENT_MS
  const goneMs = goneAfter(every)
  if (nowMs - lastMs > Math.max(SILENT_MS, goneMs)) return true
  // A request that is under way is told of when it ends, and nobody comes to a gate that does not run.
  const heardMs = Math.max(lastMs, lastArrival(evidence), gateStartedMs)
  return (open?.count ?? 0) === 0 && nowMs - heardMs > goneMs
}

/** Whether they are later than usual and not gone; null: on time, gone, or nobody knows how often they come. */
export function lateness(evidence: Evidence): { readonly silentMs: number; readonly everyMs: number } | null {
  const every = everyMs(evidence)
  const lastMs = lastArrival(evidence)
  const { nowMs, gateStartedMs, open } = evidence
  if (every === null || lastMs === 0 || gateStartedMs === undefined || (open?.count ?? 0) > 0) return null
  const punctual: Punctuality = punctuality(nowMs - Math.max(lastMs, gateStartedMs), every)
  return punctual === 'late' ? { silentMs: nowMs - lastMs, everyMs: every } : null
}

/** The newest request of an agent class, however it ended; 0: none. */
function lastArrival({ activity }: Evidence): number {
  const agents = (activity?.classes ?? []).filter(
    entry => AGENT_CLASSES.includes(entry.class) && entry.class !== 'heartbeat',
  )
  return agents.reduce((last, entry) => Math.max(last, entry.lastMs), 0)
}

/** The span in which others must have come: a whole site has had its turn in it. At most an hour. */
export function othersSpan({ explanation }: Evidence): number {
  const slowest = slowestCheckIn(explanation.standing.snapshot)
  return slowest === null ? HOUR_MS : Math.min(HOUR_MS, goneAfter(slowest))
}

/** What the silence is measured by; null: nobody knows how often they come. */
export function intervalProof(evidence: Evidence): Proof | null {
  const every = everyMs(evidence)
  if (every === null) return null
  const gone = spanWords(goneAfter(every))
  return { atMs: null, text: `its agents check in every ${spanWords(every)}: gone after ${gone} without` }
}

/** `45 seconds`, `15 minutes`, `3 hours`: rounded down to the largest unit that is at least two. */
export function spanWords(spanMs: number): string {
  const seconds = Math.floor(spanMs / 1_000)
  if (seconds < 120) return `${seconds} second${seconds === 1 ? '' : 's'}`
  if (seconds < 7_200) return `${Math.floor(seconds / 60)} minutes`
  return `${Math.floor(seconds / 3_600)} hours`
}
