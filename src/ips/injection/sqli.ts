// Tells whether a value, put into an SQL statement, would change what the statement does. Own design; linear in the length.
import { evidenceOf } from './sql-shapes.ts'
import { callKind, pairKind, wordKind } from './sql-words.ts'
import { SqlTokens, type SqlContext } from './sql-tokens.ts'

/**
 * What is needed before a closer look pays: a quote, a comment, a comparison, a call, or a word that begins a clause.
 * Names, numbers, dates, GUIDs, base64 and paths have none of it.
 */
const WORTH_A_LOOK =
  /['"`;(=<>#]|--|\/\*|\|\||&&|\b(?:union|like|between|order|group|procedure|into|regexp|rlike|is|in|waitfor)\b/i

/** A parenthesis that is open: what was called with it, and what has been read within, one letter per operand or operator. */
type Frame = { readonly call: string; shape: string; telling: boolean }

const MAX_FINGERPRINT = 8

/**
 * Judges a value as it would stand in a statement: outside of strings, and within each kind of quote that it contains.
 *
 * A value is told by its shape: an operand first (what the statement expects there), then something that goes on in SQL
 * and that prose, names and filters of APIs do not do.
 * SecLang's `@detectSQLi` can be answered by this. It is no port of libinjection: verdicts and fingerprints differ in places.
 * @param text one character per byte, or decoded text
 * @returns the shape that gave it away (letters as in sql-shapes.ts, at most eight), or null
 */
export function detectSqli(text: string): string | null {
  if (!WORTH_A_LOOK.test(text)) return null
  for (const context of contextsOf(text)) {
    const shape = new Reading(text, context, true).judge()
    if (shape !== null) return shape.slice(0, MAX_FINGERPRINT)
    if (context === '' || !text.includes(`\\${context}`)) continue
    const strict = new Reading(text, context, false).judge()
    if (strict !== null) return strict.slice(0, MAX_FINGERPRINT)
  }
  return null
}

function contextsOf(text: string): readonly SqlContext[] {
  const contexts: SqlContext[] = ['']
  for (const quote of ["'", '"', '`'] as const) if (text.includes(quote)) contexts.push(quote)
  return contexts
}

/** One pass over a value in one context. */
class Reading {
  readonly #tokens: SqlTokens
  readonly #quoted: boolean
  readonly #markup: boolean
  readonly #open: Frame[] = []
  #frame: Frame = { call: '', shape: '', telling: false }
  #judged = ''

  constructor(text: string, context: SqlContext, escapes: boolean) {
    this.#tokens = new SqlTokens(text, context, escapes)
    this.#quoted = context !== ''
    this.#markup = MARKUP.test(text)
  }

  /** The shape that is an attack, or null. Stops where the text stops being SQL. */
  judge(): string | null {
    const tokens = this.#tokens
    for (let kind = tokens.next(); ; kind = tokens.next()) {
      if (kind === 'end') return this.#finish('.')
      if (kind === 'comment') {
        const rest = tokens.text.length - tokens.from
        return this.#finish(rest <= MAX_BARE_COMMENT ? 'C' : 'c')
      }
      this.#take()
      if (this.#open.length > 0) continue
      const { shape } = this.#frame
      if (shape === this.#judged) continue
      this.#judged = shape
      const verdict = evidenceOf(shape, this.#quoted, tokens.conditional)
      if (verdict === 'attack' || (verdict === 'weak' && !this.#markup)) return shape
      if (verdict === 'text') return null
    }
  }

  #finish(end: string): string | null {
    while (this.#open.length > 0) this.#close()
    const shape = this.#frame.shape + end
    const verdict = evidenceOf(shape, this.#quoted, this.#tokens.conditional)
    return verdict === 'attack' || (verdict === 'weak' && !this.#markup) ? shape : null
  }

  #take(): void {
    const tokens = this.#tokens
    switch (tokens.kind) {
      case 'string':
        return this.#add(tokens.emptyTail ? 't' : 's')
      case 'number':
        return this.#add('1')
      case 'variable':
        return this.#add('v')
      case 'operator':
        return this.#add('o')
      case 'comparison':
        return this.#add('=')
      case 'logical':
        return this.#add('&')
      case 'comma':
        return this.#add(',')
      case 'semicolon':
        return this.#add(';')
      case 'open':
        this.#open.push(this.#frame)
        this.#frame = { call: '', shape: '', telling: false }
        return
      case 'close':
        // With none open it closes one of the statement, and what follows goes on from there.
        if (this.#open.length > 0) this.#close()
        return
      case 'word':
      case 'comment':
      case 'end':
        this.#takeWord()
    }
  }

  #takeWord(): void {
    const tokens = this.#tokens
    const word = tokens.word()
    if (tokens.following() === 40) {
      const kind = wordKind(word)
      if (kind === undefined) {
        const call = callKind(word)
        tokens.next()
        this.#open.push(this.#frame)
        this.#frame = {
          call: call === undefined ? 'g' : call === 'telling' ? 'F' : 'f',
          shape: '',
          telling: call === 'telling',
        }
        return
      }
    }
    switch (wordKind(word)) {
      case 'logical':
        return this.#add('&')
      case 'comparison':
        return this.#add('=')
      case 'operator':
        return this.#add('o')
      case 'literal':
        return this.#add('1')
      case 'union':
        return this.#add('U')
      case 'select':
        return this.#add('S')
      case 'not':
      case 'filler':
        return
      case undefined:
        return this.#add(this.#wordLetter(word))
    }
  }

  #wordLetter(word: string): string {
    const tokens = this.#tokens
    if (word === 'from' || word === 'where' || word === 'limit' || word === 'having') return 'B'
    if (word === 'declare') return tokens.following() === 64 ? 'K' : 'w'
    const second = tokens.peekWord()
    if (second === undefined) return 'w'
    const pair = pairKind(word, second)
    if (pair === undefined) return 'w'
    tokens.next()
    return PAIR_LETTERS[pair]
  }

  /** Adds a letter to the innermost shape, and folds what can be repeated without end. */
  #add(letter: string): void {
    const frame = this.#frame
    if (frame.shape.startsWith('S') && this.#open.length > 0) return
    if (frame.call !== '' && frame.shape.length >= MAX_ARGUMENTS) return
    frame.shape = fold(frame.shape + letter)
  }

  #close(): void {
    const inner = this.#frame
    const outer = this.#open.pop()
    if (outer === undefined) return
    this.#frame = outer
    const letter = reduce(inner)
    if (inner.telling && (inner.call === '' || letter === 'F')) outer.telling ||= outer.call !== ''
    this.#add(letter)
  }
}

const PAIR_LETTERS = { statement: 'K', clause: 'G', wait: 'W' } as const
const MARKUP = /<[/!?]?[a-z]/i
const MAX_BARE_COMMENT = 5
const MAX_ARGUMENTS = 24

const OPERAND = /[s1vwgfFqetp]/
const REPEATED = /([o=&,;])([1vwgfFqep])\1\2$/

function fold(shape: string): string {
  const { length } = shape
  // A sign before an operand says nothing.
  if (length >= 2 && shape[length - 2] === 'o' && !OPERAND.test(shape[length - 3] ?? '.')) {
    if (shape[length - 1] === 'o') return shape.slice(0, -1)
    if (OPERAND.test(shape[length - 1] ?? '.')) return shape.slice(0, length - 2) + shape[length - 1]
  }
  const joined = JOINED.exec(shape)
  if (joined !== null) {
    const [whole, left = '', right = ''] = joined
    return shape.slice(0, length - whole.length) + stronger(left, right)
  }
  if (shape.endsWith('osos')) return shape.slice(0, -2)
  if (shape.endsWith('==') || shape.endsWith(';;') || shape.endsWith('&&')) return shape.slice(0, -1)
  const repeated = REPEATED.exec(shape)
  return repeated === null ? shape : shape.slice(0, -2)
}

const JOINED = /([1vwgfFqep])o([1vwgfFqep])$/
const STRENGTH = 'wpg1evfqF'

const stronger = (left: string, right: string): string =>
  STRENGTH.indexOf(left) > STRENGTH.indexOf(right) ? left : right

/** One operand for a parenthesis: a subquery, a call, an expression, or what stood in it. */
function reduce({ call, shape, telling }: Frame): string {
  if (call === 'F') return /^(?:$|[s1vfFqet]|S)/.test(shape) ? 'F' : 'g'
  if (telling || shape.includes('F')) return 'F'
  if (/^S(?:[s1vwgfFqet*o]|$)/.test(shape)) return call === '' ? 'q' : call === 'g' ? 'q' : 'f'
  if (shape.includes('q')) return 'q'
  if (call !== '') return call
  if (shape.length === 1 && OPERAND.test(shape)) return shape
  if (!EXPRESSION.test(shape)) return shape === '' ? 'w' : 'x'
  // `(1 or 2=2)` by itself decides a condition, as a subquery would.
  if (/&.=/.test(shape) && !/[wgp]/.test(shape)) return 'q'
  if (/[=&]/.test(shape)) return /[wgp]/.test(shape) ? 'p' : 'e'
  return /^[wgp]/.test(shape) ? 'w' : '1'
}

const EXPRESSION = /^[s1vwgfFqep](?:[o=&,][s1vwgfFqep])*$/
