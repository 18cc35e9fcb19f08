// The country look-up of the gate: two databases, one cache, swaps without a pause, and reports about age and disagreement.
import { mkdirSync } from 'node:fs'
import { resolve } from 'node:path'
import { LRUCache } from 'lru-cache'
import type { Reporter } from '../journal/events.ts'
import { addressScope, type Address, type AddressScope } from '../net/address.ts'
import type { GeoFacts } from '../policy/facts.ts'
import type { CountryLookup } from './country-lookup.ts'
import type { Database } from './database-file.ts'
import { createHolder, type BundledFiles, type DroppedFile } from './holder.ts'
import { WATCH_TIMES, watchDirectory, type WatchTimes } from './watch.ts'

/** Age from which a database is reported as stale: makers publish at least monthly, plus two weeks of grace. */
const STALE_DAYS = 45
const DAY_MS = 86_400_000
/** Answers kept: one address and a shared value each, about 10 MB when full. */
const ANSWERS_CACHED = 65_536
/** Addresses remembered as reported, so that one that two databases disagree on is reported once a day. */
const DISAGREEMENTS_REMEMBERED = 8_192
/** Disagreements reported in any minute; bundled databases disagree on several percent of the internet. */
const DISAGREEMENTS_PER_MINUTE = 30
const AGE_CHECK_MS = 3_600_000

/** What the composition root gives. */
export type CountryLookupOptions = {
  /** Directory where databases are dropped. Created when it is missing. */
  readonly directory: string
  readonly bundled: BundledFiles
  readonly reporter: Reporter
  /** Milliseconds since the epoch. */
  readonly clock: () => number
  readonly watchTimes?: WatchTimes
  readonly staleDays?: number
}

/** The look-up with its life cycle. */
export type ManagedCountryLookup = CountryLookup & {
  /** The files that lie in the directory, used or not, as they were at the last look; for status and diagnosis. */
  readonly files: () => readonly DroppedFile[]
  /** Looks at the directory now (SIGHUP, command) and reports every problem again. Resolves when it is done; never rejects. */
  readonly reload: () => Promise<void>
  /** Stops watching; look-ups go on working. */
  readonly close: () => void
}

/**
 * Loads the databases and starts watching the directory. Never rejects: with nothing loaded, answers say `available: false`.
 * A new database is read, checked and only then swapped in; live look-ups use the old one until then.
 */
