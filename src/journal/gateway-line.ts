// PURE. The line format of numbered gateway logs (GW001.log): `29-Jan-14, 16:11:20, <text>`, times in UTC.

const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec']

/** One line without its line end. `text` must be free of control characters (see redact.ts). */
export function formatGatewayLine(timeMs: number, text: string): string {
  const time = new Date(timeMs)
  const day = `${two(time.getUTCDate())}-${MONTHS[time.getUTCMonth()] ?? ''}-${two(time.getUTCFullYear() % 100)}`
  return `${day}, ${two(time.getUTCHours())}:${two(time.getUTCMinutes())}:${two(time.getUTCSeconds())}, ${text}`
}

function two(value: number): string {
  return value < 10 ? `0${value}` : String(value)
}
