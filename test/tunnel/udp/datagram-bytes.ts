// The bytes of a datagram as the other end writes and reads them: written here once more, so that the codec is not its own judge.
import type { Address } from '../../../src/net/address.ts'
import { readVarint, varintSize } from '../../../src/tunnel/udp/varint.ts'

/** The value of a DATAGRAM capsule (RFC 9297), taken apart. */
export function splitDatagram(value: Uint8Array): { readonly context: number; readonly payload: Uint8Array } {
  return { context: readVarint(value, 0), payload: value.subarray(varintSize(value[0] ?? 0)) }
}

/** What a datagram of the uncompressed context carries: family, address, port, and then the UDP payload. */
export function uncompressed(
  { address, port }: { readonly address: Address; readonly port: number },
  payload: Uint8Array,
): Uint8Array {
  const words = Buffer.alloc(address.words.length * 4)
  address.words.forEach((word, index) => words.writeUInt32BE(word >>> 0, index * 4))
  const portBytes = Buffer.alloc(2)
  portBytes.writeUInt16BE(port)
  return new Uint8Array(Buffer.concat([Uint8Array.of(address.family), words, portBytes, payload]))
}
