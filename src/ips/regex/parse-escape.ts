// Reads what follows a backslash in a pattern.
import {
  complement,
  DIGIT,
  HORIZONTAL_SPACE,
  LAST_UNIT,
  NEWLINE,
  SPACE,
  VERTICAL_SPACE,
  WORD,
} from './char-set.ts'
import type { CharSet } from './requirement.ts'
import type { Assertion } from './syntax.ts'

/** What is wrong with a pattern; `at` counts from 0. */
export class SyntaxProblem extends Error {
  readonly at: number

  constructor(message: string, at: number) {
    super(message)
    this.at = at
  }
}

/** A place in the source of a pattern. */
export class Cursor {
  readonly source: string
  at = 0

  constructor(source: string) {
    this.source = source
  }

  get atEnd(): boolean {
    return this.at >= this.source.length
  }

  /** The next character without reading it; empty at the end. */
  peek(): string {
    return this.source[this.at] ?? ''
  }

  next(): string {
    const char = this.source[this.at]
    if (char === undefined) throw new SyntaxProblem('ends too early', this.at)
    this.at++
    return char
  }

  ahead(text: string): boolean {
    return this.source.startsWith(text, this.at)
  }

  /** Reads the text if it comes next. */
  take(text: string): boolean {
    if (!this.ahead(text)) return false
    this.at += text.length
    return true
  }
}

/** What an escape means: characters, a place, or nothing (`\E` alone). `single` is the one character it names. */
export type Escape =
  | { readonly kind: 'set'; readonly set: CharSet; readonly single: number | null }
  | { readonly kind: 'assert'; readonly what: Assertion }
  | { readonly kind: 'nothing' }

const SETS: ReadonlyMap<string, CharSet> = new Map([
  ['d', DIGIT],
  ['D', complement(DIGIT)],
  ['w', WORD],
  ['W', complement(WORD)],
  ['s', SPACE],
  ['S', complement(SPACE)],
  ['h', HORIZONTAL_SPACE],
  ['H', complement(HORIZONTAL_SPACE)],
  ['v', VERTICAL_SPACE],
  ['V', complement(VERTICAL_SPACE)],
  ['N', complement(NEWLINE)],
])

const UNITS: ReadonlyMap<string, number> = new Map([
  ['a', 0x07],
  ['e', 0x1b],
  ['f', 0x0c],
  ['n', 0x0a],
  ['r', 0x0d],
  ['t', 0x09],
])

const PLACES: ReadonlyMap<string, Assertion> = new Map([
  ['A', 'start'],
  ['z', 'end'],
  ['Z', 'last-line'],
  ['b', 'word-boundary'],
  ['B', 'not-word-boundary'],
])

const NOT_HERE = 'which the rule dialect does not have'

const REFUSED: ReadonlyMap<string, string> = new Map([
  ['k', `uses a back-reference, ${NOT_HERE}`],
  ['g', `uses a back-reference, ${NOT_HERE}`],
  ['p', `uses a Unicode property, ${NOT_HERE}; name the characters with [ ] and \\x{...}`],
  ['P', `uses a Unicode property, ${NOT_HERE}; name the characters with [ ] and \\x{...}`],
  ['R', `uses \\R, ${NOT_HERE}; write (?:\\r\\n|\\v)`],
  ['X', `uses \\X, ${NOT_HERE}`],
  ['K', `uses \\K, ${NOT_HERE}`],
  ['G', `uses \\G, ${NOT_HERE}`],
  ['C', `uses \\C, ${NOT_HERE}; write (?s:.)`],
  ['u', `uses \\u, ${NOT_HERE}; write \\x{...}`],
])

/** Reads an escape whose backslash at `from` was read. */
export function readEscape(cursor: Cursor, from: number, inClass: boolean): Escape {
  const char = cursor.next()
  const set = SETS.get(char)
  if (set !== undefined && !(inClass && char === 'N')) return { kind: 'set', set, single: null }
  if (inClass && char === 'b') return one(0x08)
  const what = PLACES.get(char)
  if (what !== undefined && !inClass) return { kind: 'assert', what }
  if (what !== undefined) throw new SyntaxProblem(`uses the anchor \\${char} within [ ]`, from)
  if (char === 'E') return { kind: 'nothing' }
  const unit = UNITS.get(char)
  if (unit !== undefined) return one(unit)
  if (char === 'x') return one(readHexadecimal(cursor, from))
  if (char === 'c') return one(readControl(cursor, from))
  if (char === '0') return one(readOctal(cursor, 2))
  if (char >= '1' && char <= '9') {
    if (!inClass || char > '7') {
      throw new SyntaxProblem(`uses a back-reference or an octal number without 0, ${NOT_HERE}`, from)
    }
    cursor.at--
    return one(readOctal(cursor, 3))
  }
  const refused = REFUSED.get(char)
  if (refused !== undefined) throw new SyntaxProblem(refused, from)
  if (/[A-Za-z]/.test(char)) throw new SyntaxProblem(`has the unknown escape \\${char}`, from)
  return one(char.charCodeAt(0))
}

function one(unit: number): Escape {
  return { kind: 'set', set: [[unit, unit]], single: unit }
}

function readHexadecimal(cursor: Cursor, from: number): number {
  const found = /^(?:\{([0-9a-fA-F]{1,8})\}|([0-9a-fA-F]{1,2}))/.exec(
    cursor.source.slice(cursor.at, cursor.at + 10),
  )
  if (found === null) throw new SyntaxProblem('has \\x without hexadecimal digits', from)
  cursor.at += found[0].length
  const unit = Number.parseInt(found[1] ?? found[2] ?? '', 16)
  if (unit > LAST_UNIT) {
    throw new SyntaxProblem('names a character above U+FFFF; write it as two \\x{...} (UTF-16)', from)
  }
  return unit
}

function readOctal(cursor: Cursor, digits: number): number {
  const found = /^[0-7]*/.exec(cursor.source.slice(cursor.at, cursor.at + digits))?.[0] ?? ''
  cursor.at += found.length
  return found === '' ? 0 : Number.parseInt(found, 8)
}

function readControl(cursor: Cursor, from: number): number {
  const char = cursor.next().toUpperCase()
  if (char < '@' || char > '_') throw new SyntaxProblem('has \\c without a letter', from)
  return char.charCodeAt(0) - 0x40
}
