// Who a source is: its site, its country after overrides, and which allow, ban or trust entry covers it.
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
  return {
    snapshot,
    overlay,
    source,
    site,
    allow: overlay.allow.match(address, live) ?? snapshot.allow.match(address, live) ?? null,
    ban: overlay.ban.match(address, live) ?? snapshot.ban.match(address, live) ?? null,
    country: resolveCountry(snapshot, source),
    trusted:
      trustEntry !== undefined
        ? { value: trustEntry.range.text, at: trustEntry.at }
        : site?.trusted === true
          ? { value: `site ${site.id}`, at: site.at }
          : null,
  }
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
export function resolveCountry(snapshot: Snapshot, source: SourceFacts): ResolvedCountry {
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
