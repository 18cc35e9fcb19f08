// What one request's way through the rules remembers: values of collections, what transforms made of them, what scans said.
import type { Inspected } from '../parts/inspected.ts'
import type { Scanner } from '../regex/types.ts'
import type { FieldValue, Place, Run } from '../rule.ts'
import type { Plan, TargetPlan } from './plan.ts'

/** A distinct text of the request, with everything that was found out about it. */
export type Cell = {
  readonly value: string
  /** Which requirements it meets; null: not scanned. */
  bits: Uint32Array | null
  /** What transforms make of it, by their numbers. */
  next: (Cell | undefined)[] | null
}

/** The values of a collection after a chain of transforms. */
export type View = {
  readonly values: readonly FieldValue[]
  /** Null: no transform in any rule, so that the values are looked at as they are. */
  readonly cells: readonly Cell[] | null
  /** Requirements that any of the values meets; null: not scanned. */
  any: Uint32Array | null
  /** Without cells: requirements that each of several values meets, one after the other; null: not scanned, or one value. */
  each: Uint32Array | null
}

/** Where a rule held. */
export type Found = {
  readonly value: FieldValue
  /** The value after transforms: what the place is a place in. */
  readonly text: string
  readonly place: Place | null
}

const EMPTY: readonly FieldValue[] = []
/** From here on it is worth knowing whether the same text was scanned before. */
const LARGE = 512
/** Scans tell the cases of these letters apart: in byte strings they are no letters. */
const ABOVE_ASCII = /[^\0-\x7f]/
/** Stands for no requirement at all: most values meet none. */
const NOTHING = new Uint32Array(0)
const isZero = (word: number): boolean => word === 0

/** The memory of one pass. Not for use by two requests. */
export class Pass {
  readonly run: Run
  /** True as soon as the work budget is used up: nothing is true any more. */
  exhausted = false
  /** The best place that the rule under test held at. */
  found: Found | null = null
  #inspected: Inspected
  readonly #plan: Plan
  readonly #scanner: Scanner | null
  readonly #maxWork: number
  readonly #scratch: Uint32Array
  readonly #collections: (readonly FieldValue[] | undefined)[] = []
  readonly #views: (View | undefined)[] = []
  readonly #cells = new Map<string, Cell>()
  /** Large texts of which is known what they meet. */
  readonly #scanned: { readonly text: string; readonly any: Uint32Array }[] = []

  /** @param scanner null: nothing is known before an operator is asked */
  constructor(plan: Plan, scanner: Scanner | null, maxWork: number, inspected: Inspected, run: Run) {
    this.#plan = plan
    this.#scanner = scanner
    this.#maxWork = maxWork
    this.#scratch = new Uint32Array(((scanner?.size ?? 0) + 31) >> 5)
    this.#inspected = inspected
    this.run = run
    run.inspected = inspected
  }

  get inspected(): Inspected {
    return this.#inspected
  }

  /** Goes on with a later phase: collections that were not complete are read again, what is known of texts stays. */
  advance(inspected: Inspected): void {
    this.#inspected = inspected
    this.run.inspected = inspected
    for (const [number, collection] of this.#plan.collections.entries()) {
      if (collection.phase === 'body' || collection.phase === 'message') this.#collections[number] = undefined
    }
    this.#views.length = 0
  }

