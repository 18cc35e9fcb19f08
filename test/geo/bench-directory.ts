// A geoip directory of its own for one test, a look-up over it, and a reporter that can be waited for.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { ExecutionContext } from 'ava'
import type { BundledFiles } from '../../src/geo/holder.ts'
import { createCountryLookup, type ManagedCountryLookup } from '../../src/geo/lookup.ts'
import type { EventFields, EventName, Reporter } from '../../src/journal/events.ts'
import { parseAddress } from '../../src/net/address.ts'
import type { GeoFacts } from '../../src/policy/facts.ts'

/** A reported event. */
export type Reported = {
  readonly [K in EventName]: { readonly name: K; readonly fields: EventFields[K] }
}[EventName]

/** A reporter that keeps what it is told. */
export type KeptReports = Reporter & {
  readonly all: Reported[]
  readonly of: <K extends EventName>(name: K) => EventFields[K][]
  /** Resolves with the first event of the name that fits, past or future. */
  readonly until: <K extends EventName>(
    name: K,
    fits?: (fields: EventFields[K]) => boolean,
  ) => Promise<EventFields[K]>
}

export function keptReports(): KeptReports {
  const all: Reported[] = []
  const waiting = new Set<() => void>()
  const of = <K extends EventName>(name: K): EventFields[K][] =>
    all.filter(event => event.name === name).map(event => event.fields as EventFields[K])
  return {
    all,
    of,
    report(name, fields) {
      all.push({ name, fields } as Reported)
      for (const check of waiting) check()
    },
    until(name, fits = () => true) {
      return new Promise(resolve => {
        // The watch keeps no process alive, and a test that waits for it may have nothing else to do.
        const alive = setInterval(() => undefined, 60_000)
        const check = (): void => {
          const found = of(name).find(fits)
          if (found === undefined) return
          clearInterval(alive)
          waiting.delete(check)
          resolve(found)
        }
        waiting.add(check)
        check()
      })
    },
  }
}

/** The day on which most tests play. */
export const NOW_MS = Date.UTC(2026, 6, 1)
export const DAY_MS = 86_400_000

export type Bench = {
  readonly directory: string
  readonly outside: string
  readonly reports: KeptReports
  readonly clock: { nowMs: number }
  readonly start: (bundled?: Partial<BundledFiles>) => Promise<ManagedCountryLookup>
}

/** Makes a bench; everything is removed after the test. */
export async function bench(t: ExecutionContext): Promise<Bench> {
  const outside = await mkdtemp(join(tmpdir(), 'portcullis-geo-'))
  const directory = join(outside, 'geoip')
  const reports = keptReports()
  const clock = { nowMs: NOW_MS }
  t.teardown(() => rm(outside, { recursive: true, force: true }))
  return {
    directory,
    outside,
    reports,
    clock,
    async start(bundled = {}) {
      const lookup = await createCountryLookup({
        directory,
        bundled: { first: null, second: null, ...bundled },
        reporter: reports,
        clock: () => clock.nowMs,
        watchTimes: { quietMs: 20, burstMs: 200, settleMs: 60 },
      })
      t.teardown(() => lookup.close())
      return lookup
    },
  }
}

/** Looks a textual address up. */
export function ask(lookup: ManagedCountryLookup, text: string): GeoFacts {
  const address = parseAddress(text)
  if (address === undefined) throw new Error(`not an address: ${text}`)
  return lookup.lookup(address)
}

/** The country of the first database. */
export function country(lookup: ManagedCountryLookup, text: string): string | null {
  return ask(lookup, text).country
}
