// Notes what only a trial lets pass: the first of a source, class and reason at once, what follows within an hour in one report.
import type { EventFields, Reporter } from '../journal/events.ts'
import type { TrafficClass } from '../policy/classes.ts'
import { formatSourceLine } from '../policy/source-line.ts'
import type { Standing } from '../policy/standing.ts'
import type { WouldBe } from '../policy/trial.ts'
import { countryWord } from '../policy/who.ts'

/** Sources, classes and reasons that are remembered; what is beyond is reported one by one, and limited there like every flood. */
const NOTED = 20_000
/** How long more of the same is gathered. */
const NOTE_MS = 3_600_000

/** Whom and what a note is about. */
export type Tried = {
  readonly standing: Standing
  readonly port: number
  readonly listener: string
  readonly class: TrafficClass | null
  /** Host or server name; empty: none was named. */
  readonly host: string
}

type Noted = {
  readonly fields: Omit<EventFields['trial.admitted'], 'count'>
  reportedMs: number
  count: number
}

/** Notes of one part of the edge. There is no timer: what is gathered is looked through when something new comes. */
export class TrialNotes {
  readonly #reporter: Reporter
  readonly #noted = new Map<string, Noted>()
  #sweptMs = 0

  constructor(reporter: Reporter) {
    this.#reporter = reporter
  }

  /** Notes that a trial let something pass. */
  note(wouldBe: WouldBe, tried: Tried, nowMs: number): void {
    if (nowMs - this.#sweptMs >= NOTE_MS / 60) this.#sweep(nowMs)
    const key = `${tried.standing.source.address.text} ${wouldBe.reason} ${tried.class ?? ''} ${tried.listener}`
    const known = this.#noted.get(key)
    if (known !== undefined) {
      known.count++
      return
    }
    const fields = fieldsOf(wouldBe, tried)
    if (this.#noted.size < NOTED) this.#noted.set(key, { fields, reportedMs: nowMs, count: 0 })
    this.#reporter.report('trial.admitted', { ...fields, count: 1 })
  }

  #sweep(nowMs: number): void {
    this.#sweptMs = nowMs
    for (const [key, noted] of this.#noted) {
      if (nowMs - noted.reportedMs < NOTE_MS) continue
      // Whoever goes on is reported once an hour; whoever stopped begins anew.
      if (noted.count === 0) this.#noted.delete(key)
      else this.#reporter.report('trial.admitted', { ...noted.fields, count: noted.count })
      noted.reportedMs = nowMs
      noted.count = 0
    }
  }
}

function fieldsOf(
  wouldBe: WouldBe,
  { standing, port, listener, class: trafficClass, host }: Tried,
): Noted['fields'] {
  const { reason, stage, saw, line, trial } = wouldBe
  return {
    address: standing.source.address.text,
    port,
    listener,
    site: standing.site?.id ?? null,
    country: countryWord(standing.country),
    class: trafficClass,
    host,
    wouldBe: reason,
    stage,
    saw,
    line: formatSourceLine(line),
    trial: formatSourceLine(trial.at),
    expiresMs: trial.expiresMs,
  }
}
