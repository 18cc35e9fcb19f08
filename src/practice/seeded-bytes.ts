// Endless reproducible bytes: uploads and downloads of any size that both ends can check without storing them.
import { createCipheriv, createHash } from 'node:crypto'
import { Readable } from 'node:stream'

const CHUNK_BYTES = 65_536
const ZEROS = Buffer.alloc(CHUNK_BYTES)

/** Most bytes that one transfer may ask for. */
export const MAX_TRANSFER_BYTES = 4 * 2 ** 30

/**
 * Yields `bytes` bytes that depend on the seed and on their position (an AES-CTR key stream), so that lost, repeated or swapped pieces
 * change the digest.
 */
export function* seededChunks(seed: string, bytes: number): Generator<Buffer, void, undefined> {
  const key = createHash('sha256').update(`practice transfer ${seed}`).digest().subarray(0, 16)
  const cipher = createCipheriv('aes-128-ctr', key, Buffer.alloc(16))
  for (let left = bytes; left > 0; left -= CHUNK_BYTES) {
    yield cipher.update(left >= CHUNK_BYTES ? ZEROS : ZEROS.subarray(0, left))
  }
}

/** The same bytes as a stream with back-pressure. */
export function seededStream(seed: string, bytes: number): Readable {
  return Readable.from(seededChunks(seed, bytes), { objectMode: false, highWaterMark: CHUNK_BYTES })
}

/** SHA-256 of the seeded bytes, hexadecimal. Takes about half a second for 1 GB; remembers nothing. */
export function seededDigest(seed: string, bytes: number): string {
  const hash = createHash('sha256')
  for (const chunk of seededChunks(seed, bytes)) hash.update(chunk)
  return hash.digest('hex')
}

/** Reads a stream to its end. */
export async function digestOf(
  stream: AsyncIterable<Uint8Array>,
): Promise<{ readonly bytes: number; readonly sha256: string }> {
  const hash = createHash('sha256')
  let bytes = 0
  for await (const chunk of stream) {
    hash.update(chunk)
    bytes += chunk.length
  }
  return { bytes, sha256: hash.digest('hex') }
}
