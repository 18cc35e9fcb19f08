// Follows the steps of a program that consume nothing: what can be reached at one place of a text.
import { NEWLINE, WORD } from './char-set.ts'
import { ASSERTIONS, STEP, type Program } from './program.ts'
import type { Assertion } from './syntax.ts'

/** What stands before a place, as far as assertions can tell. */
export const BEFORE = { start: 0, word: 1, other: 2, newline: 3 } as const

/** What stands after a place when it is not a character: nothing, the newline that ends the text, or not known yet. */
export const AFTER = { end: -1, lastNewline: -2, unknown: -3 } as const

/**
 * Collects what can be reached from steps without consuming: steps that consume, assertions that need the next character
 * when that is not known, and whether the whole pattern matches. Used for one place at a time.
 */
export class Closure {
  /** Steps collected since `begin`. */
  readonly found: Int32Array
  count = 0
  matched = false
  readonly #program: Program
  readonly #seen: Uint32Array
  readonly #stack: Int32Array
  readonly #wordClass: Uint8Array
  readonly #newlineClass: Uint8Array
  readonly #beforeClass: Uint8Array
  #generation = 0

  constructor(program: Program) {
    const size = program.kind.length
    this.#program = program
    this.found = new Int32Array(size)
    this.#seen = new Uint32Array(size)
    this.#stack = new Int32Array(size + 1)
    const { alphabet, asserts } = program
    const words = asserts.has('word-boundary') || asserts.has('not-word-boundary')
    const lines = asserts.has('line-start') || asserts.has('line-end') || asserts.has('last-line')
    this.#wordClass = words ? alphabet.members(WORD) : new Uint8Array(alphabet.size)
    this.#newlineClass = lines ? alphabet.members(NEWLINE) : new Uint8Array(alphabet.size)
    const newlineMatters = asserts.has('line-start')
    this.#beforeClass = Uint8Array.from(alphabet.samples, (_, number) => {
      if (this.#wordClass[number] === 1) return BEFORE.word
      return newlineMatters && this.#newlineClass[number] === 1 ? BEFORE.newline : BEFORE.other
    })
  }

  /** What a place after a character of the class has before it. */
  beforeOf(charClass: number): number {
    return this.#beforeClass[charClass] as number
  }

  /** Starts a new collection. */
  begin(): void {
    this.count = 0
    this.matched = false
    if (++this.#generation === 0xffffffff) {
      this.#seen.fill(0)
      this.#generation = 1
    }
  }

  /** Adds what can be reached from a step; `after` is a class or one of AFTER. */
  add(step: number, before: number, after: number): void {
    const { kind, next, arg } = this.#program
    const seen = this.#seen
    const stack = this.#stack
    const generation = this.#generation
    let depth = 0
    let at = step
    for (;;) {
      if (seen[at] !== generation) {
        seen[at] = generation
        const what = kind[at] as number
        if (what === STEP.set) this.found[this.count++] = at
        else if (what === STEP.split) {
          stack[depth++] = arg[at] as number
          at = next[at] as number
          continue
        } else if (what === STEP.match) this.matched = true
        else if (what === STEP.save) {
          at = next[at] as number
          continue
        } else {
          const verdict = this.#judge(ASSERTIONS[arg[at] as number] as Assertion, before, after)
          if (verdict === true) {
            at = next[at] as number
            continue
          }
          if (verdict === null) this.found[this.count++] = at
        }
      }
      if (depth === 0) return
      at = stack[--depth] as number
    }
  }

  /** Whether an assertion holds; null: the next character decides and is not known. */
  #judge(what: Assertion, before: number, after: number): boolean | null {
    if (what === 'start') return before === BEFORE.start
    if (what === 'line-start') return before === BEFORE.start || before === BEFORE.newline
    if (after === AFTER.unknown) return null
    switch (what) {
      case 'end':
        return after === AFTER.end
      case 'last-line':
        return after < 0
      case 'line-end':
        return after < 0 || this.#newlineClass[after] === 1
      case 'word-boundary':
        return (before === BEFORE.word) !== (after >= 0 && this.#wordClass[after] === 1)
      case 'not-word-boundary':
        return (before === BEFORE.word) === (after >= 0 && this.#wordClass[after] === 1)
    }
  }
}
