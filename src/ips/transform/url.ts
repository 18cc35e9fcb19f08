// Percent escapes: urlDecode, urlDecodeUni, urlEncode and utf8toUnicode of the ModSecurity language.
import { bestFit, hexByte, hexWord } from './characters.ts'

/** Decodes `%XX` and `+`; what is no escape stays. */
export function urlDecode(value: string): string {
  if (!value.includes('%')) return value.includes('+') ? value.replaceAll('+', ' ') : value
  return decode(value, false)
}

/** Like urlDecode, with `%uXXXX` as IIS reads it: full-width and other look-alikes become their ASCII characters. */
export function urlDecodeUni(value: string): string {
  if (!value.includes('%')) return value.includes('+') ? value.replaceAll('+', ' ') : value
  return decode(value, true)
}

function decode(value: string, unicode: boolean): string {
  let out = ''
  let from = 0
  for (let at = 0; at < value.length; at++) {
    const code = value.charCodeAt(at)
    if (code === 0x2b) {
      out += `${value.slice(from, at)} `
      from = at + 1
      continue
    }
    if (code !== 0x25) continue
    const byte = hexByte(value, at + 1)
    if (byte >= 0) {
      out += value.slice(from, at) + String.fromCharCode(byte)
      from = at + 3
      at += 2
      continue
    }
    if (!unicode || (value.charCodeAt(at + 1) | 0x20) !== 0x75) continue
    const unit = hexWord(value, at + 2)
    if (unit < 0) continue
    out += value.slice(from, at) + bestFit(unit)
    from = at + 6
    at += 5
  }
  return from === 0 ? value : out + value.slice(from)
}

/** Escapes everything but letters, digits and `*`; a space becomes `+`. */
export function urlEncode(value: string): string {
  return value.replaceAll(/[^a-zA-Z0-9*]/g, character =>
    character === ' ' ? '+' : `%${hex(character.charCodeAt(0) & 0xff, 2)}`,
  )
}

/** Writes multi-byte UTF-8 characters as `%uXXXX`, so that urlDecodeUni can find their look-alikes; other bytes stay. */
export function utf8toUnicode(value: string): string {
  if (!/[\x80-\xff]/.test(value)) return value
  let out = ''
  for (let at = 0; at < value.length; at++) {
    const [point, length] = utf8At(value, at)
    out += length > 1 ? `%u${hex(point, 4)}` : value.charAt(at)
    at += length - 1
  }
  return out
}

function hex(value: number, digits: number): string {
  return value.toString(16).padStart(digits, '0')
}

/** The character that begins at a place, and its length in bytes; 1 for ASCII and for bytes that begin no character. */
function utf8At(value: string, at: number): readonly [point: number, length: number] {
  const lead = value.charCodeAt(at)
  const length =
    lead >= 0xc0 && lead < 0xe0 ? 2 : lead >= 0xe0 && lead < 0xf0 ? 3 : lead >= 0xf0 && lead < 0xf8 ? 4 : 1
  if (length === 1 || at + length > value.length) return [lead, 1]
  let point = lead & (0x7f >> length)
  for (let index = 1; index < length; index++) {
    const next = value.charCodeAt(at + index)
    if ((next & 0xc0) !== 0x80) return [lead, 1]
    point = (point << 6) | (next & 0x3f)
  }
  return [point, length]
}
