// What one request's way through the rules remembers: values of collections, what transforms made of them, what scans said.
import type { Inspected } from '../parts/inspected.ts'
import type { Scanner } from '../regex/types.ts'
import type { FieldValue, Place, Run } from '../rule.ts'
import type { Plan, SelectionPlan, ViewPlan } from './plan.ts'

/** A distinct text of the request, with everything that was found out about it. */
export type Cell = {
  readonly value: string
  /** Which requirements it meets; null: not scanned. */
  bits: Uint32Array | null
  /** What transforms make of it, by their numbers. */
  next: (Cell | undefined)[] | null
  /** What chains of transforms make of it, by their numbers. */
  ends: (Cell | undefined)[] | null
  /** Which transforms may change it (inert.ts); 0: nobody has looked. */
  traits: number
}

/** Members of a collection. */
type Selection = {
  readonly values: readonly FieldValue[]
  /** Empty, as `distinct` is, where no rule has transforms: then values are looked at as they are. */
  readonly cells: readonly Cell[]
  /** The same without repetitions: many values come in several places. */
  readonly distinct: readonly Cell[]
}

/** Members of a collection after a chain of transforms. */
export type View = {
  readonly selection: Selection
  readonly plan: ViewPlan
  /** The transformed values, one for each of the selection; null: nobody has asked. */
  cells: readonly Cell[] | null
  /** Requirements that any of the values meets; null: not scanned. */
  any: Uint32Array | null
  /** Where there are no cells: what each of several values meets, by its numbers, null for nothing; null: not scanned, or one value. */
  each: (readonly number[] | null)[] | null
}

/** Where a rule held. */
export type Found = {
  readonly value: FieldValue
  /** The value after transforms: what the place is a place in. */
  readonly text: string
  readonly place: Place | null
}

const EMPTY: readonly FieldValue[] = []
const EMPTY_SELECTION: Selection = { values: EMPTY, cells: [], distinct: [] }
const NO_CELLS: readonly Cell[] = []
/** From here on it is worth knowing whether the same text was scanned before. */
const LARGE = 512
/** Scans tell the cases of these letters apart: in byte strings they are no letters. */
const ABOVE_ASCII = /[^\0-\x7f]/
/** Stands for no requirement at all: most values meet none. */
const NOTHING: Uint32Array = new Uint32Array(0)

/** The memory of one pass. Not for use by two requests. */
export class Pass {
  readonly run: Run
  /** True as soon as the work budget is used up: nothing is true any more. */
  exhausted = false
  /** The best place that the rule under test held at. */
  found: Found | null = null
  /** Whether values are looked at as they are: no rule has transforms. */
  readonly isUntransformed: boolean
  #inspected: Inspected
  readonly #plan: Plan
  readonly #scanner: Scanner | null
  readonly #maxWork: number
  readonly #collections: (readonly FieldValue[] | undefined)[] = []
  readonly #selections: (Selection | undefined)[] = []
  readonly #views: (View | undefined)[] = []
  readonly #groups: (Uint32Array | undefined)[] = []
  readonly #cells = new Map<string, Cell>()
  /** Large texts of which is known what they meet. */
  readonly #scanned: { readonly text: string; readonly any: Uint32Array }[] = []

  /** @param scanner null: nothing is known before an operator is asked */
  constructor(plan: Plan, scanner: Scanner | null, maxWork: number, inspected: Inspected, run: Run) {
    this.#plan = plan
    this.isUntransformed = plan.transforms.length === 0
    this.#scanner = scanner
    this.#maxWork = maxWork
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
    this.#groups.length = 0
    const { selections, views } = this.#plan
    for (let number = 0; number < this.#selections.length; number++) {
      if (selections[number]?.grows === true) this.#selections[number] = undefined
    }
    for (let number = 0; number < this.#views.length; number++) {
      if (selections[views[number]?.selection ?? -1]?.grows === true) this.#views[number] = undefined
    }
  }

  /** The values of a collection. */
  values(number: number): readonly FieldValue[] {
    const known = this.#collections[number]
    if (known !== undefined) return known
    const collection = this.#plan.collections[number]
    if (collection === undefined) return EMPTY
    const values = collection.read(this.#inspected, this.run)
    if (!collection.volatile) this.#collections[number] = values
    return values
  }

  #selection(number: number): Selection {
    const known = this.#selections[number]
    if (known !== undefined) return known
    const plan = this.#plan.selections[number]
    const all = plan === undefined ? EMPTY : this.values(plan.collection)
    const values = plan === undefined ? all : selected(all, plan)
    const selection = values.length === 0 ? EMPTY_SELECTION : this.#selectionOf(values)
    this.#selections[number] = selection
    return selection
  }

