// Operators that say where a value is not well formed.
import type { Requirement } from '../regex/requirement.ts'
import type { Operator, Place } from '../rule.ts'
import { hexByte } from '../transform/characters.ts'

/** Finds the first byte outside of ranges such as `9,10,32-126`; a text: what is wrong with the ranges. */
export function validateByteRange(ranges: string): Pick<Operator, 'find' | 'requires'> | string {
  const allowed = new Uint8Array(256)
  for (const range of ranges.split(',').map(text => text.trim())) {
    const read = /^(\d{1,3})(?:\s*-\s*(\d{1,3}))?$/.exec(range)
    const from = Number(read?.[1])
    const to = Number(read?.[2] ?? read?.[1])
    if (read === null || from > to || to > 255)
      return `${JSON.stringify(range.slice(0, 30))} is not a range of bytes`
    allowed.fill(1, from, to + 1)
  }
  const find = (value: string): Place | null => {
    for (let at = 0; at < value.length; at++) {
      if (allowed[value.charCodeAt(at) & 0xff] === 0) return { at, length: 1 }
    }
    return null
  }
  return { find, requires: outside(allowed) }
}

/** One character that is not allowed, or more than a byte. */
function outside(allowed: Uint8Array): Requirement {
  const set: [number, number][] = []
  for (let byte = 0; byte < 256; byte++) {
    const last = set.at(-1)
    if (allowed[byte] === 1) continue
    if (last !== undefined && last[1] === byte - 1) last[1] = byte
    else set.push([byte, byte])
  }
  set.push([256, 0xffff])
  return [[set]]
}

/** Finds a percent sign that begins no escape. */
export function validateUrlEncoding(value: string): Place | null {
  for (let at = value.indexOf('%'); at >= 0; at = value.indexOf('%', at + 1)) {
    if (hexByte(value, at + 1) < 0) return { at, length: Math.min(3, value.length - at) }
  }
  return null
}

/** Finds a sequence that is not UTF-8: cut short, overlong, a surrogate, beyond the last character. */
export function validateUtf8Encoding(value: string): Place | null {
  for (let at = 0; at < value.length; at++) {
    const lead = value.charCodeAt(at)
    if (lead < 0x80) continue
    const length = sequenceLength(lead)
    if (length === 0 || at + length > value.length) return { at, length: 1 }
    for (let index = 1; index < length; index++) {
      if ((value.charCodeAt(at + index) & 0xc0) !== 0x80) return { at, length: index }
    }
    const second = value.charCodeAt(at + 1)
    const isOverlong = (lead === 0xe0 && second < 0xa0) || (lead === 0xf0 && second < 0x90)
    const isNoCharacter = (lead === 0xed && second >= 0xa0) || (lead === 0xf4 && second >= 0x90)
    if (isOverlong || isNoCharacter) return { at, length }
    at += length - 1
  }
  return null
}

function sequenceLength(lead: number): number {
  if (lead >= 0xc2 && lead <= 0xdf) return 2
  if (lead >= 0xe0 && lead <= 0xef) return 3
  return lead >= 0xf0 && lead <= 0xf4 ? 4 : 0
}
