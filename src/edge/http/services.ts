// What HTTP connections share: the dependencies given in by the composition root, and per-gate state.
import type { Forwarder } from '../../forward/forwarder.ts'
import { TurnEnd } from '../../forward/turn-end.ts'
import type { UpstreamSelection } from '../../forward/upstream-selection.ts'
import type { Reporter } from '../../journal/events.ts'
import type { Address } from '../../net/address.ts'
import { CLASSES, type TrafficClass } from '../../policy/classes.ts'
import type { Digest } from '../../policy/decide-request.ts'
import type { GeoFacts } from '../../policy/facts.ts'
import type { CurrentPolicy } from '../connection.ts'
import { TrialNotes } from '../trial-notes.ts'
import { HeldMemory } from './held-memory.ts'
import { Deadlines, type HttpClock } from './deadlines.ts'
import type { OwnService } from './own-service.ts'
import { GateRates } from './request-rates.ts'

/** What the composition root gives the HTTP edge. */
export type HttpDependencies = {
  readonly current: CurrentPolicy
  readonly forwarder: Forwarder
  readonly selection: UpstreamSelection
  readonly reporter: Reporter
  /** Looks the country of a live connection up again when the policy changes; absent: the facts of accept stay. */
  readonly lookup?: (address: Address) => GeoFacts
  /** Makes a reference that a client can quote. */
  readonly newReference: () => string
  readonly sha256Hex: Digest
  readonly clock: HttpClock
  /** Answers below the gate's own prefix; absent: nothing is there. */
  readonly own?: OwnService
}

/** Dependencies plus what all connections of a handler share. */
export type HttpServices = HttpDependencies & {
  readonly deadlines: Deadlines
  readonly sources: Sources
  readonly rates: GateRates
  readonly turnEnd: TurnEnd
  readonly held: HeldMemory
  readonly trials: TrialNotes
}

/** Builds the shared part. */
export function httpServices(dependencies: HttpDependencies): HttpServices {
  return {
    ...dependencies,
    deadlines: new Deadlines(dependencies.clock),
    sources: new Sources(),
    rates: new GateRates(),
    turnEnd: new TurnEnd(),
    held: new HeldMemory(),
    trials: new TrialNotes(dependencies.reporter),
  }
}

/** Open requests of one source address by class. */
export type SourceUse = { readonly address: string; connections: number; readonly open: number[] }

const CLASS_INDEX: Readonly<Record<string, number>> = Object.fromEntries(
  CLASSES.map((name, index) => [name, index]),
)

/** Counts what each source address has open; an address without connections takes no memory. */
class Sources {
  readonly #byAddress = new Map<string, SourceUse>()

  get size(): number {
    return this.#byAddress.size
  }

  /** Called when a connection begins; `leave` must follow when it ends. */
  enter(address: string): SourceUse {
    let use = this.#byAddress.get(address)
    if (use === undefined) {
      use = { address, connections: 0, open: CLASSES.map(() => 0) }
      this.#byAddress.set(address, use)
    }
    use.connections++
    return use
  }

  leave(use: SourceUse): void {
    if (--use.connections === 0) this.#byAddress.delete(use.address)
  }

  /** Counts a request that begins. Returns false, and counts nothing, when `max` are open already; 0: no limit. */
  begin(use: SourceUse, trafficClass: TrafficClass, max: number): boolean {
    const index = CLASS_INDEX[trafficClass] ?? 0
    const open = use.open[index] ?? 0
    if (max > 0 && open >= max) return false
    use.open[index] = open + 1
    return true
  }

  /** Counts a request that ended. */
  done(use: SourceUse, trafficClass: TrafficClass): void {
    const index = CLASS_INDEX[trafficClass] ?? 0
    use.open[index] = (use.open[index] ?? 1) - 1
  }
}
