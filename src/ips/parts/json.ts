// Reads JSON the way strict and lenient servers do: duplicates kept, comments, other quotes and late commas tolerated.
import { codePointBytes, hexValue } from './byte-text.ts'
import type { BodyProblem, Part } from './inspected.ts'
import type { InspectionLimits } from './limits.ts'

/** What a JSON document was taken apart into. */
export type JsonParts = {
  /** Leaves, `name` being the keys on the way to them joined by dots. */
  readonly parts: readonly Part[]
  readonly problems: ReadonlySet<BodyProblem>
}

type Limits = Pick<InspectionLimits, 'jsonDepth' | 'jsonLeaves' | 'jsonPathBytes'>

/** A way of keys from the top. Lists of records go the same ways again and again. */
type Way = {
  /** The keys, joined by dots; null: the top. */
  readonly keys: string | null
  /** The same without numbers, which say nothing that a rule could name. */
  readonly named: string
  on: Map<string, Way> | null
}

type Frame = {
  readonly way: Way
  readonly isArray: boolean
  /** Path of what is inside, with a dot at its end; empty at the top. */
  readonly prefix: string
  /** The key whose value comes next; null: a key comes next. Arrays have none. */
  key: string | null
  index: number
  first: string | null
  seen: Set<string> | null
  /** Anything was inside. */
  filled: boolean
}

/** What RFC 8259 allows next. Everything else is read all the same and makes the document broken. */
type Expected = 'value' | 'value-or-end' | 'key' | 'key-or-end' | 'colon' | 'comma-or-end' | 'nothing'

/**
 * Reads a JSON document of bytes in UTF-8. Strings have their escapes resolved to UTF-8, numbers and literals stay as they are
 * written, empty arrays and objects count as leaves without a value. A document that strict parsers refuse is read as far as it
 * makes sense, and its whole text is one more value without a name, so that no way of reading it hides anything.
 * @param complete false when the end is missing because the body is, which is no fault of the document
 */
export function readJson(text: string, complete: boolean, limits: Limits): JsonParts {
  const reader = new JsonReader(text, limits)
  reader.read()
  const isCut = reader.isUnterminated || (reader.expected !== 'nothing' && !reader.gaveUp)
  if (isCut && complete) reader.problems.add('json-broken')
  if (reader.problems.has('json-broken')) reader.parts.push({ name: '', value: text })
  else if (reader.gaveUp) reader.parts.push({ name: '', value: text.slice(reader.at) })
  return { parts: reader.parts, problems: reader.problems }
}

// Numbers between dots.
const INDEX = /(?:^|\.)\d/
const INDEXES = /(?:^|\.)\d+(?=\.|$)/g

/** The name of a value without places in lists and other numbers. */
export function withoutIndexes(name: string): string {
  if (!INDEX.test(name)) return name
  const named = name.replaceAll(INDEXES, '')
  return named.startsWith('.') ? named.slice(1) : named
}

function wayOn(from: Way, key: string): Way {
  let way = from.on?.get(key)
  if (way === undefined) {
    const keys = from.keys === null ? key : `${from.keys}.${key}`
    way = { keys, named: withoutIndexes(keys), on: null }
    from.on ??= new Map()
    from.on.set(key, way)
  }
  return way
}

const NUMBER = /^-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?$/
const MARK = '\xef\xbb\xbf'

class JsonReader {
  readonly parts: Part[] = []
  readonly problems = new Set<BodyProblem>()
  at = 0
  expected: Expected = 'value'
  /** A limit was met; nothing from `at` on was read. */
  gaveUp = false
  /** The document ends within a string. */
  isUnterminated = false
  readonly #text: string
  readonly #limits: Limits
  readonly #stack: Frame[] = []
  #top: Frame | null = null
  readonly #start: Way = { keys: null, named: '', on: null }

  constructor(text: string, limits: Limits) {
    this.#text = text
    this.#limits = limits
    if (text.startsWith(MARK)) this.at = MARK.length
  }

