// Judges whether a measured quantity grows over time.
import { linearFit } from './statistics.ts'

/** What the soak found about one quantity. */
export type Growth = {
  readonly name: string
  readonly first: number
  readonly last: number
  readonly perMinute: number
  /** Standard error of `perMinute`. */
  readonly error: number
  readonly grows: boolean
}

/**
 * Fits a line through the samples after the warm-up share of the time. It grows when the slope is more than three standard
 * errors above zero and more than `tolerance` of the mean per minute: a small certain slope is growth only if it would matter.
 */
export function judgeGrowth(
  name: string,
  samples: readonly (readonly [minute: number, value: number])[],
  {
    warmUpShare = 0.3,
    tolerance = 0.002,
  }: { readonly warmUpShare?: number; readonly tolerance?: number } = {},
): Growth {
  const end = samples.at(-1)?.[0] ?? 0
  const settled = samples.filter(([minute]) => minute >= end * warmUpShare)
  const mean = settled.reduce((sum, [, value]) => sum + value, 0) / settled.length
  const { slope, slopeError } = linearFit(settled)
  return {
    name,
    first: settled[0]?.[1] ?? Number.NaN,
    last: settled.at(-1)?.[1] ?? Number.NaN,
    perMinute: slope,
    error: slopeError,
    grows: slope > 3 * slopeError && slope > mean * tolerance,
  }
}
