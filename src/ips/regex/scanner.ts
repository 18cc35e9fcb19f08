// Looks for the requirements of many patterns in one pass over a text: which patterns are worth asking.
import { Alphabet, SetTable } from './alphabet.ts'
import { foldCase } from './char-set.ts'
import { setFrequency } from './rarity.ts'
import type { CharSet, Requirement } from './requirement.ts'
import type { Scanner } from './types.ts'

/** Most words that one sequence of sets is written out to. */
const MAX_WORDS = 64
/** Lengths of words to try, until the automaton is small enough. */
const LENGTHS = [6, 5, 4, 3, 2, 1]
/** Most cells of the table: 8 MB. */
const MAX_CELLS = 1 << 22
const MAX_STATES = 32_000

/**
 * Builds the scanner. It can say that a requirement is met when only a stretch of one of its sequences occurs, or in another
 * case, never that one is not met when it is. Memory is bounded: more requirements make for shorter stretches.
 */
export function createScanner(exact: readonly Requirement[]): Scanner {
  // Words in any mixture of cases would be many; without regard to case each is one.
  const table = new SetTable()
  const numbers = new Map<CharSet, number>()
  const requirements = exact.map(requirement =>
    requirement.map(sequence =>
      sequence.map(set => {
        const known = numbers.get(set)
        if (known !== undefined) return known
        const number = table.add(foldCase(set))
        numbers.set(set, number)
        return number
      }),
    ),
  )
  const alphabet = new Alphabet(table.sets)
  const classes = new ClassLists(alphabet, table.sets)
  for (const length of LENGTHS) {
    const trie = new Trie(alphabet.size, Math.min(MAX_STATES, MAX_CELLS >> shiftOf(alphabet.size)))
    if (requirements.every((requirement, number) => addAll(trie, requirement, number, length, classes))) {
      return new WordScanner(trie, alphabet, requirements.length)
    }
  }
  throw new Error('One character per requirement fits every scanner')
}

/** Bits that the number of a class takes. */
function shiftOf(classes: number): number {
  return Math.ceil(Math.log2(Math.max(2, classes)))
}

function addAll(
  trie: Trie,
  requirement: readonly (readonly number[])[],
  number: number,
  length: number,
  classes: ClassLists,
): boolean {
  return requirement.every(sequence => {
    const stretch = classes.rarest(sequence, length)
    const [only] = stretch
    if (stretch.length > 1 || only === undefined) return trie.add(stretch, number)
    for (const charClass of only) trie.addSingle(charClass, number)
    return true
  })
}

/** The classes of each set, and stretches of sequences that have few words. Sets are given by their numbers. */
class ClassLists {
  readonly #lists: readonly (readonly number[])[]
  readonly #frequencies: readonly number[]

  constructor(alphabet: Alphabet, sets: readonly CharSet[]) {
    this.#lists = sets.map(set => {
      const list: number[] = []
      alphabet.members(set).forEach((holds, charClass) => {
        if (holds === 1) list.push(charClass)
      })
      return list
    })
    this.#frequencies = sets.map(setFrequency)
  }

  /** The rarest stretch of at most `length` sets that does not have too many words. */
  rarest(sequence: readonly number[], length: number): readonly (readonly number[])[] {
    let best: readonly [number, number] = [0, 1]
    let bestFrequency = Infinity
    const lists = sequence.map(set => this.#lists[set] ?? [])
    for (let from = 0; from < sequence.length; from++) {
      let words = 1
      let frequency = 1
      for (let to = from; to < Math.min(sequence.length, from + length); to++) {
        words *= lists[to]?.length ?? 0
        if (to > from && words > MAX_WORDS) break
        frequency *= this.#frequencies[sequence[to] ?? -1] ?? 0
        if (frequency < bestFrequency) {
          bestFrequency = frequency
          best = [from, to + 1]
        }
      }
    }
    return lists.slice(best[0], best[1])
  }
}

