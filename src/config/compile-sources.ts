// Compiles everything that is about source addresses: sites, trusted addresses, allows, bans, country corrections.
import { CidrTrie, cidrContains, type Cidr } from '../net/cidr.ts'
import type { TrafficClass } from '../policy/classes.ts'
import type {
  AllowEntry,
  BanEntry,
  ClassPolicy,
  GeoAnswer,
  GeoPolicy,
  Site,
  Snapshot,
  Stated,
} from '../policy/snapshot.ts'
import { BUILT_IN } from '../policy/source-line.ts'
import { admittedBy, compileSiteClasses } from './compile-classes.ts'
import type { Reporter } from './context.ts'
import type { Path } from './read.ts'
import { formatLastDay, resolveCountries } from './scalars.ts'
import type { WrittenEntry, WrittenPolicy, WrittenSite } from './schema.ts'

const SOON_MS = 30 * 86_400_000

/** Warns, at the line that states it, of an end that is near or past; the entry stays, because decisions weigh the end themselves. */
export function warnOfEnd(
  path: Path,
  what: string,
  expiresMs: number,
  nowMs: number,
  report: Reporter,
): void {
  const day = formatLastDay(expiresMs)
  if (expiresMs <= nowMs) {
    report.warn(path, `${what} ended on ${day} and has no effect any more`, 'remove it, or give it a new end')
  } else if (expiresMs - nowMs < SOON_MS) {
    report.warn(path, `${what} ends on ${day}`, 'after that day the clients that need it are refused')
  }
}

/** Compiles the sites. */
export function compileSites(
  written: WrittenPolicy['sites'],
  general: ReadonlyMap<TrafficClass, ClassPolicy>,
  home: ReadonlySet<string>,
  nowMs: number,
  report: Reporter,
): readonly Site[] {
  const owners = new Map<string, string>()
  return Object.entries(written).map(([id, entry]): Site => {
    const path: Path = ['sites', id]
    for (const [index, range] of entry.addresses.entries()) {
      const here = [...path, 'addresses', index]
      const owner = owners.get(range.text)
      if (owner === id) report.error(here, `${range.text} is listed twice`)
      else if (owner !== undefined) {
        report.error(
          here,
          `${range.text} already belongs to site ${owner}`,
          'an address can belong to one site only',
        )
      }
      owners.set(range.text, id)
      if (range.prefix === 0) report.error(here, `${range.text} is everybody, not a site`)
    }
    const model = entry.model === undefined ? null : { value: entry.model, at: report.at([...path, 'model']) }
    return {
      id,
      name: entry.name ?? id,
      ranges: entry.addresses,
      countries:
        entry.countries === undefined
          ? null
          : {
              value: resolveCountries(entry.countries, home),
              at: report.at([...path, 'countries']),
            },
      classes: compileSiteClasses(general, home, model, entry.classes ?? {}, path, report),
      trusted: entry.trusted,
      tlsException: compileException(id, entry, path, nowMs, report),
      connectionsPerSource: entry.connectionsPerSource ?? null,
      agents: entry.agents ?? null,
      at: report.at(path),
    }
  })
}

function compileException(
  id: string,
  site: WrittenSite,
  path: Path,
  nowMs: number,
  report: Reporter,
): Site['tlsException'] {
  const exception = site.tlsException
  if (exception === undefined) return null
  const here = [...path, 'tlsException']
  warnOfEnd([...here, 'expires'], `the TLS exception of site ${id}`, exception.expires, nowMs, report)
  const { minimum, reason, owner, expires } = exception
  return { minimum, reason, owner, expiresMs: expires, at: report.at(here) }
}

/** The trie of sites. */
export function siteTrie(sites: readonly Site[]): CidrTrie<Site> {
  const trie = new CidrTrie<Site>()
  for (const site of sites) for (const range of site.ranges) trie.insert(range, site)
  return trie
}

/** Compiles the trusted addresses. */
export function compileTrusted(written: WrittenPolicy['trusted'], report: Reporter): Snapshot['trusted'] {
  const trie: Snapshot['trusted'] = new CidrTrie()
  for (const [index, { address }] of written.entries()) {
    const path: Path = ['trusted', index]
    refuseEverybody(address, path, 'trusted', report)
    trie.insert(address, { range: address, at: report.at(path) })
  }
  return trie
}

function refuseEverybody(range: Cidr, path: Path, what: string, report: Reporter): void {
  if (range.prefix === 0) {
    report.error(path, `${range.text} is everybody: nothing would be ${what} any more`, 'name the addresses')
  } else if (range.prefix < (range.address.family === 4 ? 12 : 24)) {
    report.warn(path, `${range.text} is a very large part of the Internet`)
  }
}

