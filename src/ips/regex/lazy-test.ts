// Answers whether a pattern matches, with a deterministic automaton that is built as texts ask for it.
import { AFTER, BEFORE } from './closure.ts'
import { Automaton } from './automaton.ts'
import type { Program } from './program.ts'
import { byteFrequency } from './rarity.ts'

/** Rows 0 to 2 of the table are no states; row 3 is a place where nothing has begun. */
const UNKNOWN = 0
const MATCH_ROW = 1
const DEAD_ROW = 2
const IDLE_ROW = 3
const SPECIAL_ROWS = 4

/** Share of characters that must begin nothing for a loop that passes over them to pay. */
const MIN_QUIET = 0.85

/** Most cells of the table and most steps kept in all states: at most about one and a half megabytes per pattern. */
const MAX_CELLS = 1 << 18
const MAX_KEPT = 1 << 17
const FIRST_ROWS = 16
/** A table that was filled within fewer characters per state than this is not worth keeping for the text. */
const MIN_REUSE = 8

/** The lazily built automaton of one program. The memory it keeps is bounded; a text that defeats it is stepped as a set. */
export class LazyTest {
  readonly #automaton: Automaton
  readonly #program: Program
  readonly #width: number
  readonly #maxRows: number
  /** Next row times width per row and class. */
  #table: Int32Array
  #rows = SPECIAL_ROWS
  /** Per row: the steps it stands for, as a part of `#kept`, and what stands before its place. */
  #offsets: Int32Array
  #counts: Int32Array
  #befores: Uint8Array
  #kept = new Uint16Array(256)
  #keptCount = 0
  readonly #buckets = new Map<number, number>()
  #chains: Int32Array
  #first = 0
  readonly #checksLastNewline: boolean
  /** For each unit below 256, whether nothing begins with it when nothing has begun before. */
  readonly #quiet: Uint8Array
  /** Whether characters that begin nothing are frequent enough to pass over them in a loop of their own. */
  readonly #skips: boolean