/** Words over classes of characters, with the requirements that each word is of. */
class Trie {
  readonly width: number
  readonly #maxStates: number
  /** Per state and class: the next state, 0 for none. */
  table: Uint32Array
  /** The number of states; at most 65,536. */
  states = 1
  readonly outputs: (number[] | undefined)[] = []
  /** Per state: classes for which it has a next state of its own. */
  readonly children: number[][] = [[]]
  /** Per class: requirements that a single character of it meets. */
  readonly singles: number[][]

  constructor(width: number, maxStates: number) {
    this.width = width
    this.#maxStates = maxStates
    this.singles = Array.from({ length: width }, () => [])
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

  addSingle(charClass: number, requirement: number): void {
    this.singles[charClass]?.push(requirement)
  }

  #child(state: number, charClass: number): number {
    const index = state * this.width + charClass
    const known = this.table[index] as number
    if (known !== 0) return known
    const added = this.states++
    this.children[state]?.push(charClass)
    this.children.push([])
    if (this.states * this.width > this.table.length) {
      const larger = new Uint32Array(2 * this.table.length)
      larger.set(this.table)
      this.table = larger
    }
    this.table[index] = added
    return added
  }
}

const NOTHING_MET: Uint32Array = new Uint32Array(0)

/** Aho and Corasick's automaton (CACM 18, 1975) over classes of characters, every step written out. */
class WordScanner implements Scanner {
  readonly size: number
  readonly #alphabet: Alphabet
  readonly #shift: number
  readonly #table: Uint16Array
  /** States from here on have something to report. */
  readonly #reporting: number
  /** Per reporting state: which report it makes. */
  readonly #reportOf: Uint16Array
  readonly #reports: readonly (readonly number[])[]
  /** Per report: the pass in which it was made last; once is enough. */
  readonly #made: Uint32Array
  readonly #singles: readonly (readonly number[])[]
  /** Per class: the pass in which it was seen last. */
  readonly #seen: Uint32Array
  #pass = 0
  /** What the text under the scan meets; empty between scans. */
  readonly #met: Uint32Array

  constructor(trie: Trie, alphabet: Alphabet, size: number) {
    this.size = size
    this.#met = new Uint32Array((size + 31) >> 5)
    this.#alphabet = alphabet
    this.#singles = trie.singles
    this.#seen = new Uint32Array(alphabet.size)
    const { order, fail } = complete(trie)
    // Per state: which report it makes, of all words that end there; 0: none. Equal reports are one.
    const reports = new Reports()
    const made = new Int32Array(trie.states)
    for (const state of order) {
      const shorter = made[fail[state] as number] as number
      made[state] = state === 0 ? 0 : reports.add(trie.outputs[state] ?? [], shorter)
    }
    const quiet = order.filter(state => made[state] === 0)
    // Quiet states come first, nearest to the start, so that the steps of ordinary text lie close together.
    const sorted = [...quiet, ...order.filter(state => made[state] !== 0)]
    const numbers = new Int32Array(trie.states)
    sorted.forEach((state, number) => (numbers[state] = number))
    this.#reporting = quiet.length
    this.#shift = shiftOf(alphabet.size)
    this.#table = new Uint16Array(trie.states << this.#shift)
    const { table: steps, width } = trie
    const table = this.#table
    for (const [number, state] of sorted.entries()) {
      const to = number << this.#shift
      const from = state * width
      for (let c = 0; c < width; c++) table[to + c] = numbers[steps[from + c] as number] as number
    }
    this.#reportOf = Uint16Array.from(sorted.slice(quiet.length), state => made[state] ?? 0)
    this.#reports = reports.lists
    this.#made = new Uint32Array(reports.lists.length)
  }

