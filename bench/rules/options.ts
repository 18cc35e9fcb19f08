// The command line of the benchmark of rules.
import { parseArgs } from 'node:util'
import { SHORT_SLACK } from '../report/short.ts'

/** Parts of the benchmark. */
export const PARTS = ['speed', 'growth', 'stalls', 'crs'] as const

/** A part of the benchmark. */
export type PartId = (typeof PARTS)[number]

/** What to run. */
export type RuleBenchOptions = {
  readonly parts: readonly PartId[]
  /** Directory or archive of a rule set in SecLang; null: own rules only. */
  readonly crs: string | null
  readonly rounds: number
  /** CPU time of one measurement, in milliseconds. */
  readonly roundMs: number
  /** Fuzz inputs per rule set. */
  readonly fuzz: number
  readonly json: boolean
  /** Exit with 1 when a goal is missed. */
  readonly strict: boolean
  /** Every goal is multiplied by this. */
  readonly slack: number
}

export const USAGE = `usage: npm run bench:rules -- [options]
  --only speed,growth,...  parts: ${PARTS.join(', ')} (default: all; crs needs --crs)
  --crs <dir|archive>      a rule set in SecLang, for example the Core Rule Set: measured at paranoia level 1
  --quick                  short measurements, few fuzz inputs: shows direction
  --json                   print the result as JSON
  --strict                 exit with 1 when a goal is missed
  --short                  for CI: as --quick --strict with fewer fuzz inputs and goals ${SHORT_SLACK} times as high`

/** Reads the arguments. Throws an Error that names the wrong one. */
export function parseRuleBenchOptions(args: readonly string[]): RuleBenchOptions {
  const { values } = parseArgs({
    args: [...args],
    options: {
      only: { type: 'string' },
      crs: { type: 'string' },
      quick: { type: 'boolean', default: false },
      json: { type: 'boolean', default: false },
      strict: { type: 'boolean', default: false },
      short: { type: 'boolean', default: false },
    },
  })
  const parts = values.only?.split(',').map(text => {
    const part = PARTS.find(entry => entry === text)
    if (part === undefined) throw new Error(`--only: "${text}" is none of ${PARTS.join(', ')}`)
    return part
  })
  const { crs = null, json, short } = values
  const quick = values.quick || short
  return {
    parts: parts ?? PARTS,
    crs,
    rounds: quick ? 3 : 7,
    roundMs: quick ? 60 : 200,
    fuzz: short ? 60 : quick ? 200 : 2_000,
    json,
    strict: values.strict || short,
    slack: short ? SHORT_SLACK : 1,
  }
}