  constructor(program: Program) {
    this.#program = program
    this.#automaton = new Automaton(program)
    this.#width = program.alphabet.size
    this.#maxRows = Math.max(64, Math.floor(MAX_CELLS / this.#width))
    this.#table = new Int32Array(FIRST_ROWS * this.#width)
    this.#offsets = new Int32Array(FIRST_ROWS)
    this.#counts = new Int32Array(FIRST_ROWS)
    this.#befores = new Uint8Array(FIRST_ROWS)
    this.#chains = new Int32Array(FIRST_ROWS)
    this.#checksLastNewline = program.asserts.has('last-line')
    this.#quiet = Uint8Array.from(program.alphabet.low, charClass =>
      this.#automaton.isQuiet(charClass) ? 1 : 0,
    )
    this.#skips = this.#quiet.reduce((sum, quiet, unit) => sum + quiet * byteFrequency(unit), 0) > MIN_QUIET
    this.#reset()
  }

  /** How many characters have to be read to see that the pattern matches, -1: it does not. Time is linear in the length. */
  reach(text: string): number {
    const { alphabet } = this.#program
    const low = alphabet.low
    const width = this.#width
    const special = SPECIAL_ROWS * width
    const end = text.length
    let table = this.#table
    let row = this.#first
    let filledFrom = 0
    const lastNewline = this.#lastNewline(text)
    const stop = lastNewline < 0 ? end : lastNewline
    const idle = IDLE_ROW * width
    const quiet = this.#quiet
    for (let i = 0; i < end; i++) {
      if (i === lastNewline && this.#isMatch(row, AFTER.lastNewline)) return i + 1
      const unit = text.charCodeAt(i)
      const charClass = unit < 256 ? (low[unit] as number) : alphabet.high(unit)
      let to = table[row + charClass] as number
      if (to < special) {
        if (to === UNKNOWN) {
          if (this.#isFull()) {
            if (i - filledFrom < MIN_REUSE * this.#rows) return this.#simulate(text, i, row / width)
            row = this.#flush(row / width) * width
            filledFrom = i
          }
          to = this.#build(row / width, charClass) * width
          table = this.#table
        }
        if (to === MATCH_ROW * width) return i + 1
        if (to === DEAD_ROW * width) return -1
        if (to === idle) {
          // Most characters of most texts begin nothing: pass over them without a step each.
          while (++i < stop && quiet[text.charCodeAt(i)] === 1);
          i--
        }
      }
      row = to
    }
    return this.#isMatch(row, AFTER.end) ? end : -1
  }

  /** Where the newline is that ends the text, if the pattern cares; else -1. */
  #lastNewline(text: string): number {
    return this.#checksLastNewline && text.endsWith('\n') ? text.length - 1 : -1
  }

  #isMatch(row: number, after: typeof AFTER.end | typeof AFTER.lastNewline): boolean {
    const number = row / this.#width
    const offset = this.#offsets[number] as number
    const before = this.#befores[number] as number
    return this.#automaton.matchesAt(this.#kept, offset, this.#counts[number] as number, before, after)
  }

  #isFull(): boolean {
    return this.#rows >= this.#maxRows || this.#keptCount > MAX_KEPT
  }

  #reset(): void {
    this.#table.fill(0)
    this.#buckets.clear()
    this.#rows = SPECIAL_ROWS
    this.#keptCount = 0
    this.#offsets[IDLE_ROW] = 0
    this.#counts[IDLE_ROW] = 0
    this.#befores[IDLE_ROW] = BEFORE.other
    const looksBack = this.#automaton.looksBack
    this.#first = this.#row([], 0, looksBack ? BEFORE.start : BEFORE.other) * this.#width
  }

  /** Forgets all states but one, whose new row it returns. */
  #flush(row: number): number {
    const offset = this.#offsets[row] as number
    const steps = this.#kept.slice(offset, offset + (this.#counts[row] as number))
    const before = this.#befores[row] as number
    this.#reset()
    return this.#row(steps, steps.length, before)
  }

  #build(row: number, charClass: number): number {
    const automaton = this.#automaton
    const offset = this.#offsets[row] as number
    const count = this.#counts[row] as number
    let to = MATCH_ROW
    if (!automaton.step(this.#kept, offset, count, this.#befores[row] as number, charClass)) {
      if (automaton.reachedCount === 0 && automaton.isAnchored) to = DEAD_ROW
      else {
        automaton.reached.subarray(0, automaton.reachedCount).sort()
        to = this.#row(automaton.reached, automaton.reachedCount, automaton.beforeOf(charClass))
      }
    }
    this.#table[row * this.#width + charClass] = to * this.#width
    return to
  }

  /** The row that stands for these sorted steps. */
  #row(steps: ArrayLike<number>, count: number, before: number): number {
    if (count === 0 && before === BEFORE.other && this.#skips) return IDLE_ROW
    let hash = before
    for (let i = 0; i < count; i++) hash = (Math.imul(hash, 31) + (steps[i] as number)) | 0
    const head = this.#buckets.get(hash) ?? 0
    for (let row = head; row !== 0; row = this.#chains[row] as number) {
      if (this.#isSame(row, steps, count, before)) return row
    }
    const row = this.#rows++
    this.#makeRoom(count)
    for (let i = 0; i < count; i++) this.#kept[this.#keptCount + i] = steps[i] as number
    this.#offsets[row] = this.#keptCount
    this.#counts[row] = count
    this.#befores[row] = before
    this.#keptCount += count
    this.#chains[row] = head
    this.#buckets.set(hash, row)
    return row
  }

  #isSame(row: number, steps: ArrayLike<number>, count: number, before: number): boolean {
    if (this.#counts[row] !== count || this.#befores[row] !== before) return false
    const offset = this.#offsets[row] as number
    for (let i = 0; i < count; i++) if (this.#kept[offset + i] !== steps[i]) return false
    return true
  }

  #makeRoom(count: number): void {
    if (this.#keptCount + count > this.#kept.length) {
      const larger = new Uint16Array(2 * (this.#keptCount + count))
      larger.set(this.#kept)
      this.#kept = larger
    }
    if (this.#rows <= this.#offsets.length) return
    const rows = 2 * this.#offsets.length
    this.#table = enlarge(this.#table, rows * this.#width)
    this.#offsets = enlarge(this.#offsets, rows)
    this.#counts = enlarge(this.#counts, rows)
    this.#chains = enlarge(this.#chains, rows)
    const befores = new Uint8Array(rows)
    befores.set(this.#befores)
    this.#befores = befores
  }

  /** Goes on from a state without keeping new ones. */
  #simulate(text: string, from: number, row: number): number {
    const automaton = this.#automaton
    const { alphabet } = this.#program
    const offset = this.#offsets[row] as number
    let count = this.#counts[row] as number
    let before = this.#befores[row] as number
    const steps = new Int32Array(automaton.reached.length)
    steps.set(this.#kept.subarray(offset, offset + count))
    const end = text.length
    const lastNewline = this.#lastNewline(text)
    for (let i = from; i < end; i++) {
      if (i === lastNewline && automaton.matchesAt(steps, 0, count, before, AFTER.lastNewline)) return i + 1
      const charClass = alphabet.classOf(text.charCodeAt(i))
      if (automaton.step(steps, 0, count, before, charClass)) return i + 1
      count = automaton.reachedCount
      for (let k = 0; k < count; k++) steps[k] = automaton.reached[k] as number
      before = automaton.beforeOf(charClass)
      if (count === 0 && automaton.isAnchored) return -1
    }
    return automaton.matchesAt(steps, 0, count, before, AFTER.end) ? end : -1
  }
}

function enlarge(cells: Int32Array, length: number): Int32Array<ArrayBuffer> {
  const larger = new Int32Array(length)
  larger.set(cells)
  return larger
}
