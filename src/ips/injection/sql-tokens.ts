// Cuts a value into SQL tokens as a database would, beginning outside of or inside a string.

/** What a token is. `end` comments reach to the end of the text; others are skipped like blanks. */
export type SqlTokenKind =
  | 'string'
  | 'number'
  | 'variable'
  | 'word'
  | 'operator'
  | 'comparison'
  | 'logical'
  | 'open'
  | 'close'
  | 'comma'
  | 'semicolon'
  | 'comment'
  | 'end'

/** Where the value stands in the statement: outside of strings, or within one of these quotes. */
export type SqlContext = '' | "'" | '"' | '`'

const QUOTE = 39
const DOUBLE = 34
const BACKTICK = 96
const BACKSLASH = 92

const isBlank = (code: number): boolean => code <= 32 || code === 0xa0
const isDigit = (code: number): boolean => code >= 48 && code <= 57
const isLetter = (code: number): boolean =>
  (code >= 97 && code <= 122) || (code >= 65 && code <= 90) || code === 95 || code > 0xa0
const isHex = (code: number): boolean =>
  isDigit(code) || (code >= 97 && code <= 102) || (code >= 65 && code <= 70)

/** Reads tokens one after another; each call moves on, so that a whole pass is linear. */
export class SqlTokens {
  kind: SqlTokenKind = 'end'
  /** Where the current token begins and ends. */
  from = 0
  to = 0
  /** The current string has no end and nothing in it: the quote is the last character. */
  emptyTail = false
  /** A comment that only some databases skip (MySQL's with an exclamation mark) has been seen. */
  conditional = false
  readonly text: string
  readonly #escapes: boolean
  #openConditional = false
  #context: SqlContext

  /** @param escapes a backslash takes the meaning from a quote (MySQL); other databases do without */
  constructor(text: string, context: SqlContext, escapes: boolean) {
    this.text = text
    this.#context = context
    this.#escapes = escapes
  }

  /** Moves to the next token and says what it is. */
  next(): SqlTokenKind {
    const { text } = this
    if (this.#context !== '') {
      const quote = this.#context.charCodeAt(0)
      this.#context = ''
      this.from = 0
      this.#readString(0, quote)
      // A string that never ends is all text: the value stays where it was put.
      return (this.kind = this.to > text.length ? 'end' : 'string')
    }
    for (;;) {
      let at = this.to
      while (at < text.length && isBlank(text.charCodeAt(at))) at++
      this.from = at
      if (at >= text.length) {
        this.to = at
        return (this.kind = 'end')
      }
      const kind = this.#read(at)
      if (kind !== null) return (this.kind = kind)
    }
  }

  /** The current token in small letters. */
  word(): string {
    return this.text.slice(this.from, this.to).toLowerCase()
  }

  /** Code of the first character after the token that is not blank; NaN at the end. */
  following(): number {
    let at = this.to
    while (at < this.text.length && isBlank(this.text.charCodeAt(at))) at++
    return this.text.charCodeAt(at)
  }

  /** The next token in small letters if it is a word; stays where it is. */
  peekWord(): string | undefined {
    const { kind, from, to, emptyTail, conditional } = this
    const openConditional = this.#openConditional
    const word = this.next() === 'word' ? this.word() : undefined
    Object.assign(this, { kind, from, to, emptyTail, conditional })
    this.#openConditional = openConditional
    return word
  }

  /** Null: it reads like a blank. */
  #read(at: number): SqlTokenKind | null {
    const { text } = this
    const code = text.charCodeAt(at)
    if (isLetter(code)) return this.#readWord(at)
    if (isDigit(code) || (code === 46 && isDigit(text.charCodeAt(at + 1)))) return this.#readNumber(at)
    if (code === QUOTE || code === DOUBLE || code === BACKTICK) {
      this.#readString(at + 1, code)
      this.to = Math.min(this.to, text.length)
      return code === BACKTICK ? 'word' : 'string'
    }
    const next = text.charCodeAt(at + 1)
    this.to = at + 1
    switch (code) {
      case 40:
        return 'open'
      case 41:
        return 'close'
      case 44:
        return 'comma'
      case 59:
        return 'semicolon'
      case 35: // #
        return this.#toLineEnd(at)
      case 45: // -
        return next === 45 ? this.#toLineEnd(at) : 'operator'
      case 47: // /
        return next === 42 ? this.#readComment(at) : 'operator'
      case 42: // *
        if (next !== 47 || !this.#openConditional) return 'operator'
        this.#openConditional = false
        this.to = at + 2
        return null
      case 64: // @
        return this.#readVariable(at)
      case 91: // [
        return this.#readBracket(at)
      case 124: // |
      case 38: // &
        if (next !== code) return 'operator'
        this.to = at + 2
        return 'logical'
      case 60: // <
      case 61: // =
      case 62: // >
        if (next >= 60 && next <= 62) this.to = text.charCodeAt(at + 2) === 62 ? at + 3 : at + 2
        return 'comparison'
      case 33: // !
        if (next !== 61) return 'operator'
        this.to = at + 2
        return 'comparison'
      default:
        return 'operator'
    }
  }

