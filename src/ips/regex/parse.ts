// Reads the pattern dialect (RE2's, and what the Core Rule Set uses of PCRE) into its parsed form, or says what is wrong.
import { complement, EVERY, foldCase, NEWLINE, normalise } from './char-set.ts'
import { readClass } from './parse-class.ts'
import { Cursor, readEscape, SyntaxProblem } from './parse-escape.ts'
import type { CharSet } from './requirement.ts'
import { EMPTY, type Assertion, type Node, type Syntax } from './syntax.ts'
import type { PatternFlags, PatternProblem } from './types.ts'

const MAX_SOURCE = 64 * 1024
const MAX_DEPTH = 200
const MAX_REPEAT = 1000

type Flags = { readonly i: boolean; readonly s: boolean; readonly m: boolean }

/** Reads a pattern. Look-around, back-references, atomic groups and possessive quantifiers are refused by name. */
export function parsePattern(source: string, flags: PatternFlags): Syntax | PatternProblem {
  if (source.length > MAX_SOURCE) {
    return { message: `is longer than ${MAX_SOURCE} characters`, column: MAX_SOURCE + 1 }
  }
  try {
    return new Parser(source, flags).read()
  } catch (error) {
    if (error instanceof SyntaxProblem) return { message: error.message, column: error.at + 1 }
    throw error
  }
}

class Parser {
  readonly #cursor: Cursor
  readonly #names = new Map<string, number>()
  #flags: Flags
  #groups = 0
  #depth = 0

