// PURE. Whether an address range lies within others: what an operator who is limited to sites may touch.
import { cidrContains, parseCidr, type Cidr } from '../../../net/cidr.ts'

/** Whether all of a range lies within one of the others. @param text address or range */
export function rangeWithin(text: string, ranges: readonly Cidr[]): boolean {
  const inner = parseCidr(text)
  if (typeof inner === 'string') return false
  return ranges.some(
    outer =>
      outer.address.family === inner.address.family &&
      outer.prefix <= inner.prefix &&
      cidrContains(outer, inner.address),
  )
}

/** Whether two ranges share addresses: one then lies within the other. */
export function rangesOverlap(text: string, ranges: readonly Cidr[]): boolean {
  const other = parseCidr(text)
  if (typeof other === 'string') return false
  return rangeWithin(text, ranges) || ranges.some(range => rangeWithin(range.text, [other]))
}
