// The running hour of the ledger: cells per source and shape in bounded memory, and what of them the store has not taken yet.
import { TLS_VERSIONS, type TlsVersion } from '../net/tls-version.ts'
import type { TrafficClass } from '../policy/classes.ts'
import {
  CELL_WIDTH,
  HOUR_MS,
  OVERFLOW_SOURCE,
  type LedgerBatch,
  type LedgerOutcome,
  type LedgerShape,
} from './ledger-facts.ts'

/** Bounds of one hour in memory. Whatever is beyond them is counted coarsely, never forgotten silently. */
export type LedgerLimits = {
  /** Distinct sources. At most half of them may begin with a refusal: a flood does not displace agents. */
  readonly sources: number
  /** Cells in all. */
  readonly cells: number
  /** Cells of one source before its paths and names are summed up. */
  readonly cellsPerSource: number
  /** Distinct shapes; at most half of them refused. */
  readonly shapes: number
}

/** Bounds that suit 10,000 to 50,000 agents: about 50 MB at the very most. */
export const LEDGER_LIMITS: LedgerLimits = {
  sources: 50_000,
  cells: 200_000,
  cellsPerSource: 64,
  shapes: 1_000,
}

/** How full the running hour is. */
export type LedgerState = {
  readonly sources: number
  readonly cells: number
  readonly shapes: number
  /** Cells with additions that the store has not taken yet. */
  readonly waiting: number
  /** Pieces of traffic that were counted under the overflow row. */
  readonly overflowed: number
  /** Pieces of traffic that found no place at all. */
  readonly lost: number
}

type Shape = { readonly facts: LedgerShape; readonly offeredMask: number }

type Cell = {
  readonly source: string
  readonly hour: number
  readonly shape: Shape
  count: number
  bytesIn: number
  bytesOut: number
  first: number
  last: number
  waiting: boolean
}

/** What identifies a shape on the hot path, before it becomes one. One record is used again and again. */
export type Sight = {
  phase: LedgerShape['phase']
  listener: string
  host: string | null
  serverName: string | null
  class: TrafficClass | null
  method: string | null
  path: string | null
  webSocket: boolean
  offeredMask: number
  negotiated: TlsVersion | null
  ja4: string | null
  userAgent: string
  outcome: LedgerOutcome
}

/** The running hour. */
export type LedgerHour = {
  /** To be filled before each `add`; `add` may coarsen it. */
  readonly sight: Sight
  readonly add: (source: string, nowMs: number, count: number, bytesIn: number, bytesOut: number) => void
  /** Takes up to `maxCells` additions out; null when there are none. */
  readonly drain: (maxCells: number) => LedgerBatch | null
  readonly state: () => LedgerState
}

