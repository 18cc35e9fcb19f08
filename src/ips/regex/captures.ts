// Finds the leftmost match as Perl would choose it, with its captures, by running all ways of a program side by side.
import { WORD } from './char-set.ts'
import { ASSERTIONS, STEP, type Program } from './program.ts'
import type { Assertion } from './syntax.ts'

const NEWLINE_UNIT = 0x0a

/** What one start of the pattern leads to over one character, best first. */
type Starts = {
  /** Where each way goes on. */
  readonly next: readonly number[]
  /** The slots that each way has set, all to the place of the start. */
  readonly saved: readonly (readonly number[])[]
  /** The slots of an empty match, which is worse than the ways; null: there is none. */
  readonly empty: readonly number[] | null
}

/** Runs one program over texts. */
export class CaptureFinder {
  readonly #program: Program
  readonly #word: Uint8Array
  /** For each class, whether a match can start with it; null: matches can be empty. */
  readonly #first: Uint8Array | null
  #now: Threads
  #then: Threads
  /** Starts by what stands before and the class of the character, where nothing else matters to them. */
  readonly #starts: (Starts | undefined)[] = []
  readonly #fresh: Threads
  readonly #captures: Int32Array
  /** Steps to visit, or, as ~slot, captures to put back. */
  readonly #stack: Int32Array
  readonly #old: Int32Array

  constructor(program: Program) {
    this.#program = program
    this.#word = program.alphabet.members(WORD)
    this.#now = new Threads(program)
    this.#then = new Threads(program)
    this.#fresh = new Threads(program)
    this.#captures = new Int32Array(program.slots)
    this.#stack = new Int32Array(2 * program.kind.length + 2)
    this.#old = new Int32Array(2 * program.kind.length + 2)
    this.#first = firstClasses(program)
  }

  /**
   * The places of the groups, two per group, -1 where a group took no part; null: no match.
   * @param limit where to stop with the best match so far; assertions still see what comes after
   */
  find(text: string, limit: number): Int32Array | null {
    const { alphabet } = this.#program
    const first = this.#first
    let match: Int32Array | null = null
    this.#now.begin()
    for (let i = 0; ; i++) {
      const charClass = i < text.length ? alphabet.classOf(text.charCodeAt(i)) : -1
      const better = this.#advance(text, i, charClass)
      const isDecided = better !== null || match !== null
      match = better ?? match
      // Starts are worse than all ways that go on, so that they come last.
      if (!isDecided && (first === null || (charClass >= 0 && first[charClass] === 1))) {
        match = this.#start(text, i, charClass)
      }
      if (charClass < 0 || (match !== null && (this.#now.count === 0 || i >= limit))) return match
    }
  }

  /** Adds the ways of a match that starts here and goes over the next character. */
  #start(text: string, at: number, charClass: number): Int32Array | null {
    const starts = this.#startsAt(text, at, charClass)
    const captures = this.#captures
    for (let i = 0; i < starts.next.length; i++) {
      captures.fill(-1)
      for (const slot of starts.saved[i] ?? []) captures[slot] = at
      this.#follow(this.#now, starts.next[i] as number, captures, text, at + 1)
    }
    if (starts.empty === null) return null
    captures.fill(-1)
    for (const slot of starts.empty) captures[slot] = at
    return captures.slice()
  }

  #startsAt(text: string, at: number, charClass: number): Starts {
    if (charClass < 0 || this.#program.asserts.has('last-line')) return this.#findStarts(text, at, charClass)
    const key = 4 * charClass + this.#kindBefore(text, at)
    return (this.#starts[key] ??= this.#findStarts(text, at, charClass))
  }

  #kindBefore(text: string, at: number): number {
    if (at === 0) return 0
    if (this.#isWord(text, at - 1)) return 1
    return text.charCodeAt(at - 1) === NEWLINE_UNIT ? 2 : 3
  }

  #findStarts(text: string, at: number, charClass: number): Starts {
    const { kind, next, arg, members, alphabet, slots, start } = this.#program
    const fresh = this.#fresh
    fresh.begin()
    this.#follow(fresh, start, this.#captures.fill(-1), text, at)
    const found: { next: number[]; saved: number[][] } = { next: [], saved: [] }
    for (let i = 0; i < fresh.count; i++) {
      const step = fresh.steps[i] as number
      const saved = Array.from({ length: slots }, (_, slot) => slot).filter(
        slot => fresh.captures[i * slots + slot] === at,
      )
      if (kind[step] === STEP.match) return { ...found, empty: saved }
      if (charClass < 0 || members[(arg[step] as number) * alphabet.size + charClass] !== 1) continue
      found.next.push(next[step] as number)
      found.saved.push(saved)
    }
    return { ...found, empty: null }
  }

  /** Moves all ways over a character, best first; returns the captures of a match that beats what comes after it. */
  #advance(text: string, at: number, charClass: number): Int32Array | null {
    const { kind, next, arg, members, alphabet, slots } = this.#program
    const now = this.#now
    const then = this.#then
    then.begin()
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
      switch (kind[step] as number) {
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

  /** Empties the list. */
  begin(): void {
    this.count = 0
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
