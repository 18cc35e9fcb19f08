// Divides the code units into classes that a pattern, or a set of them, cannot tell apart.
import { holds, keyOf, normalise } from './char-set.ts'
import type { CharSet } from './requirement.ts'

const BYTES = 256

/** Classes of code units, numbered from 0. */
export class Alphabet {
  /** Class of each unit below 256. */
  readonly low: Uint16Array
  /** Number of classes. */
  readonly size: number
  /** A unit of each class. */
  readonly samples: readonly number[]
  readonly #starts: Uint16Array
  readonly #classes: Uint16Array

  /** Divides so that every given set is a union of classes. */
  constructor(sets: readonly CharSet[]) {
    const bounds = new Set([0, BYTES])
    for (const set of sets) {
      for (const [first, last] of set) {
        bounds.add(first)
        bounds.add(last + 1)
      }
    }
    bounds.delete(0x10000)
    const starts = [...bounds].sort((a, b) => a - b)
    const parts = refine(starts, sets)
    const numbers = new Map<number, number>()
    const samples: number[] = []
    const classes = starts.map((start, index) => {
      const part = parts[index] ?? 0
      const known = numbers.get(part)
      if (known !== undefined) return known
      samples.push(start)
      numbers.set(part, numbers.size)
      return numbers.size - 1
    })
    this.low = new Uint16Array(BYTES)
    for (let i = 0; i < starts.length && (starts[i] ?? BYTES) < BYTES; i++) {
      this.low.fill(classes[i] ?? 0, starts[i], Math.min(starts[i + 1] ?? BYTES, BYTES))
    }
    const high = starts.indexOf(BYTES)
    this.#starts = Uint16Array.from(starts.slice(high))
    this.#classes = Uint16Array.from(classes.slice(high))
    this.size = samples.length
    this.samples = samples
  }

  /** Class of a unit from 256 on. */
  high(unit: number): number {
    let from = 0
    let to = this.#starts.length - 1
    while (from < to) {
      const middle = (from + to + 1) >> 1
      if ((this.#starts[middle] as number) <= unit) from = middle
      else to = middle - 1
    }
    return this.#classes[from] as number
  }

  /** Class of any unit. */
  classOf(unit: number): number {
    return unit < BYTES ? (this.low[unit] as number) : this.high(unit)
  }

  /** For each class, whether the set holds it. */
  members(set: CharSet): Uint8Array {
    return Uint8Array.from(this.samples, sample => (holds(set, sample) ? 1 : 0))
  }
}

/**
 * Divides the ranges that begin at `starts` (sorted; every bound of a set is among them): two are in the same part when the
 * same sets hold them. Each set splits the parts that it holds some of, so that the work is in the ranges that sets hold.
 */
function refine(starts: readonly number[], sets: readonly CharSet[]): Int32Array {
  const places = new Map(starts.map((start, index) => [start, index]))
  const parts = new Int32Array(starts.length)
  const sizes = [starts.length]
  for (const set of sets) {
    const held: number[] = []
    for (const [first, last] of normalise(set)) {
      for (let at = places.get(first) ?? 0; (starts[at] ?? Infinity) <= last; at++) held.push(at)
    }
    const perPart = new Map<number, number>()
    for (const at of held) perPart.set(parts[at] as number, (perPart.get(parts[at] as number) ?? 0) + 1)
    const splits = new Map<number, number>()
    for (const [part, count] of perPart) {
      if (count === sizes[part]) continue
      sizes[part] = (sizes[part] ?? 0) - count
      splits.set(part, sizes.push(count) - 1)
    }
    for (const at of held) parts[at] = splits.get(parts[at] as number) ?? (parts[at] as number)
  }
  return parts
}

/** Numbers distinct sets. */
export class SetTable {
  readonly sets: CharSet[] = []
  readonly #numbers = new Map<string, number>()
  /** The same set comes again and again: its text is worked out once. */
  readonly #known = new Map<CharSet, number>()

  add(set: CharSet): number {
    let number = this.#known.get(set)
    if (number === undefined) {
      const key = keyOf(set)
      number = this.#numbers.get(key)
      if (number === undefined) {
        number = this.sets.push(set) - 1
        this.#numbers.set(key, number)
      }
      this.#known.set(set, number)
    }
    return number
  }
}