  read(): void {
    for (;;) {
      this.#skipBlank()
      if (this.at >= this.#text.length) {
        if (this.#top !== null) this.#keyWithoutValue(this.#top)
        return
      }
      if (this.parts.length >= this.#limits.jsonLeaves) return this.#giveUp('json-count')
      switch (this.#text.charCodeAt(this.at)) {
        case 0x7b:
          if (!this.#open(false)) return
          break
        case 0x5b:
          if (!this.#open(true)) return
          break
        case 0x7d:
          this.#close(false)
          break
        case 0x5d:
          this.#close(true)
          break
        case 0x2c:
          this.#comma()
          break
        case 0x3a:
          if (this.expected !== 'colon') this.#broken()
          this.expected = 'value'
          this.at++
          break
        default:
          this.#token()
      }
    }
  }

  #giveUp(problem: BodyProblem): void {
    this.problems.add(problem)
    this.gaveUp = true
  }

  #broken(): void {
    this.problems.add('json-broken')
  }

  #open(isArray: boolean): boolean {
    if (this.#stack.length >= this.#limits.jsonDepth) {
      this.#giveUp('json-depth')
      return false
    }
    if (this.expected !== 'value' && this.expected !== 'value-or-end') this.#broken()
    const top = this.#top
    let prefix = ''
    let way = this.#start
    if (top !== null) {
      way = this.#nextWay(top)
      const name = this.#nextName(top)
      if (name.length > this.#limits.jsonPathBytes) {
        this.parts.push({ name: name.slice(top.prefix.length), value: '' })
        prefix = top.prefix
        way = top.way
      } else prefix = `${name}.`
      if (!top.isArray) top.key = null
    }
    const frame = { way, isArray, prefix, key: null, index: 0, first: null, seen: null, filled: false }
    this.#stack.push(frame)
    this.#top = frame
    this.expected = isArray ? 'value-or-end' : 'key-or-end'
    this.at++
    return true
  }

  #close(isArray: boolean): void {
    this.at++
    const top = this.#top
    if (top === null || top.isArray !== isArray) return this.#broken()
    if (this.expected !== 'comma-or-end' && this.expected !== (isArray ? 'value-or-end' : 'key-or-end'))
      this.#broken()
    this.#keyWithoutValue(top)
    this.#stack.pop()
    this.#top = this.#stack.at(-1) ?? null
    if (!top.filled && top.prefix !== '')
      this.parts.push({ name: top.prefix.slice(0, -1), value: '', keys: top.way.named })
    this.expected = this.#top === null ? 'nothing' : 'comma-or-end'
  }

