// Counter cells by label values: a few nanoseconds per count, and a bound on how many series can ever exist.

/** What stands for label values beyond the bound. */
const OTHER = 'other'

/** One series. */
export type Cell = { value: number }

/** Series of one counter. */
export type Cells = {
  /** The cell for label values; `other` takes the place of values beyond the bounds. */
  readonly at: (values: readonly string[]) => Cell
  readonly entries: () => IterableIterator<readonly [readonly string[], Cell]>
}

/** Bounds of one counter. */
export type CellLimits = { readonly valuesPerLabel: number; readonly series: number }

/** Bounds that no honest deployment reaches: 300 covers every country. */
export const CELL_LIMITS: CellLimits = { valuesPerLabel: 300, series: 2_000 }

type Node = { readonly children: Map<string, Node>; cell: Cell | null }

/** Makes the cells of a counter with `depth` labels. */
export function createCells(depth: number, limits: CellLimits = CELL_LIMITS): Cells {
  const root: Node = { children: new Map(), cell: null }
  const values: Set<string>[] = Array.from({ length: depth }, () => new Set<string>())
  const all: (readonly [readonly string[], Cell])[] = []

  const make = (path: readonly string[]): Cell => {
    let node = root
    for (const value of path) {
      let next = node.children.get(value)
      if (next === undefined) {
        next = { children: new Map(), cell: null }
        node.children.set(value, next)
      }
      node = next
    }
    if (node.cell === null) {
      node.cell = { value: 0 }
      all.push([[...path], node.cell])
    }
    return node.cell
  }

  const find = (path: readonly string[]): Cell | null => {
    let node = root
    for (let index = 0; index < depth; index++) {
      const next = node.children.get(path[index] ?? '')
      if (next === undefined) return null
      node = next
    }
    return node.cell
  }

  return {
    at: path => {
      const known = find(path)
      if (known !== null) return known
      const bounded = values.map((known, index) => {
        const value = path[index] ?? ''
        if (known.has(value)) return value
        if (known.size >= limits.valuesPerLabel) return OTHER
        known.add(value)
        return value
      })
      const cell = find(bounded)
      if (cell !== null) return cell
      return make(all.length >= limits.series ? values.map(() => OTHER) : bounded)
    },
    entries: () => all.values(),
  }
}
