// What the short forms of the benchmarks share, which continuous integration runs: goals with room for a busy machine, and an exit code.
import { print } from './print.ts'
import { align } from './table.ts'

/** What the short forms forgive: a shared machine may be this much slower for a moment, a gross regression is more. */
export const SHORT_SLACK = 4

/** A value with the most that it may be when nothing else runs. */
export type Bound = {
  readonly text: string
  readonly value: number
  readonly most: number
  readonly unit: string
}

/** Prints what was reached, each with its goal and the room. Returns the exit code: 1 when one is beyond its room. */
export function judgeShort(bounds: readonly Bound[]): number {
  const isMet = ({ value, most }: Bound): boolean => value <= most * SHORT_SLACK
  print(
    align(
      bounds.map(bound => [
        `${isMet(bound) ? '✓' : '✗'} ${bound.text}`,
        `${digits(bound.value)} ${bound.unit}`,
        `goal ${digits(bound.most)}, here ${digits(bound.most * SHORT_SLACK)}`,
      ]),
    ),
  )
  return bounds.every(isMet) ? 0 : 1
}

function digits(value: number): string {
  return value.toFixed(value < 10 ? 2 : 0)
}
