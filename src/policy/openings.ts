// Openings: a class that the policy closes or keeps for trusted sources, opened to one site or range for a while.
import type { Address } from '../net/address.ts'
import type { Cidr, CidrTrie } from '../net/cidr.ts'
import type { TrafficClass } from './classes.ts'
import type { SourceLine } from './source-line.ts'
import type { Standing } from './standing.ts'
import { isLive } from './who.ts'

/**
 * One opening. It lifts `closed`, `trusted` and hours for its classes, nothing else: bans, countries, keys, TLS versions,
 * limits and rules stay in force. (An explicit allow lifts more, which is why an opening is not one.)
 */
export type Opening = {
  /** Whom it is for. A site means the site as the policy in force knows it, not the addresses that it had. */
  readonly scope: { readonly site: string } | { readonly range: Cidr }
  readonly classes: ReadonlySet<TrafficClass>
  readonly reason: string
  readonly owner: string
  readonly expiresMs: number
  readonly at: SourceLine
}

/** Openings, ready to be asked. */
export type Openings = {
  readonly bySite: ReadonlyMap<string, readonly Opening[]>
  readonly byRange: CidrTrie<Opening>
}

/** The opening that holds for a source and a class now; null: none. */
export function openingFor(standing: Standing, trafficClass: TrafficClass, nowMs: number): Opening | null {
  const { openings } = standing.overlay
  if (openings === undefined) return null
  const holds = (opening: Opening): boolean =>
    opening.classes.has(trafficClass) && isLive(opening.expiresMs, nowMs)
  const ofSite = standing.site === null ? undefined : openings.bySite.get(standing.site.id)
  return ofSite?.find(holds) ?? ofRange(openings, standing.source.address).find(holds) ?? null
}

function ofRange(openings: Openings, address: Address): readonly Opening[] {
  return openings.byRange.size === 0 ? [] : openings.byRange.matchAll(address).toReversed()
}

/** Whom an opening is for, in words. */
export function openingScope({ scope }: Opening): string {
  return 'site' in scope ? `site ${scope.site}` : scope.range.text
}
