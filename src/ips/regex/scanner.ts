// Looks for the requirements of many patterns in one pass over a text: which patterns are worth asking.
import { Alphabet, SetTable } from './alphabet.ts'
import { setFrequency } from './rarity.ts'
import type { Requirement, Sequence } from './requirement.ts'
import type { Scanner } from './types.ts'

/** Most words that one sequence of sets is written out to. */
const MAX_WORDS = 64
/** Lengths of words to try, until the automaton is small enough. */
const LENGTHS = [6, 5, 4, 3, 2, 1]
const MAX_STATES = 24_000

/**
 * Builds the scanner. It can say that a requirement is met when only a stretch of one of its sequences occurs, never that
 * one is not met when it is. Memory is bounded: more requirements make for shorter stretches.
 */
export function createScanner(requirements: readonly Requirement[]): Scanner {
  const table = new SetTable()
  for (const requirement of requirements) {
    for (const sequence of requirement) for (const set of sequence) table.add(set)
  }
  const alphabet = new Alphabet(table.sets)
  const classes = new ClassLists(alphabet)
  for (const length of LENGTHS) {
    const trie = new Trie(alphabet.size, length === 1 ? Infinity : MAX_STATES)
    if (requirements.every((requirement, number) => addAll(trie, requirement, number, length, classes))) {
      return new WordScanner(trie, alphabet, requirements.length)
    }
  }
  throw new Error('One character per requirement fits every scanner')
}

function addAll(
  trie: Trie,
  requirement: Requirement,
  number: number,
  length: number,
  classes: ClassLists,
): boolean {
  return requirement.every(sequence => {
    const stretch = classes.rarest(sequence, length)
    return trie.add(stretch, number)
  })
}

/** The classes of each set, and stretches of sequences that have few words. */
class ClassLists {
  readonly #alphabet: Alphabet
  readonly #lists = new Map<string, readonly number[]>()

  constructor(alphabet: Alphabet) {
    this.#alphabet = alphabet
  }

  /** The rarest stretch of at most `length` sets that does not have too many words. */
  rarest(sequence: Sequence, length: number): readonly (readonly number[])[] {
    let best: readonly [number, number] = [0, 1]
    let bestFrequency = Infinity
    const lists = sequence.map(set => this.#list(set.join(';'), set))
    for (let from = 0; from < sequence.length; from++) {
      let words = 1
      let frequency = 1
      for (let to = from; to < Math.min(sequence.length, from + length); to++) {
        words *= lists[to]?.length ?? 0
        if (to > from && words > MAX_WORDS) break
        frequency *= setFrequency(sequence[to] ?? [])
        if (frequency < bestFrequency) {
          bestFrequency = frequency
          best = [from, to + 1]
        }
      }
    }
    return lists.slice(best[0], best[1])
  }

  #list(key: string, set: Sequence[number]): readonly number[] {
    const known = this.#lists.get(key)
    if (known !== undefined) return known
    const list: number[] = []
    this.#alphabet.members(set).forEach((holds, charClass) => {
      if (holds === 1) list.push(charClass)
    })
    this.#lists.set(key, list)
    return list
  }
}

/** Words over classes of characters, with the requirements that each word is of. */
class Trie {
  readonly width: number
  readonly #maxStates: number
  /** Per state and class: the next state, 0 for none. */
  table: Uint16Array | Uint32Array
  states = 1
  readonly outputs: (number[] | undefined)[] = []

  constructor(width: number, maxStates: number) {
    this.width = width
    this.#maxStates = maxStates
    this.table = new Uint32Array(1024 * width)
  }

  /** Adds all words of a sequence; false when the trie has grown too large. */
  add(sequence: readonly (readonly number[])[], requirement: number): boolean {
    let ends = [0]
    for (const list of sequence) {
      const next: number[] = []
      for (const end of ends) for (const charClass of list) next.push(this.#child(end, charClass))
      ends = next
      if (this.states > this.#maxStates) return false
    }
    for (const end of ends) {
      const output = (this.outputs[end] ??= [])
      if (!output.includes(requirement)) output.push(requirement)
    }
    return true
  }

  #child(state: number, charClass: number): number {
    const index = state * this.width + charClass
    const known = this.table[index] as number
    if (known !== 0) return known
    const added = this.states++
    if (this.states * this.width > this.table.length) {
      const larger = new Uint32Array(2 * this.table.length)
      larger.set(this.table)
      this.table = larger
    }
    this.table[index] = added
    return added
  }
}

/** Aho and Corasick's automaton (CACM 18, 1975) over classes of characters, every step written out. */
class WordScanner implements Scanner {
  readonly size: number
  readonly #alphabet: Alphabet
  readonly #shift: number
  readonly #table: Uint32Array
  /** States from here on have something to report. */
  readonly #reporting: number
  /** Per reporting state: what it reports, and the next shorter state that reports; -1: none. */
  readonly #reports: readonly (readonly number[])[]
  readonly #shorter: Int32Array
  /** The pass in which a state reported last: once is enough. */
  readonly #reported: Uint32Array
  #pass = 0

