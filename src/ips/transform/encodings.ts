// Base64, hexadecimal, parity: codings of whole values.
import { hexByte } from './characters.ts'

const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/'
const SEXTETS = new Int8Array(256).fill(-1)
for (let index = 0; index < 64; index++) SEXTETS[ALPHABET.charCodeAt(index)] = index

/** Decodes base64 up to the first character that does not belong to it. */
export function base64Decode(value: string): string {
  return sextets(value, false)
}

/** Decodes base64 and leaves out what does not belong to it. */
export function base64DecodeExt(value: string): string {
  return sextets(value, true)
}

function sextets(value: string, lenient: boolean): string {
  let out = ''
  let bits = 0
  let held = 0
  for (let at = 0; at < value.length; at++) {
    const code = value.charCodeAt(at)
    const sextet = code < 256 ? (SEXTETS[code] as number) : -1
    if (sextet < 0) {
      if (lenient || code === 0x0d || code === 0x0a) continue
      break
    }
    bits = ((bits << 6) | sextet) & 0xffffff
    held += 6
    if (held >= 8) {
      held -= 8
      out += String.fromCharCode((bits >> held) & 0xff)
    }
  }
  return out
}

/** Writes bytes as base64. */
export function base64Encode(value: string): string {
  let out = ''
  for (let at = 0; at < value.length; at += 3) {
    const left = value.length - at
    const word =
      (value.charCodeAt(at) << 16) |
      ((left > 1 ? value.charCodeAt(at + 1) : 0) << 8) |
      (left > 2 ? value.charCodeAt(at + 2) : 0)
    out += ALPHABET.charAt((word >> 18) & 63) + ALPHABET.charAt((word >> 12) & 63)
    out += left > 1 ? ALPHABET.charAt((word >> 6) & 63) : '='
    out += left > 2 ? ALPHABET.charAt(word & 63) : '='
  }
  return out
}

/** Decodes pairs of hexadecimal digits; an odd digit at the end is dropped, a pair that is none ends it. */
export function hexDecode(value: string): string {
  let out = ''
  for (let at = 0; at + 1 < value.length; at += 2) {
    const byte = hexByte(value, at)
    if (byte < 0) break
    out += String.fromCharCode(byte)
  }
  return out
}

/** Writes each byte as two hexadecimal digits. */
export function hexEncode(value: string): string {
  let out = ''
  for (let at = 0; at < value.length; at++) out += (value.charCodeAt(at) & 0xff).toString(16).padStart(2, '0')
  return out
}

/** Decodes SQL's hexadecimal literals, `0x414243`, wherever they stand. */
export function sqlHexDecode(value: string): string {
  if (!/0[xX]/.test(value)) return value
  return value.replaceAll(/0[xX]((?:[0-9a-fA-F]{2})+)/g, (_, digits: string) => hexDecode(digits))
}

function mapBytes(value: string, change: (byte: number) => number): string {
  let out = ''
  for (let at = 0; at < value.length; at++) out += String.fromCharCode(change(value.charCodeAt(at) & 0xff))
  return out
}

function ones(byte: number): number {
  let left = byte
  let count = 0
  for (; left > 0; left >>= 1) count += left & 1
  return count
}

/** Sets the highest bit of each byte so that the number of ones is even. */
export function parityEven7bit(value: string): string {
  return mapBytes(value, byte => (byte & 0x7f) | (ones(byte & 0x7f) % 2 === 0 ? 0 : 0x80))
}

/** Sets the highest bit of each byte so that the number of ones is odd. */
export function parityOdd7bit(value: string): string {
  return mapBytes(value, byte => (byte & 0x7f) | (ones(byte & 0x7f) % 2 === 0 ? 0x80 : 0))
}

/** Clears the highest bit of each byte. */
export function parityZero7bit(value: string): string {
  return mapBytes(value, byte => byte & 0x7f)
}
