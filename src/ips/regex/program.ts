// Turns a parsed pattern into a program of small steps that the matchers run: a nondeterministic automaton.
import { Alphabet, SetTable } from './alphabet.ts'
import { NEWLINE, WORD } from './char-set.ts'
import type { CharSet } from './requirement.ts'
import { isNullable, type Assertion, type Node, type Syntax } from './syntax.ts'

/** Kinds of steps. */
export const STEP = {
  /** Consumes a character of set `arg`, goes on at `next`. */
  set: 0,
  /** Goes on at `next` or else at `arg`, the first preferred. */
  split: 1,
  /** Remembers the place in slot `arg`, goes on at `next`. */
  save: 2,
  /** Goes on at `next` if assertion `arg` holds. */
  assert: 3,
  match: 4,
} as const

/** Assertions by the number that a step's `arg` holds. */
export const ASSERTIONS: readonly Assertion[] = [
  'start',
  'line-start',
  'end',
  'last-line',
  'line-end',
  'word-boundary',
  'not-word-boundary',
]

/** Steps, as parallel arrays. */
export type Program = {
  readonly kind: Uint8Array
  readonly next: Int32Array
  readonly arg: Int32Array
  readonly start: number
  /** Number of slots that captures need: two per group, the whole match first. */
  readonly slots: number
  readonly alphabet: Alphabet
  /** For set n and class c: `members[n * alphabet.size + c]` is 1 if the set holds the class. */
  readonly members: Uint8Array
  /** Which assertions occur. */
  readonly asserts: ReadonlySet<Assertion>
}

const MAX_STEPS = 20_000

/** The pattern needs more steps than a program may have. */
export class ProgramTooLarge extends Error {
  constructor() {
    super(`grows beyond ${MAX_STEPS} steps when its repeat counts are written out`)
  }
}

/**
 * Builds the program of a pattern.
 * @param captures whether to remember the places of groups; without, the program is smaller
 * @throws ProgramTooLarge
 */
export function buildProgram(syntax: Syntax, captures: boolean): Program {
  return new Builder(captures).build(syntax)
}

class Builder {
  readonly #captures: boolean
  readonly #kind: number[] = []
  readonly #next: number[] = []
  readonly #arg: number[] = []
  readonly #table = new SetTable()
  readonly #asserts = new Set<Assertion>()
  #added = 0

  constructor(captures: boolean) {
    this.#captures = captures
  }

  build(syntax: Syntax): Program {
    const match = this.#step(STEP.match, 0, 0)
    const start = this.#add({ kind: 'group', part: syntax.root, index: 0 }, match)
    const sets: CharSet[] = [...this.#table.sets]
    const asserts = this.#asserts
    if (asserts.has('word-boundary') || asserts.has('not-word-boundary')) sets.push(WORD)
    if (asserts.has('line-start') || asserts.has('line-end') || asserts.has('last-line')) sets.push(NEWLINE)
    const alphabet = new Alphabet(sets)
    const members = new Uint8Array(this.#table.sets.length * alphabet.size)
    this.#table.sets.forEach((set, number) => members.set(alphabet.members(set), number * alphabet.size))
    return {
      kind: Uint8Array.from(this.#kind),
      next: Int32Array.from(this.#next),
      arg: Int32Array.from(this.#arg),
      start,
      slots: this.#captures ? 2 * (syntax.groups + 1) : 0,
      alphabet,
      members,
      asserts,
    }
  }

  #step(kind: number, next: number, arg: number): number {
    if (this.#kind.length >= MAX_STEPS) throw new ProgramTooLarge()
    this.#next.push(next)
    this.#arg.push(arg)
    return this.#kind.push(kind) - 1
  }

  /** Adds the steps of a part that goes on at `next`; returns the first of them. */
  #add(node: Node, next: number): number {
    // Repeats of parts without steps would otherwise go on and on.
    if (++this.#added > 4 * MAX_STEPS) throw new ProgramTooLarge()
    switch (node.kind) {
      case 'empty':
        return next
      case 'set':
        return this.#step(STEP.set, next, this.#table.add(node.set))
      case 'assert':
        this.#asserts.add(node.what)
        return this.#step(STEP.assert, next, ASSERTIONS.indexOf(node.what))
      case 'concat':
        return node.parts.reduceRight((after, part) => this.#add(part, after), next)
      case 'choice':
        return this.#addChoice(node.parts, next)
      case 'repeat':
        return this.#addRepeat(node, next)
      case 'group': {
        if (!this.#captures) return this.#add(node.part, next)
        const close = this.#step(STEP.save, next, 2 * node.index + 1)
        return this.#step(STEP.save, this.#add(node.part, close), 2 * node.index)
      }
    }
  }

  #addChoice(parts: readonly Node[], next: number): number {
    let otherwise = -1
    for (const part of parts.toReversed()) {
      const first = this.#add(part, next)
      otherwise = otherwise === -1 ? first : this.#step(STEP.split, first, otherwise)
    }
    return otherwise
  }

  #addRepeat(node: Node & { kind: 'repeat' }, next: number): number {
    const { part, min, max, lazy } = node
    let entry = next
    if (max === Infinity) {
      if (min > 0) {
        entry = this.#addLoop(part, next, lazy)
        return this.#addTimes(part, min - 1, entry)
      }
      // A part that can match nothing loops after a first round, so that its preferred empty way counts.
      return isNullable(part)
        ? this.#optional(this.#addLoop(part, next, lazy), next, lazy)
        : this.#addStar(part, next, lazy)
    }
    for (let extra = max - min; extra > 0; extra--) {
      entry = this.#optional(this.#add(part, entry), next, lazy)
    }
    return this.#addTimes(part, min, entry)
  }

  #addTimes(part: Node, times: number, next: number): number {
    let entry = next
    for (let left = times; left > 0; left--) entry = this.#add(part, entry)
    return entry
  }

  #optional(first: number, next: number, lazy: boolean): number {
    return lazy ? this.#step(STEP.split, next, first) : this.#step(STEP.split, first, next)
  }

  /** One or more rounds. */
  #addLoop(part: Node, next: number, lazy: boolean): number {
    const again = this.#optional(next, next, lazy)
    const first = this.#add(part, again)
    this.#patch(again, first, lazy)
    return first
  }

  #addStar(part: Node, next: number, lazy: boolean): number {
    const again = this.#optional(next, next, lazy)
    this.#patch(again, this.#add(part, again), lazy)
    return again
  }

  #patch(split: number, first: number, lazy: boolean): void {
    if (lazy) this.#arg[split] = first
    else this.#next[split] = first
  }
}
