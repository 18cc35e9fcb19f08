// The result of a run as it is kept in JSON, and what follows from it: medians and ratios.
import type { RowId, Sample } from '../rows.ts'
import { median, spread } from './statistics.ts'

/** Samples of one peer in one row, one per round. */
export type Cell = { readonly peer: string; readonly samples: readonly Sample[] }

/** A peer as measured. */
export type PeerInfo = {
  readonly id: string
  readonly version: string
  readonly work: string
  /** Negotiated TLS as a client sees it. */
  readonly tls: string
}

/** Everything of one run. */
export type Result = {
  readonly date: string
  readonly machine: string
  readonly upstream: string
  readonly seconds: number
  readonly rounds: number
  readonly webSockets: number
  readonly ratePerSecond: number
  readonly quick: boolean
  readonly peers: readonly PeerInfo[]
  /** Peers that were left out, with the reason. */
  readonly skipped: readonly { readonly peer: string; readonly row: RowId | 'all'; readonly reason: string }[]
  readonly rows: readonly {
    readonly id: RowId
    readonly title: string
    readonly unit: string
    readonly second: string
    readonly cells: readonly Cell[]
  }[]
}

/** Median, spread and problems of a cell. */
export type Summary = {
  readonly value: number
  readonly second: number
  readonly spread: number
  readonly busy: number
  readonly ran: number
  readonly failed: number
  readonly refused: number
}

/** Sums a cell up. */
export function summarise(cell: Cell): Summary {
  const values = cell.samples.map(sample => sample.value)
  return {
    value: median(values),
    second: median(cell.samples.map(sample => sample.second)),
    spread: spread(values),
    busy: median(cell.samples.map(sample => sample.busy)),
    ran: median(cell.samples.map(sample => sample.ran)),
    failed: cell.samples.reduce((sum, sample) => sum + sample.failed, 0),
    refused: cell.samples.reduce((sum, sample) => sum + (sample.refused ?? 0), 0),
  }
}

/** Median over the rounds of `peer`'s value divided by `base`'s of the same round; null when either is missing. */
export function ratio(result: Result, row: RowId, peer: string, base: string): number | null {
  const cells = result.rows.find(entry => entry.id === row)?.cells
  const over = cells?.find(cell => cell.peer === peer)
  const under = cells?.find(cell => cell.peer === base)
  if (over === undefined || under === undefined) return null
  return median(
    over.samples.map((sample, round) => sample.value / (under.samples[round]?.value ?? Number.NaN)),
  )
}
