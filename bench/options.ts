// The command line of the benchmark.
import { parseArgs } from 'node:util'
import { ROW_IDS, type RowId } from './rows.ts'

/** Parts with a lab of their own, which print tables of their own after the rows. */
export const LAB_IDS = ['heartbeats', 'tunnel', 'journal'] as const

/** One of them. */
export type LabId = (typeof LAB_IDS)[number]

/** What to run. */
export type Options = {
  readonly rows: readonly RowId[]
  readonly labs: readonly LabId[]
  /** Peer ids; null: all. */
  readonly peers: readonly string[] | null
  /** Another checkout that takes part as the peer `base`; null: none. */
  readonly base: string | null
  readonly rounds: number
  /** Length of one measurement. */
  readonly seconds: number
  readonly webSockets: number
  readonly ratePerSecond: number
  readonly json: boolean
  readonly updateDocs: boolean
  /** Whether goals decide the exit code, with room for a busy machine. */
  readonly isShort: boolean
}

export const USAGE = `usage: npm run bench -- [options]
  --only get,post,...    rows: ${ROW_IDS.join(', ')};
                         with a lab of their own: ${LAB_IDS.join(', ')} (not with --quick or --json unless named)
  --peers nginx,...      peers (default: every one that is installed)
  --base DIR             another checkout of Portcullis takes part as the peer "base"
  --quick                short measurements: shows direction, not for the docs
  --short                for CI: as --quick, and exits with 1 when a goal is missed by more than its room for a busy machine
  --rounds N             rounds of every row (default 3, at least 3)
  --seconds N            length of one measurement (default 4; --quick 1)
  --json                 print the result as JSON
  --update-docs          write the table into docs/performance.md`

/** Reads the arguments. Throws an Error that names the wrong one. */
export function parseOptions(args: readonly string[], peerIds: readonly string[]): Options {
  const { values } = parseArgs({
    args: [...args],
    options: {
      only: { type: 'string' },
      peers: { type: 'string' },
      base: { type: 'string' },
      quick: { type: 'boolean', default: false },
      short: { type: 'boolean', default: false },
      rounds: { type: 'string', default: '3' },
      seconds: { type: 'string' },
      json: { type: 'boolean', default: false },
      'update-docs': { type: 'boolean', default: false },
    },
  })
  const quick = values.quick || values.short
  if (quick && values['update-docs']) throw new Error('--update-docs needs a full run: leave --quick out')
  const parts = chosen(values.only, [...ROW_IDS, ...LAB_IDS], '--only')
  const withoutLabs = quick || values.json
  return {
    rows: parts === undefined ? ROW_IDS : ROW_IDS.filter(row => parts.includes(row)),
    labs: parts === undefined ? (withoutLabs ? [] : LAB_IDS) : LAB_IDS.filter(lab => parts.includes(lab)),
    peers:
      chosen(values.peers, values.base === undefined ? peerIds : [...peerIds, 'base'], '--peers') ?? null,
    base: values.base ?? null,
    rounds: wholeNumber(values.rounds, 3, '--rounds'),
    seconds: wholeNumber(values.seconds ?? (quick ? '1' : '4'), 1, '--seconds'),
    webSockets: quick ? 1_000 : 5_000,
    ratePerSecond: 333,
    json: values.json,
    updateDocs: values['update-docs'],
    isShort: values.short,
  }
}

function chosen<T extends string>(
  text: string | undefined,
  known: readonly T[],
  option: string,
): T[] | undefined {
  return text?.split(',').map(part => {
    const found = known.find(entry => entry === part)
    if (found === undefined) throw new Error(`${option}: "${part}" is none of ${known.join(', ')}`)
    return found
  })
}

function wholeNumber(text: string, least: number, option: string): number {
  const value = Number(text)
  if (!Number.isInteger(value) || value < least)
    throw new Error(`${option}: "${text}" must be a whole number of at least ${least}`)
  return value
}
