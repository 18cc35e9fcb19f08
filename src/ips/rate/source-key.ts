// Which addresses are one source for counting.
import type { Address } from '../../net/address.ts'

/**
 * The text that stands for an address in counters: an IPv4 address itself, of an IPv6 address the network of 64 bits, since
 * one client can take any address in it.
 */
export function sourceKey(address: Address): string {
  if (address.family === 4) return address.text
  const [first = 0, second = 0] = address.words
  return `${first.toString(16)}:${second.toString(16)}/64`
}
