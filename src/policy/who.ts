// Who a source is: its site, its country after overrides, and which allow, ban or trust entry covers it.
import type { Address } from '../net/address.ts'
import type { CidrTrie } from '../net/cidr.ts'
import type { SourceFacts } from './facts.ts'
import type { TrafficClass } from './classes.ts'
import type { Countries, GeoAnswer, Overlay, Snapshot, Stated } from './snapshot.ts'
import type { ResolvedCountry, Standing } from './standing.ts'

/** Computes the standing of a source under a snapshot. Expired entries do not count. */
export function standingOf(
  snapshot: Snapshot,
  overlay: Overlay,
  source: SourceFacts,
  nowMs: number,
): Standing {
  const live = (entry: { readonly expiresMs: number | null }): boolean => isLive(entry.expiresMs, nowMs)
  const { address } = source
  const site = snapshot.siteByAddress.match(address) ?? null
  const trustEntry = snapshot.trusted.match(address)
  const allows = covering(overlay.allow, snapshot.allow, address, live)
  const bans = covering(overlay.ban, snapshot.ban, address, live)
  return {
    snapshot,
    overlay,
    source,
    site,
    allows,
    bans,
    allow: allows.find(entry => entry.classes === null) ?? allows[0] ?? null,
    ban: bans.find(entry => entry.classes === null) ?? bans[0] ?? null,
    country: resolveCountry(snapshot, source),
    trusted:
      trustEntry !== undefined
        ? { value: trustEntry.range.text, at: trustEntry.at }
        : site?.trusted === true
          ? { value: `site ${site.id}`, at: site.at }
          : null,
  }
}

const NONE: readonly never[] = []

/**
 * Every live entry that covers an address. All of them matter: a narrow entry for some classes must hide neither a wide ban
 * nor a wide allow.
 */
function covering<T extends { readonly expiresMs: number | null }>(
  temporary: CidrTrie<T>,
  stated: CidrTrie<T>,
  address: Address,
  live: (entry: T) => boolean,
): readonly T[] {
  if (temporary.size === 0 && stated.size === 0) return NONE
  const found = [...temporary.matchAll(address).reverse(), ...stated.matchAll(address).reverse()]
  return found.filter(live)
}

/** Whether something that ends at `expiresMs` (null: never) still holds. */
export function isLive(expiresMs: number | null, nowMs: number): boolean {
  return expiresMs === null || nowMs < expiresMs
}

/** Whether a scoped entry covers a class; null scope covers every class. */
export function covers(classes: ReadonlySet<TrafficClass> | null, trafficClass: TrafficClass): boolean {
  return classes === null || classes.has(trafficClass)
}

/** The country of a source: an override first, then the database; networks without a country have their own answer. */
function resolveCountry(snapshot: Snapshot, source: SourceFacts): ResolvedCountry {
  const override = snapshot.geo.overrides.match(source.address)
  if (override !== undefined) {
    return { kind: 'country', code: override.country, disagrees: null, override: override.at }
  }
  const { geo } = source
  if (geo.scope !== 'public') return { kind: 'network', network: geo.scope }
  if (geo.country !== null) {
    const disagrees = geo.second !== null && geo.second !== geo.country ? geo.second : null
    return { kind: 'country', code: geo.country, disagrees, override: null }
  }
  return geo.available ? { kind: 'unknown' } : { kind: 'unavailable' }
}

/** The stated answer for a source without a country; null when it has one. */
export function answerWithoutCountry(snapshot: Snapshot, country: ResolvedCountry): Stated<GeoAnswer> | null {
  switch (country.kind) {
    case 'country':
      return null
    case 'unknown':
      return snapshot.geo.unknown
    case 'unavailable':
      return snapshot.geo.unavailable
    case 'network':
      switch (country.network) {
        case 'private':
        case 'link-local':
          return snapshot.geo.private
        case 'cgnat':
          return snapshot.geo.cgnat
        case 'loopback':
          return snapshot.geo.loopback
        case 'reserved':
          return { value: 'refuse', at: snapshot.geo.unknown.at }
      }
  }
}

/** Whether a set of countries holds a code. */
export function admits(countries: Countries, code: string): boolean {
  return countries === 'any' || countries.has(code)
}

/** The word for a country in logs, metrics and sentences. */
export function countryWord(country: ResolvedCountry): string {
  switch (country.kind) {
    case 'country':
      return country.code
    case 'network':
      return country.network
    case 'unknown':
      return 'unknown'
    case 'unavailable':
      return 'unavailable'
  }
}
