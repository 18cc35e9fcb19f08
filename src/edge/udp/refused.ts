// What a heartbeat listener says of datagrams that it refused: each source at once, then together, and floods as a whole.
import type { EventFields, Reporter } from '../../journal/events.ts'
import type { DatagramFields } from '../../journal/events-heartbeat.ts'
import { formatSourceLine } from '../../policy/source-line.ts'
import type { Refusal } from '../../policy/verdict.ts'
import { RefusalTally } from './refusal-tally.ts'

type RefusedFields = Omit<EventFields['heartbeat.refused'], 'count'>

const FLOOD_EVERY_MS = 60_000

/** Refusals of one listener. */
export class RefusedHeartbeats {
  readonly #reporter: Reporter
  readonly #tally = new RefusalTally<RefusedFields>()
  #tooManyNew = 0
  #tooManyNewMs = -Infinity

  constructor(reporter: Reporter) {
    this.#reporter = reporter
  }

  /** Notes one datagram. */
  note(client: DatagramFields, { reason, stage, saw, line }: Refusal): void {
    if (reason === 'flow-rate-total') {
      this.#tooManyNew++
      // Forged addresses hardly come twice: a report for each would be a flood of its own.
      if (this.#tally.isFull) return
    }
    const fields = (): RefusedFields => ({ ...client, reason, stage, saw, line: formatSourceLine(line) })
    if (this.#tally.note(`${client.address} ${reason}`, fields))
      this.#reporter.report('heartbeat.refused', { ...fields(), count: 1 })
  }

  /** To be called about once a second. */
  report(nowMs: number, listener: { readonly id: string; readonly newFlows: number }, flows: number): void {
    this.#reportTally(nowMs, false)
    if (this.#tooManyNew === 0 || nowMs - this.#tooManyNewMs < FLOOD_EVERY_MS) return
    const { id, newFlows } = listener
    this.#reporter.report('heartbeat.flood', { listener: id, datagrams: this.#tooManyNew, newFlows, flows })
    this.#tooManyNew = 0
    this.#tooManyNewMs = nowMs
  }

  /** Reports what has not been reported yet: the listener closes. */
  flush(nowMs: number): void {
    this.#reportTally(nowMs, true)
  }

  #reportTally(nowMs: number, now: boolean): void {
    for (const { fields, count } of this.#tally.take(nowMs, now))
      this.#reporter.report('heartbeat.refused', { ...fields, count })
  }
}
