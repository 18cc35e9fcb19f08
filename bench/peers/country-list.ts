// Lists every IPv4 range of a country database, for peers that read lists instead of .mmdb files.
import { readFileSync } from 'node:fs'
import { Reader, type Response } from 'maxmind'

type CountryRecord = Response & { readonly country_code: string }

/** Ranges in ascending order with their country; ranges without one are left out. */
export function ipv4Countries(file: string): { readonly range: string; readonly country: string }[] {
  const reader = new Reader<CountryRecord>(readFileSync(file))
  const ranges: { range: string; country: string }[] = []
  let at = 0
  while (at < 2 ** 32) {
    const [record, length] = reader.getWithPrefixLength(dotted(at)) as [CountryRecord | null, number]
    if (length < 0 || length > 32)
      throw new Error(`${file}: unexpected prefix length ${length} at ${dotted(at)}`)
    if (record !== null) ranges.push({ range: `${dotted(at)}/${length}`, country: record.country_code })
    at += 2 ** (32 - length)
  }
  return ranges
}

function dotted(value: number): string {
  return [24, 16, 8, 0].map(shift => Math.floor(value / 2 ** shift) % 256).join('.')
}