  scan(text: string): Uint32Array {
    const met = this.#met
    // Most texts meet nothing, and then no memory is needed to say so.
    if (!this.#add(text, met)) return NOTHING_MET
    const own = new Uint32Array(met)
    met.fill(0)
    return own
  }

  scanEach(texts: readonly { readonly value: string }[], each: (readonly number[] | null)[]): Uint32Array {
    const met = this.#met
    let any = NOTHING_MET
    for (let index = 0; index < texts.length; index++) {
      if (!this.#add(texts[index]?.value ?? '', met)) {
        each.push(null)
        continue
      }
      if (any === NOTHING_MET) any = new Uint32Array(met.length)
      each.push(take(met, any))
    }
    return any
  }

  /** @returns whether anything is met */
  #add(text: string, into: Uint32Array): boolean {
    const pass = this.#nextPass()
    let isMet = false
    const table = this.#table
    const shift = this.#shift
    const { low } = this.#alphabet
    const reporting = this.#reporting
    const reportOf = this.#reportOf
    const made = this.#made
    const seen = this.#seen
    let state = 0
    for (let i = 0; i < text.length; i++) {
      const unit = text.charCodeAt(i)
      const charClass = unit < 256 ? (low[unit] as number) : this.#alphabet.high(unit)
      if (seen[charClass] !== pass) {
        seen[charClass] = pass
        isMet = mark(this.#singles[charClass] ?? [], into) || isMet
      }
      state = table[(state << shift) + charClass] as number
      if (state >= reporting) {
        const report = reportOf[state - reporting] as number
        if (made[report] !== pass) {
          made[report] = pass
          isMet = mark(this.#reports[report] ?? [], into) || isMet
        }
      }
    }
    return isMet
  }

  /** Passes are numbered so that nothing need be cleared between them. */
  #nextPass(): number {
    if (this.#pass === 0xffffffff) {
      this.#made.fill(0)
      this.#seen.fill(0)
      this.#pass = 0
    }
    return ++this.#pass
  }
}

/** Sets of requirements, numbered; 0 is the empty one. */
class Reports {
  readonly lists: (readonly number[])[] = [[]]
  readonly #numbers = new Map<string, number>()

  /** The number of the set that holds these and those of another set. */
  add(requirements: readonly number[], other: number): number {
    if (requirements.length === 0) return other
    const all = [...new Set([...requirements, ...(this.lists[other] ?? [])])].sort((a, b) => a - b)
    const key = all.join()
    const known = this.#numbers.get(key)
    if (known !== undefined) return known
    this.#numbers.set(key, this.lists.length)
    return this.lists.push(all) - 1
  }
}

function mark(numbers: readonly number[], into: Uint32Array): boolean {
  for (let i = 0; i < numbers.length; i++) {
    const number = numbers[i] as number
    const word = number >> 5
    into[word] = (into[word] as number) | (1 << (number & 31))
  }
  return numbers.length > 0
}

/** The numbers of the bits that are set, which are added to another set and cleared. */
function take(met: Uint32Array, any: Uint32Array): number[] {
  const numbers: number[] = []
  for (let word = 0; word < met.length; word++) {
    let rest = met[word] as number
    if (rest === 0) continue
    any[word] = (any[word] as number) | rest
    met[word] = 0
    while (rest !== 0) {
      const bit = 31 - Math.clz32(rest)
      rest &= ~(1 << bit)
      numbers.push(word * 32 + bit)
    }
  }
  return numbers
}

/** Fills in the steps that leave a word for the longest other one; states come back in order of their length. */
function complete(trie: Trie): { readonly order: readonly number[]; readonly fail: Int32Array } {
  const { width, table, children } = trie
  const fail = new Int32Array(trie.states)
  const order = [0]
  for (let at = 0; at < order.length; at++) {
    const state = order[at] as number
    const from = state * width
    // Most steps are those of the longest other word, whose row is complete by now: only the own ones differ.
    const shorter = (fail[state] as number) * width
    const own = (children[state] ?? []).sort((a, b) => a - b)
    const steps = own.map(charClass => table[from + charClass] as number)
    if (state !== 0) table.copyWithin(from, shorter, shorter + width)
    for (const [index, charClass] of own.entries()) {
      const child = steps[index] as number
      fail[child] = state === 0 ? 0 : (table[from + charClass] as number)
      table[from + charClass] = child
      order.push(child)
    }
  }
  return { order, fail }
}