  /** The values of a collection. */
  values(number: number): readonly FieldValue[] {
    const known = this.#collections[number]
    if (known !== undefined) return known
    const collection = this.#plan.collections[number]
    if (collection === undefined) return EMPTY
    const values = collection.read(this.#inspected, this.run)
    // A copy, because what is read grows while it is asked: every match adds to the matched values.
    if (collection.volatile) return [...values]
    this.#collections[number] = values
    return values
  }

  /** The transformed values of a target's collection, which must not be volatile. */
  view(target: TargetPlan, chain: readonly number[]): View {
    const known = this.#views[target.view]
    if (known !== undefined) return known
    const values = this.values(target.collection)
    const cells =
      this.#plan.transforms.length === 0
        ? null
        : values.map(({ value }) => this.through(this.cell(value), chain))
    const view: View = { values, cells, any: null, each: null }
    this.#views[target.view] = view
    return view
  }

  /** Whether a value of the view meets a requirement. */
  anyMeets(view: View, bit: number): boolean {
    const any = this.anyBits(view)
    return any === null || ((any[bit >> 5] as number) & (1 << (bit & 31))) !== 0
  }

  /** Requirements that any value of the view meets; null: nobody knows, there is no scanner. */
  anyBits(view: View): Uint32Array | null {
    if (this.#scanner === null) return null
    let { any } = view
    if (any === null) {
      any = new Uint32Array((this.#scanner.size + 31) >> 5)
      view.any = any
      if (view.cells === null) {
        view.any = this.#scanView(view, any, this.#scanner)
        return view.any
      }
      for (const cell of view.cells) {
        const bits = this.#bits(cell, this.#scanner)
        if (bits === NOTHING) continue
        for (let word = 0; word < any.length; word++)
          any[word] = (any[word] as number) | (bits[word] as number)
      }
    }
    return any
  }

  /** Scans the values of a view without cells. */
  #scanView(view: View, any: Uint32Array, scanner: Scanner): Uint32Array {
    const { values } = view
    const [only] = values
    if (values.length === 1 && only !== undefined) return this.#scanOnly(only.value, any, scanner)
    let characters = 0
    for (let at = 0; at < values.length; at++) characters += values[at]?.value.length ?? 0
    this.spend(characters)
    view.each = new Uint32Array(values.length * any.length)
    scanner.scanEach(values, view.each, any)
    return any
  }

  /** A body as sent and as decoded is most often one text, and scans do not see its case. */
  #scanOnly(value: string, into: Uint32Array, scanner: Scanner): Uint32Array {
    if (value.length < LARGE) {
      this.spend(value.length)
      return scanner.scan(value, into)
    }
    const folded = value.toLowerCase()
    for (const { text, any } of this.#scanned) if (text === folded && !ABOVE_ASCII.test(text)) return any
    this.spend(value.length)
    this.#scanned.push({ text: folded, any: into })
    return scanner.scan(value, into)
  }

  /** Whether a value of a view without cells meets a requirement. */
  meetsAt(view: View, index: number, bit: number): boolean {
    const any = this.anyBits(view)
    if (any === null) return true
    const bits = view.each ?? any
    const from = view.each === null ? 0 : index * any.length
    return ((bits[from + (bit >> 5)] as number) & (1 << (bit & 31))) !== 0
  }

  /** Whether a text meets a requirement. */
  meets(cell: Cell, bit: number): boolean {
    if (this.#scanner === null) return true
    return ((this.#bits(cell, this.#scanner)[bit >> 5] ?? 0) & (1 << (bit & 31))) !== 0
  }

  #bits(cell: Cell, scanner: Scanner): Uint32Array {
    if (cell.bits === null) {
      this.spend(cell.value.length)
      const bits = scanner.scan(cell.value, this.#scratch)
      cell.bits = bits.every(isZero) ? NOTHING : bits.slice()
    }
    return cell.bits
  }

  /** The cell of a text. */
  cell(value: string): Cell {
    let cell = this.#cells.get(value)
    if (cell === undefined) {
      cell = { value, bits: null, next: null }
      this.#cells.set(value, cell)
    }
    return cell
  }

  /** What a chain of transforms makes of a text. */
  through(cell: Cell, chain: readonly number[]): Cell {
    let last = cell
    for (const transform of chain) last = this.transformed(last, transform)
    return last
  }

  /** What one transform makes of a text. */
  transformed(cell: Cell, transform: number): Cell {
    cell.next ??= []
    let next = cell.next[transform]
    if (next === undefined) {
      this.spend(cell.value.length)
      const value = this.#plan.transforms[transform]?.apply(cell.value) ?? cell.value
      next = value === cell.value ? cell : this.cell(value)
      cell.next[transform] = next
    }
    return next
  }

  /** Accounts for work, in characters looked at. */
  spend(characters: number): void {
    this.run.work += characters
    if (this.run.work > this.#maxWork) this.exhausted = true
  }
}
