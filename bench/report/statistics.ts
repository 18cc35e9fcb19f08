// Median, spread, percentile and linear fit: all that the reports compute.

/** Median; NaN of nothing. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const upper = sorted[sorted.length >> 1]
  if (upper === undefined) return Number.NaN
  const lower = sorted[(sorted.length - 1) >> 1] ?? upper
  return (lower + upper) / 2
}

/** Distance between the largest and the smallest value as a fraction of the median. */
export function spread(values: readonly number[]): number {
  return values.length === 0 ? Number.NaN : (Math.max(...values) - Math.min(...values)) / median(values)
}

/** Nearest-rank percentile of ascending values; NaN of nothing. */
export function percentile(ascending: readonly number[], percent: number): number {
  const rank = Math.max(1, Math.ceil((percent / 100) * ascending.length))
  return ascending[rank - 1] ?? Number.NaN
}

/** Least-squares line through the points. `slopeError` is the standard error of the slope. */
export function linearFit(points: readonly (readonly [x: number, y: number])[]): {
  readonly slope: number
  readonly intercept: number
  readonly slopeError: number
} {
  const count = points.length
  const meanX = points.reduce((sum, [x]) => sum + x, 0) / count
  const meanY = points.reduce((sum, [, y]) => sum + y, 0) / count
  let sxx = 0
  let sxy = 0
  for (const [x, y] of points) {
    sxx += (x - meanX) ** 2
    sxy += (x - meanX) * (y - meanY)
  }
  const slope = sxy / sxx
  const intercept = meanY - slope * meanX
  const residual = points.reduce((sum, [x, y]) => sum + (y - intercept - slope * x) ** 2, 0)
  return { slope, intercept, slopeError: Math.sqrt(residual / Math.max(1, count - 2) / sxx) }
}