  #selectionOf(values: readonly FieldValue[]): Selection {
    if (this.isUntransformed) return { values, cells: NO_CELLS, distinct: NO_CELLS }
    const cells = values.map(({ value }) => this.cell(value))
    return { values, cells, distinct: cells.length < 2 ? cells : [...new Set(cells)] }
  }

  /** A view by its number. */
  view(number: number): View {
    const known = this.#views[number]
    if (known !== undefined) return known
    const plan = this.#plan.views[number] as ViewPlan
    const view: View = {
      selection: this.#selection(plan.selection),
      plan,
      cells: null,
      any: null,
      each: null,
    }
    this.#views[number] = view
    return view
  }

  /** The transformed values of a view, one for each value of its selection. */
  cellsOf(view: View): readonly Cell[] {
    const { chain, transforms } = view.plan
    return (view.cells ??= view.selection.cells.map(cell => this.through(cell, chain, transforms)))
  }

  /** Whether a value of the view meets a requirement. */
  anyMeets(view: View, bit: number): boolean {
    const any = this.anyBits(view)
    return any === null || ((any[bit >> 5] ?? 0) & (1 << (bit & 31))) !== 0
  }

  /** Requirements that any value of the view meets, missing words are zero; null: nobody knows, there is no scanner. */
  anyBits(view: View): Uint32Array | null {
    const scanner = this.#scanner
    if (scanner === null) return null
    if (view.any !== null) return view.any
    if (this.isUntransformed) {
      view.any = this.#scanView(view, scanner)
      return view.any
    }
    const { chain, transforms } = view.plan
    const any = new Union()
    for (const raw of view.selection.distinct) {
      any.add(this.#bits(this.through(raw, chain, transforms), scanner))
    }
    view.any = any.bits
    return view.any
  }

  /** The same for a view by its number: most are empty, and then it is not even made. */
  viewBits(number: number): Uint32Array | null {
    if (this.#scanner === null) return null
    const { selection = -1 } = this.#plan.views[number] ?? {}
    return this.#selection(selection) === EMPTY_SELECTION ? NOTHING : this.anyBits(this.view(number))
  }

  /** Requirements that any value of a group of views meets, missing words are zero; null: nobody knows. */
  groupBits(number: number): Uint32Array | null {
    if (this.#scanner === null) return null
    const known = this.#groups[number]
    if (known !== undefined) return known
    const all = new Union()
    for (const view of this.#plan.groups[number] ?? []) all.add(this.viewBits(view) ?? NOTHING)
    this.#groups[number] = all.bits
    return all.bits
  }

  /** Scans the values of a view without cells. */
  #scanView(view: View, scanner: Scanner): Uint32Array {
    const { values } = view.selection
    const [only] = values
    if (only === undefined) return NOTHING
    if (values.length === 1) return this.#scanOnly(only.value, scanner)
    let characters = 0
    for (let at = 0; at < values.length; at++) characters += values[at]?.value.length ?? 0
    this.spend(characters)
    view.each = []
    return scanner.scanEach(values, view.each)
  }

  /** A body as sent and as decoded is most often one text, and scans do not see its case. */
  #scanOnly(value: string, scanner: Scanner): Uint32Array {
    if (value.length < LARGE) {
      this.spend(value.length)
      return scanner.scan(value)
    }
    const folded = value.toLowerCase()
    for (const { text, any } of this.#scanned) if (text === folded && !ABOVE_ASCII.test(text)) return any
    this.spend(value.length)
    const any = scanner.scan(value)
    this.#scanned.push({ text: folded, any })
    return any
  }

  /** Whether a value of a view without cells meets a requirement. */
  meetsAt(view: View, index: number, bit: number): boolean {
    const any = this.anyBits(view)
    if (any === null) return true
    if (view.each !== null) return view.each[index]?.includes(bit) ?? false
    return ((any[bit >> 5] ?? 0) & (1 << (bit & 31))) !== 0
  }

  /** Whether a text meets a requirement. */
  meets(cell: Cell, bit: number): boolean {
    if (this.#scanner === null) return true
    return ((this.#bits(cell, this.#scanner)[bit >> 5] ?? 0) & (1 << (bit & 31))) !== 0
  }

  #bits(cell: Cell, scanner: Scanner): Uint32Array {
    if (cell.bits === null) {
      this.spend(cell.value.length)
      cell.bits = scanner.scan(cell.value)
    }
    return cell.bits
  }

  /** The cell of a text. */
  cell(value: string): Cell {
    let cell = this.#cells.get(value)
    if (cell === undefined) {
      cell = { value, bits: null, next: null, ends: null, traits: 0 }
      this.#cells.set(value, cell)
    }
    return cell
  }

  /** What a chain of transforms, which has a number, makes of a text. */
  through(cell: Cell, chain: number, transforms: readonly number[]): Cell {
    if (transforms.length === 0) return cell
    const { chainBits, inertia } = this.#plan
    if (cell.traits === 0) cell.traits = inertia.ofValue(cell.value)
    if ((cell.traits & (chainBits[chain] as number)) === 0) return cell
    const ends = (cell.ends ??= [])
    const known = ends[chain]
    if (known !== undefined) return known
    let last = cell
    for (const transform of transforms) last = this.transformed(last, transform)
    ends[chain] = last
    return last
  }

  /** What one transform makes of a text. */
  transformed(cell: Cell, transform: number): Cell {
    const { transformBits, inertia } = this.#plan
    if (cell.traits === 0) cell.traits = inertia.ofValue(cell.value)
    if ((cell.traits & (transformBits[transform] as number)) === 0) return cell
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

/** Bits of any of several; they are copied only when there is something to add to them. */
class Union {
  bits = NOTHING
  #isOwn = false

  add(more: Uint32Array): void {
    if (more.length === 0 || more === this.bits) return
    if (this.bits.length === 0) {
      this.bits = more
      return
    }
    if (!this.#isOwn) {
      this.bits = new Uint32Array(this.bits)
      this.#isOwn = true
    }
    const { bits } = this
    for (let word = 0; word < bits.length; word++)
      bits[word] = (bits[word] as number) | (more[word] as number)
  }
}

function selected(
  values: readonly FieldValue[],
  { only, except }: Pick<SelectionPlan, 'only' | 'except'>,
): readonly FieldValue[] {
  if (only === null && except.length === 0) return values
  return values.filter(
    ({ name }) => (only === null || only(name)) && !except.some(selector => selector(name)),
  )
}
