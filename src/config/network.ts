// The network that a range with host bits was probably meant to be.
import { parseAddress } from '../net/address.ts'
import { addressFromBytes } from '../net/address.ts'

/** The network of `prefix` bits that an address lies in, as text; undefined when there is none. */
export function networkOf(addressText: string, prefix: number): string | undefined {
  const address = parseAddress(addressText)
  if (address === undefined) return undefined
  const bits = address.family === 4 ? 32 : 128
  if (!(prefix >= 0 && prefix <= bits)) return undefined
  const bytes = new Uint8Array(bits / 8)
  for (let index = 0; index < bytes.length; index++) {
    const byte = ((address.words[index >>> 2] ?? 0) >>> (24 - 8 * (index & 3))) & 255
    const kept = Math.min(8, Math.max(0, prefix - 8 * index))
    bytes[index] = byte & ~(255 >>> kept)
  }
  const network = addressFromBytes(bytes)
  return network === undefined ? undefined : `${network.text}/${prefix}`
}
