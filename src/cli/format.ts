// How times, sizes and durations read, in one place.

/** `2026-11-21 09:30:12 UTC`. */
export function formatTime(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 19).replace('T', ' ')} UTC`
}

const UNITS: readonly (readonly [number, string])[] = [
  [86_400_000, 'day'],
  [3_600_000, 'hour'],
  [60_000, 'minute'],
  [1_000, 'second'],
]

/** `3 days`, `5 minutes`, `just now`: the largest unit, rounded down. */
export function formatDuration(ms: number): string {
  for (const [unitMs, word] of UNITS) {
    const count = Math.floor(ms / unitMs)
    if (count >= 1) return `${count} ${word}${count === 1 ? '' : 's'}`
  }
  return 'less than a second'
}

/** `5 minutes ago`, or `in 5 minutes`. */
export function formatAgo(ms: number, nowMs: number): string {
  return ms > nowMs ? `in ${formatDuration(ms - nowMs)}` : `${formatDuration(nowMs - ms)} ago`
}

/** `1.5 GB`, decimal units. */
export function formatBytes(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB']
  let value = bytes
  let unit = 0
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000
    unit++
  }
  return `${unit === 0 ? value : value.toFixed(value < 10 ? 1 : 0)} ${units[unit] ?? ''}`
}

const DURATION = /^(\d{1,6})(s|m|h|d|w)$/
const UNIT_MS: Readonly<Record<string, number>> = {
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
  w: 604_800_000,
}

/** Milliseconds of `90s`, `15m`, `2h`, `7d`, `2w`; undefined for anything else. */
export function parseDuration(text: string): number | undefined {
  const match = DURATION.exec(text)
  const unitMs = UNIT_MS[match?.[2] ?? '']
  return match === null || unitMs === undefined ? undefined : Number(match[1]) * unitMs
}
