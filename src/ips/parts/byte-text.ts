// Byte strings: text with one character per byte, and the way between them, bytes and Unicode.

const UTF8 = new TextDecoder('utf-8')
const ENCODER = new TextEncoder()
const CHUNK = 4096

/** Bytes as text with one character per byte. */
export function byteText(bytes: Uint8Array): string {
  // Plain ASCII, which most bodies are, decodes twenty times faster this way.
  const ascii = UTF8.decode(bytes)
  if (ascii.length === bytes.length && !ascii.includes('\ufffd')) return ascii
  let text = ''
  for (let at = 0; at < bytes.length; at += CHUNK)
    text += String.fromCharCode.apply(null, bytes.subarray(at, at + CHUNK) as unknown as number[])
  return text
}

/** The bytes of a byte string. */
export function bytesOf(text: string): Uint8Array {
  const bytes = new Uint8Array(text.length)
  for (let at = 0; at < text.length; at++) bytes[at] = text.charCodeAt(at)
  return bytes
}

/** Unicode text as a byte string of UTF-8; unpaired surrogates become U+FFFD. */
export function utf8Bytes(text: string): string {
  return /[^\0-\x7f]/.test(text) ? byteText(ENCODER.encode(text)) : text
}

/** A code point as a byte string of UTF-8; surrogates and what is beyond Unicode become U+FFFD. */
export function codePointBytes(code: number): string {
  if (code < 0x80) return String.fromCharCode(code)
  if (code < 0x800) return String.fromCharCode(0xc0 | (code >> 6), 0x80 | (code & 0x3f))
  if ((code >= 0xd800 && code <= 0xdfff) || code > 0x10ffff) return '\xef\xbf\xbd'
  if (code < 0x10000)
    return String.fromCharCode(0xe0 | (code >> 12), 0x80 | ((code >> 6) & 0x3f), 0x80 | (code & 0x3f))
  return String.fromCharCode(
    0xf0 | (code >> 18),
    0x80 | ((code >> 12) & 0x3f),
    0x80 | ((code >> 6) & 0x3f),
    0x80 | (code & 0x3f),
  )
}

/** Value of a hexadecimal digit's character code; -1: it is none. */
export function hexValue(code: number): number {
  if (code >= 48 && code <= 57) return code - 48
  const letter = code | 32
  return letter >= 97 && letter <= 102 ? letter - 87 : -1
}