/** Makes an empty hour. */
export function createLedgerHour(limits: LedgerLimits): LedgerHour {
  const sources = new Map<string, Cell[]>()
  const shapes = new Map<string, Shape>()
  let waiting: Cell[] = []
  let hour = 0
  let cells = 0
  let refusedSources = 0
  let refusedShapes = 0
  let overflowed = 0
  let lost = 0

  // One reused record: the hot path allocates only for cells that are new.
  const sight: Sight = {
    phase: 'request',
    listener: '',
    host: null,
    serverName: null,
    class: null,
    method: null,
    path: null,
    webSocket: false,
    offeredMask: 0,
    negotiated: null,
    ja4: null,
    userAgent: 'none',
    outcome: 'passed',
  }

  const startHour = (next: number): void => {
    hour = next
    sources.clear()
    shapes.clear()
    cells = 0
    refusedSources = 0
    refusedShapes = 0
  }

  const internShape = (): Shape | undefined => {
    const facts: LedgerShape = {
      phase: sight.phase,
      listener: sight.listener,
      host: sight.host,
      serverName: sight.serverName,
      class: sight.class,
      method: sight.method,
      path: sight.path,
      webSocket: sight.webSocket,
      offered: TLS_VERSIONS.filter((_, index) => (sight.offeredMask & (1 << index)) !== 0),
      negotiated: sight.negotiated,
      ja4: sight.ja4,
      userAgent: sight.userAgent,
      outcome: sight.outcome,
    }
    const key = JSON.stringify(facts)
    const known = shapes.get(key)
    if (known !== undefined) return known
    const refused = isRefused(sight.outcome)
    // Summed-up shapes are few by nature; they keep a reserve so that a flood of odd paths cannot use up everything.
    // A fleet with very many TLS stacks loses their fingerprints before it loses its paths.
    const summedUp = sight.path === '*' || (sight.path === null && sight.serverName === null)
    const room = summedUp ? limits.shapes * 2 : limits.shapes
    const full = shapes.size >= (sight.ja4 === null ? room * 1.5 : room)
    if (full || (refused && !summedUp && refusedShapes >= limits.shapes / 2)) {
      if (sight.ja4 === null) return undefined
      sight.ja4 = null
      return internShape()
    }
    if (refused) refusedShapes++
    const shape = { facts, offeredMask: sight.offeredMask }
    shapes.set(key, shape)
    return shape
  }

  const findCell = (own: readonly Cell[]): Cell | undefined => {
    for (const cell of own) {
      const { facts, offeredMask } = cell.shape
      if (
        facts.path === sight.path &&
        facts.outcome === sight.outcome &&
        facts.class === sight.class &&
        facts.userAgent === sight.userAgent &&
        facts.method === sight.method &&
        facts.host === sight.host &&
        offeredMask === sight.offeredMask &&
        facts.negotiated === sight.negotiated &&
        facts.serverName === sight.serverName &&
        facts.listener === sight.listener &&
        facts.webSocket === sight.webSocket &&
        facts.phase === sight.phase
      ) {
        return cell
      }
    }
    return undefined
  }

  const addCell = (source: string, own: Cell[], mayExceed: boolean): Cell | undefined => {
    if (!mayExceed && (own.length >= limits.cellsPerSource || cells >= limits.cells)) return undefined
    if (own.length >= limits.cellsPerSource * 2) return undefined
    const shape = internShape()
    if (shape === undefined) return undefined
    const cell: Cell = {
      source,
      hour,
      shape,
      count: 0,
      bytesIn: 0,
      bytesOut: 0,
      first: 3600,
      last: 0,
      waiting: false,
    }
    own.push(cell)
    cells++
    return cell
  }

  const sumUp = (): void => {
    if (sight.path !== null) sight.path = '*'
    sight.ja4 = null
    sight.userAgent = 'other'
    if (isRefused(sight.outcome)) {
      sight.host = null
      sight.serverName = null
    }
  }

  const cellsOf = (source: string): Cell[] | undefined => {
    const known = sources.get(source)
    if (known !== undefined) return known
    if (source !== OVERFLOW_SOURCE) {
      const refused = isRefused(sight.outcome)
      if (sources.size >= limits.sources || (refused && refusedSources >= limits.sources / 2))
        return undefined
      if (refused) refusedSources++
    }
    const own: Cell[] = []
    sources.set(source, own)
    return own
  }

  /** Finds the cell for what was sighted: exact, else summed up, else under the overflow source. */
  const place = (source: string): Cell | undefined => {
    const own = cellsOf(source)
    if (own !== undefined) {
      const cell = findCell(own) ?? addCell(source, own, false)
      if (cell !== undefined) return cell
      sumUp()
      const coarse = findCell(own) ?? (cells < limits.cells ? addCell(source, own, true) : undefined)
      if (coarse !== undefined) return coarse
    }
    sumUp()
    overflowed++
    const overflow = cellsOf(OVERFLOW_SOURCE)
    if (overflow === undefined) return undefined
    return findCell(overflow) ?? addCell(OVERFLOW_SOURCE, overflow, true)
  }

  const add = (source: string, nowMs: number, count: number, bytesIn: number, bytesOut: number): void => {
    const now = Math.floor(nowMs / HOUR_MS)
    if (now !== hour) startHour(now)
    const cell = place(source)
    // A cell of an earlier hour may still wait for the store; when it takes nothing any more, memory stays bounded.
    if (cell === undefined || (!cell.waiting && waiting.length >= limits.cells * 2)) {
      lost++
      return
    }
    const second = Math.floor(nowMs / 1_000) - hour * 3_600
    cell.count += count
    // Written so that NaN counts as nothing: one wrong number must not spoil the batch of everybody else.
    if (bytesIn > 0) cell.bytesIn += bytesIn
    if (bytesOut > 0) cell.bytesOut += bytesOut
    if (second < cell.first) cell.first = second
    if (second > cell.last) cell.last = second
    if (!cell.waiting) {
      cell.waiting = true
      waiting.push(cell)
    }
  }

  return {
    sight,
    add,
    drain: maxCells => {
      if (waiting.length === 0) return null
      const taken = waiting.length <= maxCells ? waiting : waiting.slice(0, maxCells)
      waiting = waiting.length <= maxCells ? [] : waiting.slice(maxCells)
      return toBatch(taken)
    },
    state: () => ({
      sources: sources.size,
      cells,
      shapes: shapes.size,
      waiting: waiting.length,
      overflowed,
      lost,
    }),
  }
}

/** Whether the policy or the handshake kept it out: what floods are made of. */
function isRefused(outcome: LedgerOutcome): boolean {
  return outcome !== 'passed' && outcome !== 'failed'
}

function toBatch(taken: readonly Cell[]): LedgerBatch {
  const sourceIndex = new Map<string, number>()
  const shapeIndex = new Map<Shape, number>()
  const numbers = new Float64Array(taken.length * CELL_WIDTH)
  let at = 0
  for (const cell of taken) {
    numbers[at] = indexOf(sourceIndex, cell.source)
    numbers[at + 1] = indexOf(shapeIndex, cell.shape)
    numbers[at + 2] = cell.hour
    numbers[at + 3] = cell.count
    numbers[at + 4] = cell.bytesIn
    numbers[at + 5] = cell.bytesOut
    numbers[at + 6] = cell.first
    numbers[at + 7] = cell.last
    at += CELL_WIDTH
    cell.count = 0
    cell.bytesIn = 0
    cell.bytesOut = 0
    cell.first = 3600
    cell.last = 0
    cell.waiting = false
  }
  return {
    sources: [...sourceIndex.keys()],
    shapes: [...shapeIndex.keys()].map(shape => shape.facts),
    cells: numbers,
  }
}

function indexOf<T>(indexes: Map<T, number>, value: T): number {
  const known = indexes.get(value)
  if (known !== undefined) return known
  indexes.set(value, indexes.size)
  return indexes.size - 1
}
