// Reads the pattern dialect of rules (RE2's): refuses what a linear engine cannot run, finds text that every match must hold.

/** A pattern that was understood. */
export type PatternFacts = {
  /** Every match holds at least one of these texts; null: no such set is known. */
  readonly required: readonly string[] | null
}

/** What every match of a part of a pattern looks like: exactly one of `exact`, or holding one of `need`. */
type Info = { readonly exact: readonly string[] | null; readonly need: readonly string[] | null }

const MAX_SET = 24
const MAX_TEXT = 24
const MAX_REPEAT = 1000
const EMPTY: Info = { exact: [''], need: null }
const ANYTHING: Info = { exact: null, need: null }

/**
 * Checks a pattern. Look-around, back-references, flags and repetition inside repetition are refused: an attacker writes the
 * input, so matching must be linear.
 * @returns the facts, or a sentence that says what is wrong
 */
export function readPattern(source: string): PatternFacts | string {
  try {
    // The engine has the last word on syntax.
    void new RegExp(source)
    const parser = new Parser(source)
    const info = parser.readAlternatives()
    if (!parser.atEnd) return 'has a ) too many'
    const required = toNeed(info)
    return { required }
  } catch (error) {
    return error instanceof Error ? error.message : 'cannot be read'
  }
}

class Parser {
  readonly #source: string
  #at = 0
  /** Whether the part read last holds an unbounded repetition. */
  #unbounded = false

  constructor(source: string) {
    this.#source = source
  }

  get atEnd(): boolean {
    return this.#at >= this.#source.length
  }

  readAlternatives(): Info {
    const alternatives = [this.#readSequence()]
    while (this.#take('|')) alternatives.push(this.#readSequence())
    return alternatives.length === 1 ? (alternatives[0] ?? EMPTY) : either(alternatives)
  }

  #readSequence(): Info {
    let need: readonly string[] | null = null
    let run: readonly string[] = ['']
    while (!this.atEnd && this.#peek() !== '|' && this.#peek() !== ')') {
      const info = this.#readRepeated()
      const joined = info.exact === null ? null : product(run, info.exact)
      if (joined !== null) {
        run = joined
        continue
      }
      need = better(need, better(worth(run), toNeed(info)))
      run = info.exact !== null && info.exact.length <= MAX_SET ? info.exact : ['']
      if (info.exact === null) run = ['']
      // What comes after a gap starts a new text, and the whole is no longer an exact set.
      const rest = this.#readSequence()
      return { exact: null, need: better(need, better(toNeed(rest), worth(run))) }
    }
    return { exact: run, need }
  }

  #readRepeated(): Info {
    const before = this.#unbounded
    this.#unbounded = false
    const atom = this.#readAtom()
    const inner = this.#unbounded
    const [min, max] = this.#readQuantifier()
    if (max === Number.POSITIVE_INFINITY && inner)
      throw new Error('repeats something that repeats without end itself')
    if (max !== Number.POSITIVE_INFINITY && max > MAX_REPEAT)
      throw new Error(`repeats more than ${MAX_REPEAT} times`)
    this.#unbounded = before || inner || max === Number.POSITIVE_INFINITY
    if (min === 1 && max === 1) return atom
    if (min === 0 && max === 1 && atom.exact !== null)
      return { exact: unique([...atom.exact, '']), need: null }
    return min === 0 ? ANYTHING : { exact: null, need: toNeed(atom) }
  }

