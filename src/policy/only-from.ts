// Listeners that are for some sources only: a site, or some addresses, besides everything that the policy asks of everybody.
import { cidrContains, type Cidr } from '../net/cidr.ts'
import type { SourceLine } from './source-line.ts'
import type { Standing } from './standing.ts'
import { note, refuseWith } from './trace.ts'
import type { Refusal, Trace } from './verdict.ts'

/** Who a listener is for. It takes away and never gives: what the policy refuses stays refused. */
export type OnlyFrom = {
  /** Ids of sites. */
  readonly sites: readonly string[]
  readonly ranges: readonly Cidr[]
  readonly at: SourceLine
}

/** Whether a listener is for others than this source. @returns null: it is for this source, or for everybody */
export function sourceRefusal(
  { source, site }: Standing,
  onlyFrom: OnlyFrom | undefined,
  trace?: Trace,
): Refusal | null {
  if (onlyFrom === undefined) return null
  const { at } = onlyFrom
  const saw = site === null ? source.address.text : `${source.address.text}, site ${site.id}`
  if (!isMeant({ source, site }, onlyFrom)) return refuseWith(trace, 'access', 'source-not-invited', saw, at)
  if (trace) note(trace, 'access', 'pass', saw, `the listener is for ${onlyFromText(onlyFrom)}`, at)
  return null
}

/** Whether it is for this source. */
export function isMeant(
  { source, site }: Pick<Standing, 'source' | 'site'>,
  { sites, ranges }: Pick<OnlyFrom, 'sites' | 'ranges'>,
): boolean {
  return (
    (site !== null && sites.includes(site.id)) || ranges.some(range => cidrContains(range, source.address))
  )
}

/** `site acme, 198.51.100.7`. */
export function onlyFromText({ sites, ranges }: Pick<OnlyFrom, 'sites' | 'ranges'>): string {
  return [...sites.map(site => `site ${site}`), ...ranges.map(range => range.text)].join(', ')
}
