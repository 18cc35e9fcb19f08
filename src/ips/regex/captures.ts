// Finds the leftmost match as Perl would choose it, with its captures, by running all ways of a program side by side.
import { WORD } from './char-set.ts'
import { ASSERTIONS, STEP, type Program } from './program.ts'
import type { Assertion } from './syntax.ts'

const NEWLINE_UNIT = 0x0a

/** Runs one program over texts. */
export class CaptureFinder {
  readonly #program: Program
  readonly #word: Uint8Array
  /** For each class, whether a match can start with it; null: matches can be empty. */
  readonly #first: Uint8Array | null
  #now: Threads
  #then: Threads
  /** Steps to visit, or, as ~slot, captures to put back. */
  readonly #stack: Int32Array
  readonly #old: Int32Array

  constructor(program: Program) {
    this.#program = program
    this.#word = program.alphabet.members(WORD)
    this.#now = new Threads(program)
    this.#then = new Threads(program)
    this.#stack = new Int32Array(2 * program.kind.length + 2)
    this.#old = new Int32Array(2 * program.kind.length + 2)
    this.#first = firstClasses(program)
  }

  /** The places of the groups, two per group, -1 where a group took no part; null: no match. */
  find(text: string): Int32Array | null {
    const { alphabet, slots } = this.#program
    const first = this.#first
    const captures = new Int32Array(slots).fill(-1)
    let match: Int32Array | null = null
    this.#now.count = 0
    for (let i = 0; ; i++) {
      const charClass = i < text.length ? alphabet.classOf(text.charCodeAt(i)) : -1
      if (match === null && (first === null || (charClass >= 0 && first[charClass] === 1))) {
        this.#now.begin(this.#now.count)
        this.#follow(this.#now, this.#program.start, captures, text, i)
      }
      if (this.#now.count === 0 && match !== null) return match
      match = this.#advance(text, i, charClass) ?? match
      if (charClass < 0) return match
    }
  }

  /** Moves all ways over a character, best first; returns the captures of a match that beats what comes after it. */
  #advance(text: string, at: number, charClass: number): Int32Array | null {
    const { kind, next, arg, members, alphabet, slots } = this.#program
    const now = this.#now
    const then = this.#then
    then.begin(0)
    let match: Int32Array | null = null
    for (let i = 0; i < now.count; i++) {
      const step = now.steps[i] as number
      const captures = now.captures.subarray(i * slots, (i + 1) * slots)
      if (kind[step] === STEP.match) {
        match = captures.slice()
        break
      }
      if (charClass >= 0 && members[(arg[step] as number) * alphabet.size + charClass] === 1) {
        this.#follow(then, next[step] as number, captures, text, at + 1)
      }
    }
    this.#now = then
    this.#then = now
    return match
  }

  /** Adds to a list what a step reaches without consuming, the preferred first. */
  #follow(into: Threads, from: number, captures: Int32Array, text: string, at: number): void {
    const { kind, next, arg } = this.#program
    const stack = this.#stack
    let depth = 0
    stack[depth++] = from
    while (depth > 0) {
      const step = stack[--depth] as number
      if (step < 0) {
        captures[~step] = this.#old[depth] as number
        continue
      }
      if (!into.visit(step)) continue
      switch (kind[step]) {
        case STEP.split:
          stack[depth++] = arg[step] as number
          stack[depth++] = next[step] as number
          break
        case STEP.save: {
          const slot = arg[step] as number
          this.#old[depth] = captures[slot] as number
          stack[depth++] = ~slot
          captures[slot] = at
          stack[depth++] = next[step] as number
          break
        }
        case STEP.assert:
          if (this.#holds(ASSERTIONS[arg[step] as number] as Assertion, text, at)) {
            stack[depth++] = next[step] as number
          }
          break
        default:
          into.push(step, captures)
      }
    }
  }

  #holds(what: Assertion, text: string, at: number): boolean {
    switch (what) {
      case 'start':
        return at === 0
      case 'line-start':
        return at === 0 || text.charCodeAt(at - 1) === NEWLINE_UNIT
      case 'end':
        return at === text.length
      case 'last-line':
        return at === text.length || (at === text.length - 1 && text.charCodeAt(at) === NEWLINE_UNIT)
      case 'line-end':
        return at === text.length || text.charCodeAt(at) === NEWLINE_UNIT
      case 'word-boundary':
        return this.#isWord(text, at - 1) !== this.#isWord(text, at)
      case 'not-word-boundary':
        return this.#isWord(text, at - 1) === this.#isWord(text, at)
    }
  }

  #isWord(text: string, at: number): boolean {
    if (at < 0 || at >= text.length) return false
    return this.#word[this.#program.alphabet.classOf(text.charCodeAt(at))] === 1
  }
}

/** An ordered list of ways, each with its captures. */
class Threads {
  readonly steps: Int32Array
  readonly captures: Int32Array
  count = 0
  readonly #slots: number
  readonly #seen: Uint32Array
  #generation = 0

  constructor(program: Program) {
    this.steps = new Int32Array(program.kind.length)
    this.captures = new Int32Array(program.kind.length * program.slots)
    this.#slots = program.slots
    this.#seen = new Uint32Array(program.kind.length)
  }

  /** Empties the list, or goes on with the ways it has. */
  begin(count: number): void {
    this.count = count
    if (count > 0) return
    if (++this.#generation === 0xffffffff) {
      this.#seen.fill(0)
      this.#generation = 1
    }
  }

  visit(step: number): boolean {
    if (this.#seen[step] === this.#generation) return false
    this.#seen[step] = this.#generation
    return true
  }

  push(step: number, captures: Int32Array): void {
    this.captures.set(captures, this.count * this.#slots)
    this.steps[this.count++] = step
  }
}

/** Classes that a match can start with, or null when it can be empty. */
function firstClasses(program: Program): Uint8Array | null {
  const { kind, next, arg, members, alphabet } = program
  const first = new Uint8Array(alphabet.size)
  const seen = new Set<number>()
  const stack = [program.start]
  for (let step = stack.pop(); step !== undefined; step = stack.pop()) {
    if (seen.has(step)) continue
    seen.add(step)
    if (kind[step] === STEP.match) return null
    if (kind[step] === STEP.set) {
      const from = (arg[step] as number) * alphabet.size
      for (let c = 0; c < alphabet.size; c++) if (members[from + c] === 1) first[c] = 1
      continue
    }
    stack.push(next[step] as number)
    if (kind[step] === STEP.split) stack.push(arg[step] as number)
  }
  return first
}
