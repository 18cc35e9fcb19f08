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

/** `24 hours`, `7 days`, `90 minutes`: a span as people say it, in the unit that loses nothing. */
export function formatSpan(ms: number): string {
  if (ms <= 2 * 86_400_000 && ms % 3_600_000 === 0) {
    const hours = ms / 3_600_000
    return hours === 1 ? 'hour' : `${hours} hours`
  }
  if (ms % 86_400_000 === 0) return `${ms / 86_400_000} days`
  if (ms % 60_000 === 0) return ms === 60_000 ? 'minute' : `${ms / 60_000} minutes`
  return formatDuration(ms)
}

/** `1 site`, `3 sites`. */
export function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`
}

/** `2026-06-17`. */
export function formatDay(ms: number): string {
  return new Date(ms).toISOString().slice(0, 10)
}

/** A range as people write it: an address without its /32 or /128. */
export function shortRange(text: string): string {
  return text.replace(text.includes(':') ? /\/128$/ : /\/32$/, '')
}

/** A word as a shell takes it: in quotes where it needs them. */
export function shellWord(text: string): string {
  return /^[\w./:@%+=,-]+$/.test(text) ? text : `'${text.replaceAll("'", String.raw`'\''`)}'`
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
