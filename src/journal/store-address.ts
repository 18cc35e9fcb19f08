// Addresses as sortable keys of the store: a family byte and the network-order bytes, so that a range is one index span.
import { addressFromBytes, parseAddress, type Address } from '../net/address.ts'
import type { Cidr } from '../net/cidr.ts'

/** Key of an address; null for text that is not an address. */
export function addressKey(text: string): Uint8Array | null {
  const address = parseAddress(text)
  return address === undefined ? null : keyOf(address)
}

/** Text of a key; null for keys that no address has. */
export function addressText(key: Uint8Array): string | null {
  return addressFromBytes(key.subarray(1))?.text ?? null
}

/** First and last key of a range. */
export function rangeKeys(range: Cidr): readonly [Uint8Array, Uint8Array] {
  const low = keyOf(range.address)
  const high = Uint8Array.from(low)
  for (let bit = range.prefix; bit < (low.length - 1) * 8; bit++) {
    const at = 1 + (bit >>> 3)
    high[at] = (high[at] ?? 0) | (128 >>> (bit & 7))
  }
  return [low, high]
}

function keyOf(address: Address): Uint8Array {
  const key = new Uint8Array(1 + address.words.length * 4)
  const view = new DataView(key.buffer)
  view.setUint8(0, address.family)
  for (const [index, word] of address.words.entries()) view.setUint32(1 + index * 4, word)
  return key
}
