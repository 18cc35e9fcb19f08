// Which customer sites an address range touches: asked before somebody bans it.
import { cidrContains, type Cidr } from '../net/cidr.ts'
import type { Site } from './snapshot.ts'

/** Sites with an address in the range, or whose range holds it. */
export function sitesWithin(range: Cidr, sites: readonly Site[]): readonly Site[] {
  return sites.filter(site =>
    site.ranges.some(own => cidrContains(range, own.address) || cidrContains(own, range.address)),
  )
}
