// Finds base64 in values, declared or evident, and decodes it; the result is bytes, or UTF-8 where they are UTF-16 text.
import { utf8Bytes } from './byte-text.ts'
import type { Part } from './inspected.ts'
import type { InspectionLimits } from './limits.ts'

type Limits = Pick<InspectionLimits, 'base64Shortest' | 'base64Total' | 'base64Values' | 'base64Layers'>

const LETTERS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/'
/** Value plus one of a character of base64 in either alphabet; 0: it is none. */
const ALPHABET = new Uint8Array(256)
for (let value = 0; value < LETTERS.length; value++) ALPHABET[LETTERS.charCodeAt(value)] = value + 1
ALPHABET[0x2d] = ALPHABET[0x2b] ?? 0
ALPHABET[0x5f] = ALPHABET[0x2f] ?? 0

/** Characters that are decoded to see whether all are worth it. */
const SAMPLE = 64

/** Beginnings that tell what binary content is: archives, serialised objects, programs, pictures, documents. */
const MAGIC = [
  'PK\x03\x04',
  'PK\x05\x06',
  '\x1f\x8b\x08',
  '\xac\xed\0\x05',
  '\0\x01\0\0\0\xff\xff\xff\xff',
  '\xff\x01',
  'MZ',
  '\x7fELF',
  '%PDF',
  '\x89PNG',
  '\xff\xd8\xff',
  'GIF8',
  'BZh',
  '7z\xbc\xaf',
  'Rar!',
  '\xfd7zXZ',
  '\x80\x04\x95',
] as const

/** Decodes base64 of either alphabet, blanks and missing padding allowed; null: it is none. */
export function decodeBase64(text: string): string | null {
  const packed = /\s/.test(text) ? text.replaceAll(/\s+/g, '') : text
  return /^[A-Za-z0-9+/_-]*={0,2}$/.test(packed) ? decodePacked(packed) : null
}

/** Decodes what is said to be base64 as the most lenient decoders do: every other character is left out. */
export function decodeDeclaredBase64(text: string): string {
  return decodePacked(text.replaceAll(/[^A-Za-z0-9+/_-]+/g, '')) ?? ''
}

/** @param packed characters of the alphabets, and padding at the end */
function decodePacked(packed: string): string | null {
  let plain = packed.includes('=') ? packed.slice(0, packed.indexOf('=')) : packed
  if (/[-_]/.test(plain)) plain = plain.replaceAll('-', '+').replaceAll('_', '/')
  if (plain.length % 4 === 1) plain = plain.slice(0, -1)
  return atob(plain)
}

/** Gathers what is base64 in the values that it is shown, within the limits of one request. */
export class Base64Search {
  readonly found: Part[] = []
  /** There was more than the limits allow. */
  exhausted = false
  readonly #values = new Set<string>()
  readonly #limits: Limits
  #remaining: number

  constructor(limits: Limits) {
    this.#limits = limits
    this.#remaining = limits.base64Total
  }