  constructor(source: string, flags: PatternFlags) {
    this.#cursor = new Cursor(source)
    this.#flags = {
      i: flags.ignoreCase ?? false,
      s: flags.dotAll ?? false,
      m: flags.multiLine ?? false,
    }
  }

  read(): Syntax {
    const root = this.#readChoice()
    if (!this.#cursor.atEnd) throw new SyntaxProblem('has a ) that closes nothing', this.#cursor.at)
    return { root, groups: this.#groups, names: this.#names }
  }

  #readChoice(): Node {
    const parts = [this.#readConcat()]
    while (this.#cursor.take('|')) parts.push(this.#readConcat())
    return joinChoice(parts)
  }

  #readConcat(): Node {
    const parts: Node[] = []
    const cursor = this.#cursor
    while (!cursor.atEnd && cursor.peek() !== '|' && cursor.peek() !== ')') {
      if (cursor.take('\\Q')) {
        this.#readQuoted(parts)
        continue
      }
      const atom = this.#readAtom()
      if (atom === null) this.#refuseQuantifier()
      else parts.push(this.#readQuantifier(atom))
    }
    return parts.length === 1 ? (parts[0] ?? EMPTY) : parts.length === 0 ? EMPTY : { kind: 'concat', parts }
  }

  /** Everything up to `\E` stands for itself; only the last character can be repeated. */
  #readQuoted(parts: Node[]): void {
    const cursor = this.#cursor
    while (!cursor.atEnd && !cursor.take('\\E')) parts.push(this.#literal(cursor.next()))
    const last = parts.pop()
    if (last !== undefined) parts.push(this.#readQuantifier(last))
  }

  /** One part that a quantifier may follow; null: something without a meaning of its own, such as a flag. */
  #readAtom(): Node | null {
    const cursor = this.#cursor
    const from = cursor.at
    const char = cursor.next()
    switch (char) {
      case '(':
        return this.#readGroup(from)
      case '[':
        return this.#readClass(from)
      case '.':
        return { kind: 'set', set: this.#flags.s ? EVERY : complement(NEWLINE) }
      case '^':
        return assertion(this.#flags.m ? 'line-start' : 'start')
      case '$':
        return assertion(this.#flags.m ? 'line-end' : 'end')
      case '\\':
        return this.#readEscaped(from)
      case '*':
      case '+':
      case '?':
        throw new SyntaxProblem(`has a ${char} with nothing before it to repeat`, from)
      case '{':
        if (readBraces(cursor, from) !== null) {
          throw new SyntaxProblem('has a repeat count with nothing before it to repeat', from)
        }
        cursor.next()
        return this.#literal(char)
      default:
        return this.#literal(char)
    }
  }

  /** Case folds before the complement: `[^a]` without regard to case excludes `A` as well. */
  #readClass(from: number): Node {
    const { set, negated } = readClass(this.#cursor, from)
    const folded = this.#flags.i ? foldCase(set) : set
    return { kind: 'set', set: negated ? complement(folded) : folded }
  }

  #readEscaped(from: number): Node | null {
    const escape = readEscape(this.#cursor, from, false)
    if (escape.kind === 'nothing') return null
    return escape.kind === 'assert' ? assertion(escape.what) : this.#set(escape.set)
  }

  #literal(char: string): Node {
    const unit = char.charCodeAt(0)
    return this.#set([[unit, unit]])
  }

  #set(set: CharSet): Node {
    return { kind: 'set', set: this.#flags.i ? foldCase(set) : normalise(set) }
  }

  #readGroup(from: number): Node | null {
    const cursor = this.#cursor
    const outer = this.#flags
    let index = -1
    if (cursor.take('?')) {
      if (cursor.take('#')) {
        while (!cursor.take(')')) cursor.next()
        return null
      }
      const name = this.#readName(from)
      if (name !== null) index = this.#nameGroup(name, from)
      else if (!cursor.take(':') && this.#readFlags(from)) return null
    } else if (cursor.peek() === '*') {
      throw new SyntaxProblem('uses a verb (*...), which the rule dialect does not have', from)
    } else index = ++this.#groups
    if (++this.#depth > MAX_DEPTH) throw new SyntaxProblem(`nests groups more than ${MAX_DEPTH} deep`, from)
    const part = this.#readChoice()
    if (!cursor.take(')')) throw new SyntaxProblem('has a ( that is not closed', from)
    this.#depth--
    this.#flags = outer
    return index === -1 ? part : { kind: 'group', part, index }
  }

  #readName(from: number): string | null {
    const cursor = this.#cursor
    for (const opening of ['P<', '<', "'"]) {
      if (!cursor.ahead(opening)) continue
      const close = opening === "'" ? "'" : '>'
      if (cursor.ahead('<=') || cursor.ahead('<!')) return null
      cursor.take(opening)
      const start = cursor.at
      while (!cursor.take(close)) cursor.next()
      const name = cursor.source.slice(start, cursor.at - 1)
      if (!/^[A-Za-z_]\w{0,31}$/.test(name)) {
        throw new SyntaxProblem('has a group name that is not 1 to 32 letters, digits or _', from)
      }
      return name
    }
    return null
  }

  #nameGroup(name: string, from: number): number {
    if (this.#names.has(name)) throw new SyntaxProblem(`names two groups ${name}`, from)
    this.#names.set(name, ++this.#groups)
    return this.#groups
  }

  /** Reads `i-s:` or `i)`. @returns whether the group is only flags for the rest of the group around it */
  #readFlags(from: number): boolean {
    const cursor = this.#cursor
    const flags = { ...this.#flags }
    let on = true
    let read = false
    for (;;) {
      const char = cursor.peek()
      if (char === 'i' || char === 's' || char === 'm') flags[char] = on
      else if (char === '-' && on) on = false
      else if (read && (char === ')' || char === ':')) break
      else throw new SyntaxProblem(refusedGroup(cursor), from)
      cursor.next()
      read = true
    }
    this.#flags = flags
    return cursor.next() === ')'
  }

  #readQuantifier(part: Node): Node {
    const cursor = this.#cursor
    const from = cursor.at
    const range = this.#readRange()
    if (range === null) return part
    const lazy = cursor.take('?')
    if (!lazy && cursor.peek() === '+') {
      throw new SyntaxProblem('uses a possessive quantifier, which the rule dialect does not have', from)
    }
    this.#refuseQuantifier()
    const [min, max] = range
    if (max < min) throw new SyntaxProblem('has a repeat count whose end is below its start', from)
    if (min > MAX_REPEAT || (max !== Infinity && max > MAX_REPEAT)) {
      throw new SyntaxProblem(`repeats more than ${MAX_REPEAT} times`, from)
    }
    if (max === 0 && containsGroup(part)) return { kind: 'repeat', part, min, max, lazy }
    return max === 0 ? EMPTY : simplerRepeat({ kind: 'repeat', part, min, max, lazy })
  }

  #readRange(): readonly [number, number] | null {
    const cursor = this.#cursor
    if (cursor.take('*')) return [0, Infinity]
    if (cursor.take('+')) return [1, Infinity]
    if (cursor.take('?')) return [0, 1]
    const from = cursor.at
    return cursor.take('{') ? readBraces(cursor, from) : null
  }

  #refuseQuantifier(): void {
    const cursor = this.#cursor
    const from = cursor.at
    if (this.#readRange() !== null) throw new SyntaxProblem('repeats what cannot be repeated', from)
  }
}

/** Reads `{n}`, `{n,}` or `{n,m}` from its brace on; null, with the cursor at the brace, when it is not one. */
function readBraces(cursor: Cursor, from: number): readonly [number, number] | null {
  const found = /^\{(\d{1,9})(,(\d{0,9}))?\}/.exec(cursor.source.slice(from, from + 24))
  if (found === null) {
    cursor.at = from
    return null
  }
  cursor.at = from + found[0].length
  const min = Number(found[1])
  return [min, found[2] === undefined ? min : found[3] ? Number(found[3]) : Infinity]
}

function refusedGroup(cursor: Cursor): string {
  const not = 'which the rule dialect does not have'
  if (cursor.ahead('=') || cursor.ahead('!')) return `uses look-ahead, ${not}`
  if (cursor.ahead('<=') || cursor.ahead('<!')) return `uses look-behind, ${not}`
  if (cursor.ahead('>')) return `uses an atomic group, ${not}`
  if (cursor.ahead('|')) return `uses a branch reset, ${not}`
  if (cursor.ahead('(')) return `uses a condition, ${not}`
  if (cursor.ahead('P=')) return `uses a back-reference, ${not}`
  if (/^(?:R|P>|&|[+-]?\d)/.test(cursor.source.slice(cursor.at, cursor.at + 3)))
    return `uses recursion, ${not}`
  return 'has an unknown kind of group after (?; flags are i, s and m'
}

function assertion(what: Assertion): Node {
  return { kind: 'assert', what }
}

/** A choice between single characters is a set, which is cheaper and says more. */
function joinChoice(parts: readonly Node[]): Node {
  const joined: Node[] = []
  for (const part of parts) {
    const before = joined.at(-1)
    if (part.kind === 'set' && before?.kind === 'set') {
      joined[joined.length - 1] = { kind: 'set', set: normalise([...before.set, ...part.set]) }
    } else joined.push(part)
  }
  return joined.length === 1 ? (joined[0] ?? EMPTY) : { kind: 'choice', parts: joined }
}

function containsGroup(node: Node): boolean {
  switch (node.kind) {
    case 'group':
      return true
    case 'concat':
    case 'choice':
      return node.parts.some(containsGroup)
    case 'repeat':
      return containsGroup(node.part)
    case 'empty':
    case 'set':
    case 'assert':
      return false
  }
}

/** An assertion that is repeated holds as often as once; nothing repeated is nothing. */
function simplerRepeat(node: Node & { kind: 'repeat' }): Node {
  if (node.min === 1 && node.max === 1) return node.part
  if (node.part.kind === 'assert') return node.min === 0 ? EMPTY : node.part
  return node.part.kind === 'empty' ? EMPTY : node
}
