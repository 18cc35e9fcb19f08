// Where every adapter reports: counts, adds to the ledger, and records what the policy wants recorded. Never throws, never blocks.
import type { RuleHit } from '../ips/rule-set.ts'
import type { JournalPolicy } from '../policy/snapshot.ts'
import { CATALOGUE, sentenceOf, severityOf } from './catalogue.ts'
import type { EventFields, EventName, Reporter, Severity } from './events.ts'
import { createFloodLimiter, FLOOD_LIMITS, type FloodLimits } from './flood-limit.ts'
import type { Ledger } from './ledger.ts'
import type { LineSink } from './line-sink.ts'
import { createLog } from './log.ts'
import type { Metrics } from './metrics.ts'
import { redactFields } from './redact.ts'
import type { Store } from './store.ts'

/** What a reporter needs. */
export type ReporterOptions = {
  readonly journalPolicy: JournalPolicy
  /** Where lines go that are not for files; see createLineSink and descriptorWriter(1). */
  readonly logDestination: LineSink
  readonly metrics: Pick<Metrics, 'count' | 'countJournalError'>
  /** Null: nothing is stored. */
  readonly store: Pick<Store, 'add' | 'listen' | 'setRetention'> | null
  readonly ledger: Pick<Ledger, 'record'> | null
  readonly clock: () => number
  readonly floodLimits?: FloodLimits
  /** Time between reports of lost lines; 10,000 unless told. */
  readonly dropReportMs?: number
}

/** A reporter with its lifetime. */
export type JournalReporter = Reporter & {
  /** Takes a new journal policy, at reload. */
  readonly reconfigure: (policy: JournalPolicy) => void
  /** Resolves when every line reported so far is written or lost. */
  readonly flush: () => Promise<void>
  /** Reports lost lines, flushes and closes the log. The store is closed by its owner, after this. */
  readonly close: () => Promise<void>
}

/** Makes the reporter. */
export function createReporter(options: ReporterOptions): JournalReporter {
  const { clock, metrics, store, ledger } = options
  let policy = options.journalPolicy
  const log = createLog({ policy, standard: options.logDestination, clock })
  const mayRecord = createFloodLimiter(options.floodLimits ?? FLOOD_LIMITS)
  let limited = 0

  const record = <K extends EventName>(name: K, fields: EventFields[K], nowMs: number): void => {
    const definition = CATALOGUE[name]
    const severity = severityOf(name, fields)
    const logged = isLogged(policy.requests, name, severity, fields)
    const stored = definition.stored || (name === 'request.closed' && isAnsweredByGate(fields as Closed))
    if (!logged && !stored) return
    if (definition.fromClients && !mayRecord(name, addressOf(fields) ?? '', nowMs)) {
      limited++
      return
    }
    const safe = redactFields(fields)
    if (logged) log.write(name, severity, safe, sentenceOf(name, safe as EventFields[K]), nowMs)
    if (stored && store !== null) {
      store.add({
        timeMs: nowMs,
        name,
        severity,
        address: addressOf(safe),
        site: textOf(safe, 'site'),
        class: textOf(safe, 'class'),
        reason: textOf(safe, 'reason'),
        reference: textOf(safe, 'reference'),
        country: textOf(safe, 'country'),
        rules: rulesOf(fields),
        fields: JSON.stringify(safe),
      })
    }
  }

  const report: Reporter['report'] = (name, fields) => {
    try {
      const nowMs = clock()
      metrics.count(name, fields)
      ledger?.record(name, fields, nowMs)
      // The hottest event of all: most deployments log no line for it, and few are stored.
      if (name === 'request.closed' && !isRecorded(policy.requests, fields as Closed)) return
      record(name, fields, nowMs)
    } catch {
      // Reporting must never be what breaks a connection; the count shows that there is a defect.
      metrics.countJournalError()
    }
  }

  const reportDropped = (): void => {
    const { lines, why } = log.takeDropped()
    if (lines > 0) report('journal.dropped', { rows: lines, why })
    if (limited > 0) {
      const rows = limited
      limited = 0
      report('journal.dropped', {
        rows,
        why: 'clients caused more events than are recorded one by one; metrics and ledger counted them all',
      })
    }
  }
  const timer = setInterval(reportDropped, options.dropReportMs ?? 10_000)
  timer.unref()
  store?.listen(report)

  return {
    report,
    reconfigure: next => {
      policy = next
      log.reconfigure(next)
      store?.setRetention(next)
    },
    flush: () => log.flush(),
    close: async () => {
      clearInterval(timer)
      reportDropped()
      await log.close()
    },
  }
}

function isLogged<K extends EventName>(
  requests: JournalPolicy['requests'],
  name: K,
  severity: Severity,
  fields: EventFields[K],
): boolean {
  if (name === 'request.closed') return wantsClosed(requests, fields as Closed)
  if (name === 'request.refused') return requests !== 'none'
  return severity !== 'debug'
}

type Closed = EventFields['request.closed']

function isRecorded(requests: JournalPolicy['requests'], fields: Closed): boolean {
  return wantsClosed(requests, fields) || isAnsweredByGate(fields)
}

function wantsClosed(requests: JournalPolicy['requests'], fields: Closed): boolean {
  if (requests === 'all') return true
  if (requests === 'none') return false
  return fields.ending === 'refused' || fields.ending === 'limit' || isAnsweredByGate(fields)
}

/** The upstream failed and the gate answered in its place: the client has a reference, which must lead somewhere. */
function isAnsweredByGate(fields: Closed): boolean {
  return typeof fields.reference === 'string'
}

function rulesOf(fields: object): readonly string[] {
  const { hit, hits } = fields as { readonly hit?: RuleHit; readonly hits?: readonly RuleHit[] }
  if (hit !== undefined) return [hit.ruleId]
  return hits === undefined ? [] : hits.map(entry => entry.ruleId)
}

function addressOf(fields: object): string | null {
  return textOf(fields, 'address') ?? textOf(fields, 'publicAddress')
}

function textOf(fields: object, key: string): string | null {
  const value: unknown = (fields as Readonly<Record<string, unknown>>)[key]
  return typeof value === 'string' ? value : null
}