/** Compiles the allow list. */
export function compileAllows(
  written: readonly WrittenEntry[],
  nowMs: number,
  report: Reporter,
): CidrTrie<AllowEntry> {
  return compileEntries(written, 'allow', nowMs, report, (entry, path) => {
    refuseEverybody(entry.address, path, 'refused by country or ban', report)
    if (entry.expires === undefined) {
      report.warn(path, `the allow of ${entry.address.text} has no end`, 'give it expires: year-month-day')
    }
  })
}

/** Compiles the bans. */
export function compileBans(
  written: readonly WrittenEntry[],
  sites: readonly Site[],
  trusted: readonly Cidr[],
  nowMs: number,
  report: Reporter,
): CidrTrie<BanEntry> {
  return compileEntries(written, 'bans', nowMs, report, (entry, path) => {
    const { address: range } = entry
    if (range.prefix === 0) {
      report.error(path, `${range.text} is everybody: the ban would close the gate`, 'close classes instead')
      return
    }
    const what = entry.classes === undefined ? 'everything' : entry.classes.join(', ')
    for (const site of sites) {
      if (site.ranges.some(inner => overlaps(range, inner))) {
        report.warn(path, `this ban covers addresses of site ${site.id}: ${what} is refused from there`)
      }
    }
    if (trusted.some(inner => overlaps(range, inner))) {
      report.warn(path, `this ban covers a trusted address: ${what} is refused from there`)
    }
  })
}

/** Whether two ranges share an address. */
function overlaps(a: Cidr, b: Cidr): boolean {
  return a.prefix <= b.prefix ? cidrContains(a, b.address) : cidrContains(b, a.address)
}

function compileEntries(
  written: readonly WrittenEntry[],
  list: 'allow' | 'bans',
  nowMs: number,
  report: Reporter,
  check: (entry: WrittenEntry, path: Path) => void,
): CidrTrie<AllowEntry> {
  const trie = new CidrTrie<AllowEntry>()
  const word = list === 'allow' ? 'allow' : 'ban'
  for (const [index, entry] of written.entries()) {
    const path: Path = [list, index]
    check(entry, path)
    if (entry.expires !== undefined) {
      warnOfEnd([...path, 'expires'], `the ${word} of ${entry.address.text}`, entry.expires, nowMs, report)
    }
    trie.insert(entry.address, {
      range: entry.address,
      classes: entry.classes === undefined ? null : new Set(entry.classes),
      reason: entry.reason,
      owner: entry.owner,
      expiresMs: entry.expires ?? null,
      at: report.at([...path, 'address']),
    })
  }
  return trie
}

/** Compiles the country policy. `stated` tells whether the file states a path itself. */
export function compileGeo(
  written: WrittenPolicy['geo'],
  classes: ReadonlyMap<TrafficClass, ClassPolicy>,
  sites: readonly Site[],
  stated: (path: Path) => boolean,
  report: Reporter,
): GeoPolicy {
  const answer = (key: 'private' | 'cgnat' | 'loopback' | 'unknown' | 'unavailable'): Stated<GeoAnswer> => ({
    value: written[key],
    at: stated(['geo', key]) ? report.at(['geo', key]) : BUILT_IN,
  })
  const overrides: GeoPolicy['overrides'] = new CidrTrie()
  const seen = new Set<string>()
  for (const [index, entry] of written.overrides.entries()) {
    const path: Path = ['geo', 'overrides', index]
    if (seen.has(entry.address.text)) {
      report.error([...path, 'address'], `${entry.address.text} has two countries`, 'keep one of the entries')
    }
    seen.add(entry.address.text)
    overrides.insert(entry.address, {
      country: entry.country,
      reason: entry.reason,
      at: report.at(path),
    })
  }
  for (const key of ['unknown', 'unavailable'] as const) {
    if (written[key] === 'allow') {
      report.warn(
        ['geo', key],
        key === 'unknown'
          ? 'addresses that no database knows count as home'
          : 'without a country database everybody counts as home',
      )
    }
  }
  return {
    private: answer('private'),
    cgnat: answer('cgnat'),
    loopback: answer('loopback'),
    unknown: answer('unknown'),
    unavailable: answer('unavailable'),
    overrides,
    // Countries that a site adds are asked of the site itself; those of its own class settings are not, so they count here.
    admittedSomewhere: admittedBy([
      ...classes.values(),
      ...sites.flatMap(site => [...site.classes.values()]),
    ]),
  }
}
