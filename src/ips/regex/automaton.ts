// Steps a program over a text as a set of places at once; answers whether it matches anywhere. Holds no cache of its own.
import { AFTER, BEFORE, Closure } from './closure.ts'
import { STEP, type Program } from './program.ts'
import type { Assertion } from './syntax.ts'

const LOOK_BACK: readonly Assertion[] = ['start', 'line-start', 'word-boundary', 'not-word-boundary']

/** What a start of the pattern at some place leads to after one character; null: to a match. */
type StartStep = Int32Array | null

/**
 * The set automaton of a program, unanchored: the pattern may start anywhere. Starts are not part of the sets, because they
 * are the same at every place; their first step is worked out once per class.
 */
export class Automaton {
  readonly program: Program
  /** The result of the last `step`. */
  readonly reached: Int32Array
  reachedCount = 0
  readonly #here: Closure
  readonly #then: Closure
  readonly #startSteps: (StartStep | undefined)[]
  /** Whether the pattern can start anywhere but at the start of the text. */
  readonly #floats: boolean

  constructor(program: Program) {
    this.program = program
    this.#here = new Closure(program)
    this.#then = new Closure(program)
    this.reached = this.#then.found
    this.#startSteps = Array.from({ length: 4 * program.alphabet.size }, () => undefined)
    this.#floats = [BEFORE.word, BEFORE.other, BEFORE.newline].some(before => {
      this.#here.begin()
      this.#here.add(program.start, before, AFTER.unknown)
      return this.#here.count > 0 || this.#here.matched
    })
  }

  /** Whether nothing can match any more once a set is empty. */
  get isAnchored(): boolean {
    return !this.#floats
  }

  /** Whether it matters at the start of a text that nothing stands before it. */
  get looksBack(): boolean {
    const { asserts } = this.program
    return LOOK_BACK.some(what => asserts.has(what))
  }

  /** Whether nothing begins with a character of the class, where nothing stands before that matters. */
  isQuiet(charClass: number): boolean {
    const start = this.#startStep(BEFORE.other, charClass)
    return start !== null && start.length === 0 && this.beforeOf(charClass) === BEFORE.other
  }

  beforeOf(charClass: number): number {
    return this.#here.beforeOf(charClass)
  }

  /**
   * One character on: from the steps `from[0..count]` at a place with `before`. The result is in `reached`.
   * @returns whether the pattern matches
   */
  step(from: ArrayLike<number>, offset: number, count: number, before: number, charClass: number): boolean {
    const { kind, next, arg, members, alphabet } = this.program
    const start = this.#startStep(before, charClass)
    if (start === null) return true
    const then = this.#then
    const after = this.#here.beforeOf(charClass)
    then.begin()
    let pending = false
    for (let i = offset; i < offset + count; i++) {
      const at = from[i] as number
      if (kind[at] !== STEP.set) pending = true
      else if (members[(arg[at] as number) * alphabet.size + charClass] === 1) {
        then.add(next[at] as number, after, AFTER.unknown)
      }
    }
    if (pending && this.#stepPending(from, offset, count, before, charClass)) return true
    for (let i = 0; i < start.length; i++) then.add(start[i] as number, after, AFTER.unknown)
    this.reachedCount = then.count
    return then.matched
  }

  /** Whether the pattern matches at a place with nothing (or only the last newline) after it. */
  matchesAt(
    from: ArrayLike<number>,
    offset: number,
    count: number,
    before: number,
    after: typeof AFTER.end | typeof AFTER.lastNewline,
  ): boolean {
    const here = this.#here
    here.begin()
    here.add(this.program.start, before, after)
    for (let i = offset; i < offset + count && !here.matched; i++) {
      const at = from[i] as number
      if (this.program.kind[at] === STEP.assert) here.add(at, before, after)
    }
    return here.matched
  }

  /** Assertions that had to wait for this character. */
  #stepPending(
    from: ArrayLike<number>,
    offset: number,
    count: number,
    before: number,
    charClass: number,
  ): boolean {
    const here = this.#here
    here.begin()
    for (let i = offset; i < offset + count; i++) {
      const at = from[i] as number
      if (this.program.kind[at] === STEP.assert) here.add(at, before, charClass)
    }
    this.#consume(charClass)
    return here.matched
  }

  #startStep(before: number, charClass: number): StartStep {
    const index = before * this.program.alphabet.size + charClass
    const known = this.#startSteps[index]
    if (known !== undefined) return known
    const here = this.#here
    const then = this.#then
    here.begin()
    here.add(this.program.start, before, charClass)
    then.begin()
    this.#consume(charClass)
    const found = here.matched || then.matched ? null : then.found.slice(0, then.count)
    this.#startSteps[index] = found
    return found
  }

  /** Moves from what was collected here over a character. */
  #consume(charClass: number): void {
    const { next, arg, members, alphabet } = this.program
    const here = this.#here
    const after = here.beforeOf(charClass)
    for (let i = 0; i < here.count; i++) {
      const at = here.found[i] as number
      if (members[(arg[at] as number) * alphabet.size + charClass] === 1) {
        this.#then.add(next[at] as number, after, AFTER.unknown)
      }
    }
  }
}
