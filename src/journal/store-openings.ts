// Openings as rows of the overlay: how their scope is written, and what decisions read.
import { CidrTrie, parseCidr } from '../net/cidr.ts'
import type { Opening, Openings } from '../policy/openings.ts'
import type { OverlayEntry } from './store-overlay.ts'

const SITE = 'site:'

/** The scope of an opening as the store keeps it: `site:<id>`, or a range. */
export function openingRange(scope: { readonly site: string } | { readonly range: string }): string {
  return 'site' in scope ? SITE + scope.site : scope.range
}

/** The site of a stored scope; null: it is a range. */
export function siteOfOpening(range: string): string | null {
  return range.startsWith(SITE) ? range.slice(SITE.length) : null
}

/** Openings among overlay rows; undefined when there are none, so that decisions skip the question. */
export function buildOpenings(entries: readonly OverlayEntry[]): Openings | undefined {
  const bySite = new Map<string, Opening[]>()
  const byRange = new CidrTrie<Opening>()
  for (const entry of entries) {
    if (entry.kind !== 'opening' || entry.classes === null || entry.expiresMs === null) continue
    const { reason, owner, expiresMs } = entry
    const site = siteOfOpening(entry.range)
    const range = site === null ? parseCidr(entry.range) : null
    if (typeof range === 'string') continue
    const at = { file: `(opening ${entry.id} set by ${owner})`, line: 0, column: 0 }
    const rest = { classes: new Set(entry.classes), reason, owner, expiresMs, at }
    if (range !== null) byRange.insert(range, { scope: { range }, ...rest })
    else if (site !== null) bySite.set(site, [...(bySite.get(site) ?? []), { scope: { site }, ...rest }])
  }
  return bySite.size === 0 && byRange.size === 0 ? undefined : { bySite, byRange }
}
