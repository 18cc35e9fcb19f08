// What raw TCP streams are open: per listener, source, site and class; the limits of the policy are asked with these numbers.
import type { Address } from '../../net/address.ts'
import type { TrafficClass } from '../../policy/classes.ts'
import type { StreamCounts } from '../../policy/decide-stream.ts'
import { sourceKey, type Admission } from '../accept.ts'

/** Bytes and streams of a listener since it opened. */
export type StreamTotals = {
  open: number
  opened: number
  refused: number
  bytesIn: number
  bytesOut: number
}

/** Counts, all zero at first. What nothing is open of takes no memory. */
export class StreamCounters {
  readonly #admission: Admission
  readonly #numbers = new Map<string, number>()
  readonly #totals = new Map<string, StreamTotals>()

  constructor(admission: Admission) {
    this.#admission = admission
  }

  /** The numbers for the accept decision. */
  of(listener: string, address: Address): StreamCounts {
    return {
      gateFromSource: this.#admission.openFrom(address),
      gateTotal: this.#admission.open(),
      total: this.#get(`listener ${listener}`),
      fromSource: this.#get(`source ${listener} ${sourceKey(address)}`),
      fromSite: site => this.#get(`site ${listener} ${site}`),
    }
  }

  /** An admitted stream begins. Returns what ends its counting, to be called once. */
  enter(listener: string, address: Address, site: string | null): () => void {
    const keys = [
      `listener ${listener}`,
      `source ${listener} ${sourceKey(address)}`,
      ...(site === null ? [] : [`site ${listener} ${site}`]),
    ]
    this.#admission.enter(address)
    for (const key of keys) this.#add(key, 1)
    return () => {
      this.#admission.leave(address)
      for (const key of keys) this.#add(key, -1)
    }
  }

  /** Streams of a class that a source has open on any listener. */
  ofClass(trafficClass: TrafficClass, address: Address): number {
    return this.#get(`class ${trafficClass} ${sourceKey(address)}`)
  }

  /** A stream of a class begins. Returns what ends its counting, to be called once. */
  enterClass(trafficClass: TrafficClass, address: Address): () => void {
    const key = `class ${trafficClass} ${sourceKey(address)}`
    this.#add(key, 1)
    return () => this.#add(key, -1)
  }

  /** The running totals of a listener. */
  totals(listener: string): StreamTotals {
    let totals = this.#totals.get(listener)
    if (totals === undefined) {
      totals = { open: 0, opened: 0, refused: 0, bytesIn: 0, bytesOut: 0 }
      this.#totals.set(listener, totals)
    }
    return totals
  }

  /** Numbers that are kept; zero when nothing is open. */
  get size(): number {
    return this.#numbers.size
  }

  #get(key: string): number {
    return this.#numbers.get(key) ?? 0
  }

  #add(key: string, by: number): void {
    const count = this.#get(key) + by
    if (count > 0) this.#numbers.set(key, count)
    else this.#numbers.delete(key)
  }
}
