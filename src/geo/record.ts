// Reads the country out of a database record, whatever shape its maker gave it.

/** Codes that makers use for "no country": they must not be mistaken for one. */
const NO_COUNTRY: ReadonlySet<string> = new Set(['ZZ', 'XX', 'EU', 'AP', 'A1', 'A2', 'O1'])

/**
 * The ISO 3166-1 alpha-2 code of a record. The country of location is preferred over the country of registration:
 * `country.iso_code` (MaxMind, DB-IP), flat `country_code` or `country` (ip-location-db, IPinfo), then
 * `registered_country.iso_code`. `represented_country` (embassies, bases) is never used.
 * @returns null when the record names no country
 */
export function countryOfRecord(record: unknown): string | null {
  if (!isObject(record)) return null
  return (
    isoCode(nested(record, 'country')) ??
    isoCode(record['country_code']) ??
    isoCode(record['country']) ??
    isoCode(nested(record, 'registered_country'))
  )
}

function nested(record: Readonly<Record<string, unknown>>, name: string): unknown {
  const inner = record[name]
  return isObject(inner) ? inner['iso_code'] : undefined
}

function isoCode(value: unknown): string | null {
  if (typeof value !== 'string' || !/^[A-Za-z]{2}$/.test(value)) return null
  const code = value.toUpperCase()
  return NO_COUNTRY.has(code) ? null : code
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null
}
