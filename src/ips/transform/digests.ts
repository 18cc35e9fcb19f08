// SHA-1 (FIPS 180-4) and MD5 (RFC 1321) over byte strings; rules name values by them, nothing secret depends on them.

function rotate(word: number, by: number): number {
  return (word << by) | (word >>> (32 - by))
}

/** The message with its padding, as 32-bit words; the length in bits stands at the end in the same byte order. */
function words(value: string, bigEndian: boolean): Int32Array {
  const blocks = ((value.length + 8) >> 6) + 1
  const bytes = new Uint8Array(blocks * 64)
  for (let at = 0; at < value.length; at++) bytes[at] = value.charCodeAt(at) & 0xff
  bytes[value.length] = 0x80
  const view = new DataView(bytes.buffer)
  const high = Math.floor(value.length / 0x20000000)
  const low = (value.length << 3) >>> 0
  view.setUint32(bytes.length - 8, bigEndian ? high : low, !bigEndian)
  view.setUint32(bytes.length - 4, bigEndian ? low : high, !bigEndian)
  const out = new Int32Array(blocks * 16)
  for (let index = 0; index < out.length; index++) out[index] = view.getInt32(index * 4, !bigEndian)
  return out
}

function bytesOf(state: readonly number[], bigEndian: boolean): string {
  let out = ''
  for (const word of state) {
    for (let index = 0; index < 4; index++) {
      out += String.fromCharCode((word >>> (8 * (bigEndian ? 3 - index : index))) & 0xff)
    }
  }
  return out
}

/** SHA-1, 20 bytes. */
export function sha1(value: string): string {
  const message = words(value, true)
  let [h0, h1, h2, h3, h4] = [0x67452301, 0xefcdab89 | 0, 0x98badcfe | 0, 0x10325476, 0xc3d2e1f0 | 0]
  const w = new Int32Array(80)
  for (let block = 0; block < message.length; block += 16) {
    for (let t = 0; t < 80; t++) {
      w[t] =
        t < 16
          ? (message[block + t] as number)
          : rotate(
              (w[t - 3] as number) ^ (w[t - 8] as number) ^ (w[t - 14] as number) ^ (w[t - 16] as number),
              1,
            )
    }
    let [a, b, c, d, e] = [h0, h1, h2, h3, h4]
    for (let t = 0; t < 80; t++) {
      const [f, k] =
        t < 20
          ? [(b & c) | (~b & d), 0x5a827999]
          : t < 40
            ? [b ^ c ^ d, 0x6ed9eba1]
            : t < 60
              ? [(b & c) | (b & d) | (c & d), 0x8f1bbcdc]
              : [b ^ c ^ d, 0xca62c1d6]
      const next = (rotate(a, 5) + f + e + k + (w[t] as number)) | 0
      e = d
      d = c
      c = rotate(b, 30)
      b = a
      a = next
    }
    h0 = (h0 + a) | 0
    h1 = (h1 + b) | 0
    h2 = (h2 + c) | 0
    h3 = (h3 + d) | 0
    h4 = (h4 + e) | 0
  }
  return bytesOf([h0, h1, h2, h3, h4], true)
}

const MD5_SHIFTS = [
  [7, 12, 17, 22],
  [5, 9, 14, 20],
  [4, 11, 16, 23],
  [6, 10, 15, 21],
]
// RFC 1321: the integer part of 2^32 times |sin(n)|, n from 1.
const MD5_SINES = Int32Array.from(
  { length: 64 },
  (_, n) => Math.floor(Math.abs(Math.sin(n + 1)) * 2 ** 32) | 0,
)

/** MD5, 16 bytes. */
export function md5(value: string): string {
  const message = words(value, false)
  let [a0, b0, c0, d0] = [0x67452301, 0xefcdab89 | 0, 0x98badcfe | 0, 0x10325476]
  for (let block = 0; block < message.length; block += 16) {
    let [a, b, c, d] = [a0, b0, c0, d0]
    for (let n = 0; n < 64; n++) {
      const round = n >> 4
      const [f, g] =
        round === 0
          ? [(b & c) | (~b & d), n]
          : round === 1
            ? [(d & b) | (~d & c), (5 * n + 1) & 15]
            : round === 2
              ? [b ^ c ^ d, (3 * n + 5) & 15]
              : [c ^ (b | ~d), (7 * n) & 15]
      const sum = (a + f + (MD5_SINES[n] as number) + (message[block + g] as number)) | 0
      a = d
      d = c
      c = b
      b = (b + rotate(sum, MD5_SHIFTS[round]?.[n & 3] ?? 0)) | 0
    }
    a0 = (a0 + a) | 0
    b0 = (b0 + b) | 0
    c0 = (c0 + c) | 0
    d0 = (d0 + d) | 0
  }
  return bytesOf([a0, b0, c0, d0], false)
}
