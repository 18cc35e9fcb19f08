// Escapes of documents and programs: HTML entities, JavaScript, CSS and ANSI C.
import { hexByte, hexDigit, hexWord, isOctal, isSpace } from './characters.ts'

const ENTITIES: Readonly<Record<string, string>> = { quot: '"', amp: '&', lt: '<', gt: '>', nbsp: '\xa0' }

const ENTITY = /&(?:#[xX]([0-9a-fA-F]+)|#([0-9]+)|([a-zA-Z]+));?/g

/** Decodes numeric entities, to their low byte, and the five that ModSecurity knows by name; the semicolon may be missing. */
export function htmlEntityDecode(value: string): string {
  if (!value.includes('&')) return value
  return value.replaceAll(ENTITY, (whole: string, hex?: string, decimal?: string, name?: string) => {
    // The last eight digits alone decide the low byte (256 divides 10^8): no number is too long for this.
    if (hex !== undefined) return String.fromCharCode(Number.parseInt(hex.slice(-8), 16) & 0xff)
    if (decimal !== undefined) return String.fromCharCode(Number.parseInt(decimal.slice(-8), 10) & 0xff)
    return ENTITIES[(name ?? '').toLowerCase()] ?? whole
  })
}

// Full-width forms stand for the ASCII characters that they look like.
function lowByte(unit: number): string {
  return String.fromCharCode(unit >= 0xff01 && unit <= 0xff5e ? (unit & 0xff) + 0x20 : unit & 0xff)
}

const LETTER_ESCAPES: Readonly<Record<string, string>> = {
  a: '\x07',
  b: '\b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
  v: '\v',
}

/** Decodes JavaScript escapes; a backslash before anything else is dropped. */
export function jsDecode(value: string): string {
  if (!value.includes('\\')) return value
  let out = ''
  for (let at = 0; at < value.length; at++) {
    const character = value.charAt(at)
    if (character !== '\\' || at + 1 >= value.length) {
      out += character
      continue
    }
    const [text, length] = jsEscape(value, at + 1)
    out += text
    at += length
  }
  return out
}

function jsEscape(value: string, at: number): readonly [text: string, length: number] {
  const letter = value.charAt(at)
  if (letter === 'u') {
    const unit = hexWord(value, at + 1)
    if (unit >= 0) return [lowByte(unit), 5]
  } else if (letter === 'x') {
    const byte = hexByte(value, at + 1)
    if (byte >= 0) return [String.fromCharCode(byte), 3]
  } else if (isOctal(value.charCodeAt(at))) {
    const digits = octalDigits(value, at)
    return [String.fromCharCode(Number.parseInt(digits, 8)), digits.length]
  }
  return [LETTER_ESCAPES[letter] ?? letter, 1]
}

/** Up to three octal digits that make a byte. */
function octalDigits(value: string, at: number): string {
  let length = 1
  while (length < 3 && isOctal(value.charCodeAt(at + length))) length++
  if (length === 3 && value.charCodeAt(at) > 0x33) length = 2
  return value.slice(at, at + length)
}

/** Decodes CSS escapes of one to six hexadecimal digits to their low byte; a backslash before anything else is dropped. */
export function cssDecode(value: string): string {
  if (!value.includes('\\')) return value
  let out = ''
  for (let at = 0; at < value.length; at++) {
    if (value.charCodeAt(at) !== 0x5c) {
      out += value.charAt(at)
      continue
    }
    if (at + 1 >= value.length) break
    let length = 0
    while (length < 6 && hexDigit(value.charCodeAt(at + 1 + length)) >= 0) length++
    if (length === 0) {
      at += 1
      if (value.charAt(at) !== '\n') out += value.charAt(at)
      continue
    }
    const digits = value.slice(at + 1, at + 1 + length)
    out += cssCharacter(digits)
    at += length
    if (isSpace(value.charCodeAt(at + 1))) at += 1
  }
  return out
}

function cssCharacter(digits: string): string {
  const unit = Number.parseInt(digits.slice(-4), 16)
  const isWide = digits.length >= 4 && /^0*$/.test(digits.slice(0, -4))
  return isWide ? lowByte(unit) : String.fromCharCode(unit & 0xff)
}

/** Decodes ANSI C escapes; what is no escape stays, with its backslash. */
export function escapeSeqDecode(value: string): string {
  if (!value.includes('\\')) return value
  let out = ''
  for (let at = 0; at < value.length; at++) {
    const character = value.charAt(at)
    if (character !== '\\' || at + 1 >= value.length) {
      out += character
      continue
    }
    const next = value.charAt(at + 1)
    const letter = LETTER_ESCAPES[next]
    if (letter !== undefined) {
      out += letter
      at += 1
    } else if ('\\?\'"'.includes(next)) {
      out += next
      at += 1
    } else if (next === 'x' && hexByte(value, at + 2) >= 0) {
      out += String.fromCharCode(hexByte(value, at + 2))
      at += 3
    } else if (isOctal(value.charCodeAt(at + 1))) {
      let length = 1
      while (length < 3 && isOctal(value.charCodeAt(at + 1 + length))) length++
      out += String.fromCharCode(Number.parseInt(value.slice(at + 1, at + 1 + length), 8) & 0xff)
      at += length
    } else out += character
  }
  return out
}
