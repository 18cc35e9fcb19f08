// Decides which of several country databases is used: pure, so that `status` and a restart give the same answer as a live drop.
import type { DatabaseFacts } from './database-file.ts'

/** A file with this name was chosen by hand: it is the first database whatever its maker or age. */
export const CHOSEN_FIRST = 'first.mmdb'
/** A file with this name was chosen by hand as the second opinion. */
export const CHOSEN_SECOND = 'second.mmdb'

/** A usable database that lies in the directory. */
export type Candidate = DatabaseFacts & { readonly name: string }

/**
 * Orders candidates for the first role, best first: `first.mmdb`, then databases made by MaxMind or DB-IP, then others;
 * among those the newest build, then the paid edition before the free one, then the name.
 */
export function rankCandidates<T extends Candidate>(candidates: readonly T[]): T[] {
  return candidates
    .filter(candidate => candidate.name !== CHOSEN_SECOND)
    .sort(
      (a, b) =>
        Number(b.name === CHOSEN_FIRST) - Number(a.name === CHOSEN_FIRST) ||
        Number(isKnownMaker(b.type)) - Number(isKnownMaker(a.type)) ||
        b.builtMs - a.builtMs ||
        Number(isFree(a.type)) - Number(isFree(b.type)) ||
        (a.name < b.name ? -1 : 1),
    )
}

/** Whether the type is one of MaxMind's or DB-IP's. */
function isKnownMaker(type: string): boolean {
  return /^(?:GeoIP2|GeoLite2|DBIP)-/.test(type)
}

/** Whether the maker is DB-IP, whose bundled database would then be no second opinion. */
export function isDbIp(type: string): boolean {
  return type.startsWith('DBIP-')
}

function isFree(type: string): boolean {
  return /^GeoLite2-|-Lite\b/.test(type)
}
