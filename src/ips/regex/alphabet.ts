// Divides the code units into classes that a pattern, or a set of them, cannot tell apart.
import { holds, keyOf } from './char-set.ts'
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
    const numbers = new Map<string, number>()
    const samples: number[] = []
    const classes = starts.map(start => {
      const signature = sets.map(set => (holds(set, start) ? '1' : '0')).join('')
      const known = numbers.get(signature)
      if (known !== undefined) return known
      samples.push(start)
      numbers.set(signature, numbers.size)
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

/** Numbers distinct sets. */
export class SetTable {
  readonly sets: CharSet[] = []
  readonly #numbers = new Map<string, number>()

  add(set: CharSet): number {
    const key = keyOf(set)
    const known = this.#numbers.get(key)
    if (known !== undefined) return known
    this.#numbers.set(key, this.sets.length)
    return this.sets.push(set) - 1
  }
}