export async function createCountryLookup(options: CountryLookupOptions): Promise<ManagedCountryLookup> {
  const { reporter, clock } = options
  const directory = resolve(options.directory)
  const staleDays = options.staleDays ?? STALE_DAYS
  const answers = new LRUCache<string, GeoFacts>({ max: ANSWERS_CACHED })
  const reportDisagreement = limitedDisagreements(reporter, clock)
  const damaged = new WeakSet<Database>()
  /** One shared value per pair of countries, so that the cache holds references only. */
  let pairs = new Map<string, GeoFacts>()
  const holder = createHolder({
    directory,
    bundled: options.bundled,
    reporter,
    nowMs: clock,
    swapped() {
      answers.clear()
      pairs = new Map()
    },
  })

  function countryFrom(database: Database | undefined, text: string): string | null {
    if (database === undefined) return null
    try {
      return database.countryOf(text)
    } catch {
      // The checks sample a database's data, they cannot read all of it; one bad record is an unknown country, not a crash.
      if (!damaged.has(database)) {
        damaged.add(database)
        const problem = `its record for ${text} is damaged; addresses like it count as unknown`
        reporter.report('geo.rejected', { file: database.file, problem, kept: database.file })
      }
      return null
    }
  }

  function ask(database: Database | undefined, address: Address): string | null {
    // Databases keep IPv4 networks below ::/96. An IPv6 address in there is nobody's, and must not borrow their countries.
    const [first, second, third] = address.words
    if (address.family === 6 && first === 0 && second === 0 && third === 0) return null
    return countryFrom(database, address.text)
  }

  function lookup(address: Address): GeoFacts {
    const cached = answers.get(address.text)
    if (cached !== undefined) return cached
    const scope = addressScope(address)
    const first = holder.first()?.database
    const available = first !== undefined
    if (scope !== 'public') return WITHOUT_COUNTRY[available ? 'loaded' : 'empty'][scope]
    const country = ask(first, address)
    const second = ask(holder.second()?.database, address)
    if (country !== null && second !== null && country !== second) {
      reportDisagreement(address.text, country, second)
    }
    const key = `${country ?? '-'}${second ?? '-'}${available ? '' : '!'}`
    let facts = pairs.get(key)
    if (facts === undefined) {
      facts = Object.freeze({ scope, country, second, available })
      pairs.set(key, facts)
    }
    answers.set(address.text, facts)
    return facts
  }

  const staleReported = new Map<string, number>()
  function checkAge(): void {
    const now = clock()
    for (const held of [holder.first(), holder.second()]) {
      if (held === null) continue
      const ageDays = Math.floor((now - held.state.builtMs) / DAY_MS)
      const { file } = held.state
      if (ageDays <= staleDays || now - (staleReported.get(file) ?? -Infinity) < DAY_MS) continue
      staleReported.set(file, now)
      reporter.report('geo.stale', { file, ageDays })
    }
  }

  let running: Promise<void> = Promise.resolve()
  let closed = false
  function refresh(asked: boolean): Promise<void> {
    running = running.then(async () => {
      if (closed) return
      try {
        if (await holder.refresh(asked)) watching?.lookAgain()
      } catch (error) {
        const problem = `looking at it failed (${error instanceof Error ? error.message : String(error)})`
        const kept = holder.first()?.state.file ?? null
        reporter.report('geo.rejected', { file: directory, problem, kept })
      }
      checkAge()
    })
    return running
  }

  let watching: ReturnType<typeof watchDirectory> | undefined
  makeDirectory(directory)
  watching = watchDirectory(
    directory,
    options.watchTimes ?? WATCH_TIMES,
    () => void refresh(false),
    problem => {
      const kept = holder.first()?.state.file ?? null
      const text = `changes cannot be noticed (${problem}); send SIGHUP after dropping a database`
      reporter.report('geo.rejected', { file: directory, problem: text, kept })
    },
  )
  const ageTimer = setInterval(checkAge, AGE_CHECK_MS)
  ageTimer.unref()
  await refresh(true)

  return {
    lookup,
    databases: () => [holder.first(), holder.second()].flatMap(held => (held === null ? [] : [held.state])),
    files: holder.files,
    reload() {
      watching.renew()
      return refresh(true)
    },
    close() {
      closed = true
      watching.close()
      clearInterval(ageTimer)
    },
  }
}

type OtherScope = Exclude<AddressScope, 'public'>

function withoutCountry(available: boolean): Readonly<Record<OtherScope, GeoFacts>> {
  const of = (scope: OtherScope): GeoFacts => Object.freeze({ scope, country: null, second: null, available })
  return {
    private: of('private'),
    cgnat: of('cgnat'),
    loopback: of('loopback'),
    'link-local': of('link-local'),
    reserved: of('reserved'),
  }
}

const WITHOUT_COUNTRY = { loaded: withoutCountry(true), empty: withoutCountry(false) } as const

function limitedDisagreements(
  reporter: Reporter,
  clock: () => number,
): (address: string, first: string, second: string) => void {
  const reportedMs = new LRUCache<string, number>({ max: DISAGREEMENTS_REMEMBERED })
  let minute = 0
  let inMinute = 0
  return (address, first, second) => {
    const now = clock()
    const last = reportedMs.get(address)
    if (last !== undefined && now - last < DAY_MS) return
    const thisMinute = Math.floor(now / 60_000)
    if (thisMinute !== minute) {
      minute = thisMinute
      inMinute = 0
    }
    if (++inMinute > DISAGREEMENTS_PER_MINUTE) return
    reportedMs.set(address, now)
    reporter.report('geo.disagreement', { address, first, second })
  }
}

function makeDirectory(directory: string): void {
  try {
    mkdirSync(directory, { recursive: true })
  } catch {
    // Refreshing reports that the directory cannot be listed; the bundled databases still serve.
  }
}
