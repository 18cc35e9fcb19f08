// What the rest of the gate asks of the country databases.
import type { Address } from '../net/address.ts'
import type { GeoFacts } from '../policy/facts.ts'

/** State of one loaded database. */
export type DatabaseState = {
  readonly role: 'first' | 'second'
  readonly file: string
  /** `database_type` of the metadata. */
  readonly type: string
  readonly builtMs: number
  readonly loadedMs: number
  readonly nodeCount: number
}

/** Looks countries up. Synchronous and cached: safe on the hot path. */
export type CountryLookup = {
  readonly lookup: (address: Address) => GeoFacts
  readonly databases: () => readonly DatabaseState[]
}