  #readWord(at: number): SqlTokenKind {
    const { text } = this
    const next = text.charCodeAt(at + 1)
    // Prefixed strings: N'...', X'...', B'...', E'...'.
    if ((next === QUOTE || next === DOUBLE) && /[nxbe]/i.test(text.charAt(at))) {
      this.#readString(at + 2, next)
      this.to = Math.min(this.to, text.length)
      return 'string'
    }
    this.to = this.#wordEnd(at)
    return 'word'
  }

  #wordEnd(at: number): number {
    const { text } = this
    for (; at < text.length; at++) {
      const code = text.charCodeAt(at)
      if (!isLetter(code) && !isDigit(code) && code !== 36 && code !== 46) break
    }
    return at
  }

  #readNumber(at: number): SqlTokenKind {
    const { text } = this
    let end = at
    if (
      text.charCodeAt(at) === 48 &&
      (text.charCodeAt(at + 1) | 32) === 120 &&
      isHex(text.charCodeAt(at + 2))
    ) {
      for (end = at + 2; isHex(text.charCodeAt(end));) end++
    } else {
      while (isDigit(text.charCodeAt(end))) end++
      if (text.charCodeAt(end) === 46) end++
      while (isDigit(text.charCodeAt(end))) end++
      if ((text.charCodeAt(end) | 32) === 101) {
        const sign = text.charCodeAt(end + 1)
        const digits = sign === 43 || sign === 45 ? end + 2 : end + 1
        if (isDigit(text.charCodeAt(digits))) for (end = digits; isDigit(text.charCodeAt(end));) end++
      }
    }
    this.to = end
    if (!isLetter(text.charCodeAt(end)) || text.charCodeAt(end - 1) === 46) return 'number'
    // `8th` and `3xl` are names; `1union` and `1or` are a number and a word to lenient databases.
    if (GLUED.test(text.slice(end, end + 9))) return 'number'
    this.to = this.#wordEnd(end)
    return 'word'
  }

  #readVariable(at: number): SqlTokenKind {
    const { text } = this
    while (text.charCodeAt(at) === 64) at++
    const end = this.#wordEnd(at)
    this.to = end
    return end > at ? 'variable' : 'operator'
  }

  #readBracket(at: number): SqlTokenKind {
    const { text } = this
    let end = at + 1
    while (end < text.length && end - at < 64 && isWordOrBlank(text.charCodeAt(end))) end++
    if (text.charCodeAt(end) !== 93) return 'operator'
    this.to = end + 1
    return 'word'
  }

  /** Reads to behind the closing quote; `to` is beyond the text when there is none. A doubled quote is a quote within. */
  #readString(at: number, quote: number): void {
    const { text } = this
    const begin = at
    for (; at < text.length; at++) {
      const code = text.charCodeAt(at)
      if (code === BACKSLASH && this.#escapes) at++
      else if (code === quote) {
        if (text.charCodeAt(at + 1) !== quote) break
        at++
      }
    }
    this.emptyTail = begin >= text.length
    this.to = Math.max(at + 1, begin)
    if (at >= text.length) this.to = text.length + 1
  }

  #toLineEnd(at: number): 'comment' | null {
    const end = this.text.indexOf('\n', at)
    this.to = end < 0 ? this.text.length : end
    return end < 0 ? 'comment' : null
  }

  #readComment(at: number): 'comment' | null {
    const { text } = this
    if (text.charCodeAt(at + 2) === 33) {
      this.conditional = true
      this.#openConditional = true
      let end = at + 3
      while (end < at + 9 && isDigit(text.charCodeAt(end))) end++
      this.to = end
      return null
    }
    const end = text.indexOf('*/', at + 2)
    this.to = end < 0 ? text.length : end + 2
    return end < 0 ? 'comment' : null
  }
}

const GLUED = /^(?:union|select|or|and|xor|like|order|group|div|mod|from|having|limit|in|is)(?![a-z0-9_])/i

const isWordOrBlank = (code: number): boolean => isLetter(code) || isDigit(code) || code === 32