  #comma(): void {
    this.at++
    if (this.expected !== 'comma-or-end') this.#broken()
    const top = this.#top
    if (top === null) return
    this.#keyWithoutValue(top)
    this.expected = top.isArray ? 'value' : 'key'
  }

  /** Lenient readers take `{a, b}` for names. */
  #keyWithoutValue(top: Frame): void {
    if (top.key === null) return
    this.parts.push({ name: top.prefix + top.key, value: '', keys: this.#nextWay(top).named })
    top.key = null
  }

  #token(): void {
    const code = this.#text.charCodeAt(this.at)
    const quoted = code === 0x22 || code === 0x27 || code === 0x60
    const token = quoted ? this.#string(code) : this.#bare()
    const top = this.#top
    if (top !== null && !top.isArray && top.key === null) {
      if ((this.expected !== 'key' && this.expected !== 'key-or-end') || code !== 0x22) this.#broken()
      this.#key(top, token)
      return
    }
    if (this.expected !== 'value' && this.expected !== 'value-or-end') this.#broken()
    if (!quoted && token !== 'true' && token !== 'false' && token !== 'null' && !NUMBER.test(token))
      this.#broken()
    const keys = top === null ? '' : this.#nextWay(top).named
    this.parts.push({ name: top === null ? '' : this.#nextName(top), value: token, keys })
    if (top !== null) top.key = null
    this.expected = top === null ? 'nothing' : 'comma-or-end'
  }

  #key(top: Frame, key: string): void {
    top.key = key
    this.expected = 'colon'
    top.filled = true
    if (top.first === null) top.first = key
    else {
      top.seen ??= new Set([top.first])
      if (top.seen.has(key)) this.problems.add('json-duplicate')
      else top.seen.add(key)
    }
  }

  #nextWay({ way, key, isArray }: Frame): Way {
    return isArray ? way : wayOn(way, key ?? '')
  }

  /** Name of the value that comes next inside of a container. */
  #nextName(top: Frame): string {
    top.filled = true
    return top.prefix + (top.isArray ? String(top.index++) : (top.key ?? ''))
  }

  #bare(): string {
    const text = this.#text
    const from = this.at
    let at = from
    for (; at < text.length; at++) {
      const code = text.charCodeAt(at)
      if (code <= 0x20 || code === 0x2c || code === 0x3a || code === 0x5d || code === 0x7d) break
      if (code === 0x5b || code === 0x7b || code === 0x22 || code === 0x27 || code === 0x60) break
      if (code === 0x2f && at > from && (text[at + 1] === '/' || text[at + 1] === '*')) break
    }
    // A lone slash is a token, so that every round takes at least one character.
    this.at = Math.max(at, from + 1)
    return text.slice(from, this.at)
  }

  #string(quote: number): string {
    const text = this.#text
    if (quote !== 0x22) this.#broken()
    let from = this.at + 1
    let out = ''
    for (let at = from; ; at++) {
      const code = text.charCodeAt(at)
      if (code === quote) {
        this.at = at + 1
        return from === at ? out : out + text.slice(from, at)
      }
      if (code === 0x5c) {
        out += text.slice(from, at)
        this.at = at + 1
        out += this.#escape()
        from = this.at
        at = from - 1
      } else if (code < 0x20) this.#broken()
      else if (at >= text.length) {
        this.isUnterminated = true
        this.at = text.length
        return out + text.slice(from)
      }
    }
  }

  /** Resolves the escape whose backslash was just passed. Unknown ones stand for their character, as in JSON5. */
  #escape(): string {
    const text = this.#text
    const code = text.charCodeAt(this.at++)
    switch (code) {
      case 0x22:
      case 0x5c:
      case 0x2f:
        return String.fromCharCode(code)
      case 0x62:
        return '\b'
      case 0x66:
        return '\f'
      case 0x6e:
        return '\n'
      case 0x72:
        return '\r'
      case 0x74:
        return '\t'
      case 0x75: {
        const unit = this.#hex(4)
        if (unit < 0) break
        if (unit >= 0xd800 && unit < 0xdc00 && text.startsWith('\\u', this.at)) {
          const before = this.at
          this.at += 2
          const low = this.#hex(4)
          if (low >= 0xdc00 && low < 0xe000)
            return codePointBytes(0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00))
          this.at = before
        }
        return codePointBytes(unit)
      }
      case 0x78: {
        this.#broken()
        const unit = this.#hex(2)
        return unit < 0 ? 'x' : codePointBytes(unit)
      }
    }
    this.#broken()
    return Number.isNaN(code) ? '\\' : String.fromCharCode(code)
  }

  /** The number that the next hexadecimal digits write; -1, and nothing taken: there are too few. */
  #hex(digits: number): number {
    let value = 0
    for (let n = 0; n < digits; n++) {
      const digit = hexValue(this.#text.charCodeAt(this.at + n))
      if (digit < 0) return -1
      value = value * 16 + digit
    }
    this.at += digits
    return value
  }

  #skipBlank(): void {
    const text = this.#text
    for (; this.at < text.length; this.at++) {
      const code = text.charCodeAt(this.at)
      if (code === 0x20 || code === 0x0a || code === 0x0d || code === 0x09) continue
      if (code < 0x20) this.#broken()
      else if (code !== 0x2f && code !== 0x23) return
      else if (!this.#skipComment(code)) return
    }
  }

  /** Leaves `at` on the last character of the comment. */
  #skipComment(code: number): boolean {
    const next = this.#text.charCodeAt(this.at + 1)
    if (code === 0x2f && next !== 0x2f && next !== 0x2a) return false
    this.#broken()
    const block = code === 0x2f && next === 0x2a
    const end = this.#text.indexOf(block ? '*/' : '\n', this.at + (block ? 2 : 1))
    this.at = end < 0 ? this.#text.length : end + (block ? 1 : 0)
    return true
  }
}