  #readQuantifier(): readonly [number, number] {
    let range: readonly [number, number] = [1, 1]
    if (this.#take('*')) range = [0, Number.POSITIVE_INFINITY]
    else if (this.#take('+')) range = [1, Number.POSITIVE_INFINITY]
    else if (this.#take('?')) range = [0, 1]
    else {
      const braces = /^\{(\d{1,4})(,(\d{0,4}))?\}/.exec(this.#source.slice(this.#at, this.#at + 12))
      if (braces === null) return range
      this.#at += braces[0].length
      const min = Number(braces[1])
      range = [min, braces[2] === undefined ? min : braces[3] ? Number(braces[3]) : Number.POSITIVE_INFINITY]
    }
    this.#take('?')
    return range
  }

  #readAtom(): Info {
    const char = this.#next()
    switch (char) {
      case '(':
        return this.#readGroup()
      case '[':
        return this.#readClass()
      case '\\':
        return this.#readEscape()
      case '.':
        return ANYTHING
      case '^':
      case '$':
        return EMPTY
      default:
        return literal(char)
    }
  }

  #readGroup(): Info {
    if (this.#take('?') && !this.#take(':')) {
      throw new Error('uses look-around, a flag or a named group, which the rule dialect does not have')
    }
    const info = this.readAlternatives()
    if (!this.#take(')')) throw new Error('has a ( without )')
    return info
  }

  #readEscape(): Info {
    const char = this.#next()
    if (/[1-9k]/.test(char)) throw new Error('uses a back-reference, which the rule dialect does not have')
    if (char === 'b' || char === 'B') return EMPTY
    if ('dDwWsS'.includes(char)) return ANYTHING
    return literal(this.#escaped(char))
  }

  #escaped(char: string): string {
    const simple: Readonly<Record<string, string>> = { n: '\n', r: '\r', t: '\t', f: '\f', v: '\v', 0: '\0' }
    if (char === 'x') {
      const hex = /^[0-9a-fA-F]{2}/.exec(this.#source.slice(this.#at))
      if (hex === null) throw new Error('has \\x without two hexadecimal digits')
      this.#at += 2
      return String.fromCharCode(Number.parseInt(hex[0], 16))
    }
    if (/[a-zA-Z]/.test(char) && simple[char] === undefined)
      throw new Error(`has the unknown escape \\${char}`)
    return simple[char] ?? char
  }

  #readClass(): Info {
    const negated = this.#take('^')
    const chars: string[] = []
    let wide = negated
    for (let first = true; first || this.#peek() !== ']'; first = false) {
      let char = this.#next()
      if (char === '\\') {
        const escape = this.#next()
        if ('dDwWsS'.includes(escape)) {
          wide = true
          continue
        }
        char = this.#escaped(escape)
      }
      if (this.#peek() === '-' && this.#source[this.#at + 1] !== ']') wide = true
      chars.push(char)
    }
    this.#next()
    return wide || chars.length > 6 ? ANYTHING : { exact: unique(chars), need: null }
  }

  #peek(): string {
    return this.#source[this.#at] ?? ''
  }

  #next(): string {
    const char = this.#source[this.#at++]
    if (char === undefined) throw new Error('ends too early')
    return char
  }

  #take(char: string): boolean {
    if (this.#source[this.#at] !== char) return false
    this.#at++
    return true
  }
}

function literal(char: string): Info {
  return { exact: [char], need: null }
}

function unique(texts: readonly string[]): readonly string[] {
  return [...new Set(texts)]
}

function product(left: readonly string[], right: readonly string[]): readonly string[] | null {
  if (left.length * right.length > MAX_SET) return null
  const joined = left.flatMap(a => right.map(b => a + b))
  return joined.some(text => text.length > MAX_TEXT) ? null : unique(joined)
}

function either(alternatives: readonly Info[]): Info {
  const exact = alternatives.flatMap(info => info.exact ?? [])
  if (alternatives.every(info => info.exact !== null && info.need === null) && exact.length <= MAX_SET) {
    return { exact: unique(exact), need: null }
  }
  const needs = alternatives.map(toNeed)
  if (needs.some(need => need === null)) return ANYTHING
  const all = unique(needs.flatMap(need => need ?? []))
  return { exact: null, need: all.length <= MAX_SET * 2 ? all : null }
}

function toNeed(info: Info): readonly string[] | null {
  return better(info.need, info.exact === null ? null : worth(info.exact))
}

/** A set of texts is worth looking for when none of them is in nearly every request. */
function worth(texts: readonly string[]): readonly string[] | null {
  return texts.every(text => text.length > 1 || /^[^a-z0-9\s/.=_-]$/.test(text)) ? texts : null
}

function better(a: readonly string[] | null, b: readonly string[] | null): readonly string[] | null {
  if (a === null || b === null) return a ?? b
  const score = (texts: readonly string[]): number =>
    Math.min(...texts.map(text => text.length)) - texts.length / MAX_SET
  return score(b) > score(a) ? b : a
}