  constructor(trie: Trie, alphabet: Alphabet, size: number) {
    this.size = size
    this.#alphabet = alphabet
    const { order, fail } = complete(trie)
    const count = trie.states
    const longest = new Int32Array(count).fill(-1)
    for (const state of order) {
      const shorter = fail[state] as number
      if (state !== 0)
        longest[state] = trie.outputs[shorter] === undefined ? (longest[shorter] as number) : shorter
    }
    const reports = (state: number): boolean =>
      trie.outputs[state] !== undefined || (longest[state] as number) >= 0
    // Quiet states come first, nearest to the start, so that the steps of ordinary text lie close together.
    const sorted = [...order.filter(state => !reports(state)), ...order.filter(reports)]
    const numbers = new Int32Array(count)
    sorted.forEach((state, number) => (numbers[state] = number))
    this.#reporting = order.filter(state => !reports(state)).length
    this.#shift = Math.ceil(Math.log2(Math.max(2, alphabet.size)))
    this.#table = new Uint32Array(count << this.#shift)
    sorted.forEach((state, number) => {
      for (let c = 0; c < trie.width; c++) {
        this.#table[(number << this.#shift) + c] = numbers[
          trie.table[state * trie.width + c] as number
        ] as number
      }
    })
    const reporting = sorted.slice(this.#reporting)
    this.#reports = reporting.map(state => trie.outputs[state] ?? [])
    this.#shorter = Int32Array.from(reporting, state => {
      const shorter = longest[state] as number
      return shorter < 0 ? -1 : (numbers[shorter] as number)
    })
    this.#reported = new Uint32Array(reporting.length)
  }

  scan(text: string, into: Uint32Array = new Uint32Array((this.size + 31) >> 5)): Uint32Array {
    into.fill(0)
    if (++this.#pass === 0xffffffff) {
      this.#reported.fill(0)
      this.#pass = 1
    }
    const table = this.#table
    const shift = this.#shift
    const low = this.#alphabet.low
    const reporting = this.#reporting
    const reported = this.#reported
    const pass = this.#pass
    let state = 0
    for (let i = 0; i < text.length; i++) {
      const unit = text.charCodeAt(i)
      const charClass = unit < 256 ? (low[unit] as number) : this.#alphabet.high(unit)
      state = table[(state << shift) + charClass] as number
      if (state >= reporting && reported[state - reporting] !== pass) this.#report(state, into)
    }
    return into
  }

  /** Reports a state and all shorter ones, up to one that reported in this pass. */
  #report(from: number, into: Uint32Array): void {
    for (let state = from; state >= 0; state = this.#shorter[state - this.#reporting] as number) {
      const index = state - this.#reporting
      if (this.#reported[index] === this.#pass) return
      this.#reported[index] = this.#pass
      for (const number of this.#reports[index] ?? []) {
        into[number >> 5] = (into[number >> 5] as number) | (1 << (number & 31))
      }
    }
  }
}

/** Fills in the steps that leave a word for the longest other one; states come back in order of their length. */
function complete(trie: Trie): { readonly order: readonly number[]; readonly fail: Int32Array } {
  const { width, table } = trie
  const fail = new Int32Array(trie.states)
  const order = [0]
  for (let at = 0; at < order.length; at++) {
    const state = order[at] as number
    const shorter = fail[state] as number
    for (let c = 0; c < width; c++) {
      const child = table[state * width + c] as number
      const other = state === 0 ? 0 : (table[shorter * width + c] as number)
      if (child === 0) table[state * width + c] = other
      else {
        fail[child] = other
        order.push(child)
      }
    }
  }
  return { order, fail }
}
