// The journal, put together: metrics, ledger, store and the reporter that feeds them. Everything else reports to it.
import { createLatencyTally } from './journal/latency.ts'
import { createLedger, type Ledger } from './journal/ledger.ts'
import type { EventFields, EventName } from './journal/events.ts'
import type { LineSink } from './journal/line-sink.ts'
import { createMetrics, type Metrics } from './journal/metrics.ts'
import { createReporter, type JournalReporter } from './journal/reporter.ts'
import { openStore, type Store } from './journal/store.ts'
import { storeFile } from './journal/store-file.ts'
import { createTrafficTally } from './journal/traffic-tally.ts'
import { isForwardId } from './policy/invitations.ts'
import type { JournalPolicy } from './policy/snapshot.ts'

/** What the journal needs from outside. */
export type JournalPartsOptions = {
  readonly stateDir: string
  readonly policy: JournalPolicy
  readonly clock: () => number
  readonly standardLines: LineSink
  /** Bans or allows of operators have ended by themselves. */
  readonly onEntriesEnded: () => void
  /** Everything that goes into the ledger is shown here, too. */
  readonly onRecorded: <K extends EventName>(name: K, fields: EventFields[K], nowMs: number) => void
}

/** The journal's parts. */
export type JournalParts = {
  readonly metrics: Metrics
  readonly ledger: Ledger
  readonly store: Store
  readonly reporter: JournalReporter
  /** Reports a bug together with the place where it was met. */
  readonly internalError: (where: string, cause: unknown) => void
}

const OF_STREAMS: ReadonlySet<EventName> = new Set([
  'stream.opened',
  'stream.counted',
  'stream.closed',
  'heartbeat.counted',
])

/**
 * What came through a forward for an invitation is no agent: in the ledger it would look like one that every later policy
 * loses, and the guard would take the change back. Refusals are kept, so that a diagnosis can explain them.
 */
function isOfForward(name: EventName, fields: object): boolean {
  return OF_STREAMS.has(name) && 'listener' in fields && isForwardId(String(fields.listener))
}

/** Opens the store and puts the journal together. */
export async function createJournalParts(options: JournalPartsOptions): Promise<JournalParts> {
  const { clock } = options
  const metrics = createMetrics({ clock })
  const ledger = createLedger()
  const tally = createTrafficTally()
  const latency = createLatencyTally()
  const store = await openStore({
    file: storeFile(options.stateDir),
    retention: options.policy,
    clock,
    ledger,
    tally: {
      state: tally.state,
      drain: () => {
        const sums = latency.drain()
        const batch = tally.drain()
        return sums === null ? batch : { ...(batch ?? { traffic: [], rules: [] }), latency: sums }
      },
    },
    onExpired: options.onEntriesEnded,
  })
  const reporter = createReporter({
    journalPolicy: options.policy,
    logDestination: options.standardLines,
    metrics,
    store,
    ledger: {
      ...ledger,
      record: (name, fields, nowMs) => {
        if (isOfForward(name, fields)) return
        ledger.record(name, fields, nowMs)
        tally.record(name, fields, nowMs)
        latency.record(name, fields, nowMs)
        options.onRecorded(name, fields, nowMs)
      },
    },
    clock,
  })
  return {
    metrics,
    ledger,
    store,
    reporter,
    internalError: (where, cause) =>
      reporter.report('gate.internal-error', {
        where,
        problem: cause instanceof Error ? cause.message : String(cause),
        stack: cause instanceof Error ? (cause.stack ?? '') : '',
      }),
  }
}