  /** Takes what is decoded already. */
  addDecoded(name: string, value: string, layer = 1): void {
    if (value === '') return
    const text = wideText(value) ?? value
    if (this.#values.has(text)) return
    if (this.found.length >= this.#limits.base64Values) {
      this.exhausted = true
      return
    }
    this.#values.add(text)
    this.found.push({ name, value: text })
    if (layer < this.#limits.base64Layers) this.add(name, text, false, layer + 1)
  }

  /** @param declared the format says that the value is base64 */
  add(name: string, value: string, declared: boolean, layer = 1): void {
    if (declared) {
      if (this.#spend(value.length)) this.addDecoded(name, decodeDeclaredBase64(value), layer)
      return
    }
    const { base64Shortest } = this.#limits
    if (value.length < base64Shortest) return
    const marked = value.includes(';base64,') ? dataUrl(value) : null
    if (marked !== null && this.#spend(marked.length))
      this.addDecoded(name, decodeDeclaredBase64(marked), layer)
    const whole = this.#spaced(value)
    if (whole !== null) return this.addDecoded(name, whole, layer)
    for (const run of runsOf(value, base64Shortest)) {
      if (!isPromising(run) || !convincing(decodePacked(run.slice(0, SAMPLE)) ?? '')) continue
      if (!this.#spend(run.length)) return
      this.addDecoded(name, decodePacked(run) ?? '', layer)
    }
  }

  #spend(characters: number): boolean {
    if (characters > this.#remaining) this.exhausted = true
    else this.#remaining -= characters
    return !this.exhausted
  }

  /** A value that is base64 but for blanks: forms make blanks of `+`. */
  #spaced(sent: string): string | null {
    if (!/\s/.test(sent)) return null
    const value = sent.trim()
    if (!isPromising(value) && !isPromising(value, ALPHABET[0x2b])) return null
    if (!/^[A-Za-z0-9+/_\s-]+={0,2}$/.test(value)) return null
    for (const packed of [
      value.replaceAll(/\s+/g, ''),
      value.replaceAll(/[ ]/g, '+').replaceAll(/\s+/g, ''),
    ]) {
      if (packed.length < this.#limits.base64Shortest) continue
      if (!isPromising(packed) || !convincing(decodePacked(packed.slice(0, SAMPLE)) ?? '')) continue
      return this.#spend(packed.length) ? decodePacked(packed) : null
    }
    return null
  }
}

/** What stands behind `data:...;base64,`; null: it is no such URL. */
function dataUrl(value: string): string | null {
  const mark = value.indexOf(';base64,')
  const start = mark < 0 ? -1 : value.lastIndexOf('data:', mark)
  if (start < 0 || mark - start > 200) return null
  return /^[A-Za-z0-9+/=_\s%-]*/.exec(value.slice(mark + 8))?.[0] ?? null
}

/** Runs of base64 of at least `shortest` characters; line ends within do not count. */
function runsOf(value: string, shortest: number): readonly string[] {
  const runs: string[] = []
  let from = -1
  let broken = false
  for (let at = 0; at <= value.length; at++) {
    const code = value.charCodeAt(at)
    if ((ALPHABET[code] ?? 0) > 0) {
      if (from < 0) from = at
      continue
    }
    if (from < 0) continue
    if (at - from >= shortest) {
      // Encoders fold long text into lines.
      const next = code === 0x0a ? at + 1 : code === 0x0d && value.charCodeAt(at + 1) === 0x0a ? at + 2 : 0
      if (next > 0 && (ALPHABET[value.charCodeAt(next)] ?? 0) > 0) {
        broken = true
        at = next
        continue
      }
      const run = value.slice(from, at)
      runs.push(broken ? run.replaceAll(/\s+/g, '') : run)
    }
    from = -1
    broken = false
  }
  return runs
}

const MAGIC_STARTS = new Set(MAGIC.map(magic => magic.charCodeAt(0)))
const PROBE_BYTES = 12

/**
 * Looks at the first bytes only, without decoding: most identifiers and digests are ruled out here.
 * @param blank what a blank stands for, as in `ALPHABET`; 0: nothing
 */
function isPromising(packed: string, blank = 0): boolean {
  let odd = 0
  let trail = 0
  let bits = 0
  let held = 0
  let bytes = 0
  for (let at = 0; at < packed.length && bytes < PROBE_BYTES; at++) {
    const code = packed.charCodeAt(at)
    const value = code === 0x20 ? blank : (ALPHABET[code] ?? 0)
    if (value === 0) {
      if (code > 0x20) break
      continue
    }
    bits = ((bits << 6) | (value - 1)) & 0xffff
    held += 6
    if (held < 8) continue
    held -= 8
    const byte = (bits >> held) & 0xff
    if (bytes++ === 0 && MAGIC_STARTS.has(byte)) return true
    // NUL bytes may be those of UTF-16.
    if (byte === 0) return true
    if (byte < 0x80) {
      if (trail > 0 || byte === 0x7f || (byte < 0x20 && byte !== 9 && byte !== 10 && byte !== 13)) odd++
      trail = 0
    } else if (trail > 0 && byte < 0xc0) trail--
    else {
      if (trail > 0 || byte < 0xc2 || byte > 0xf4) odd++
      trail = byte < 0xc2 ? 0 : byte < 0xe0 ? 1 : byte < 0xf0 ? 2 : 3
    }
  }
  return odd <= MAX_PROBE_ODD
}

const MAX_PROBE_ODD = 3

/** Whether bytes look like what somebody would encode: text, or a known kind of file. */
export function convincing(decoded: string): boolean {
  if (decoded.length < 8) return false
  for (const magic of MAGIC)
    if (decoded.startsWith(magic) && (magic.length > 2 || decoded.includes('\0'))) return true
  if (wideText(decoded) !== null) return true
  let odd = 0
  // Padding of C programs says nothing.
  let end = decoded.length
  while (end > 8 && decoded.charCodeAt(end - 1) === 0) end--
  for (let at = 0; at < end; at++) {
    const code = decoded.charCodeAt(at)
    if (code >= 0x20 && code < 0x7f) continue
    if (code === 9 || code === 10 || code === 13) continue
    const length = code >= 0xc2 && code < 0xe0 ? 1 : code >= 0xe0 && code < 0xf0 ? 2 : code >= 0xf0 ? 3 : 0
    if (length > 0 && isTrail(decoded, at + 1, length)) at += length
    else odd++
  }
  return odd * 12 <= end
}

function isTrail(text: string, at: number, length: number): boolean {
  for (let n = 0; n < length; n++) {
    const code = text.charCodeAt(at + n)
    // The sample may end within a character.
    if (!Number.isNaN(code) && (code & 0xc0) !== 0x80) return false
  }
  return true
}

/** Text in UTF-16 (PowerShell's -EncodedCommand) as UTF-8; null: it is not. */
function wideText(bytes: string): string | null {
  if (bytes.length < 8 || !bytes.includes('\0')) return null
  const sample = Math.min(bytes.length & ~1, 64)
  let low = 0
  let high = 0
  for (let at = 0; at < sample; at += 2) {
    const even = bytes.charCodeAt(at)
    const odd = bytes.charCodeAt(at + 1)
    if (odd === 0 && isPlain(even)) low++
    else if (even === 0 && isPlain(odd)) high++
  }
  const pairs = sample / 2
  if (low * 10 < pairs * 9 && high * 10 < pairs * 9) return null
  const first = low >= high ? 0 : 1
  let text = ''
  for (let at = 0; at + 1 < bytes.length; at += 2)
    text += String.fromCharCode(bytes.charCodeAt(at + first) | (bytes.charCodeAt(at + 1 - first) << 8))
  return utf8Bytes(text)
}

function isPlain(code: number): boolean {
  return (code >= 0x20 && code < 0x7f) || code === 9 || code === 10 || code === 13
}
