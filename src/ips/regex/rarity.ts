// How often characters occur in what passes the gate: prose, JSON, XML, base64 and hexadecimal text, roughly.
import type { CharSet } from './requirement.ts'

const BYTES = 256
/** For all units above a byte together. */
const HIGH = 0.002

const WEIGHTS: readonly (readonly [chars: string, weight: number])[] = [
  ['eE', 0.06],
  ['tTaAoOiInNsSrR', 0.045],
  ['hHlLdDcCuUmM', 0.03],
  ['fFpPgGwWyYbBvV', 0.018],
  ['kKxXjJqQzZ', 0.01],
  ['0123456789', 0.018],
  [' ', 0.06],
  ['"', 0.03],
  ['<>/=.,:-_', 0.012],
  ['\n\r&;', 0.006],
  ["'()[]{}+%?\\", 0.004],
  ['!#$*@^`|~\t', 0.001],
]

const FREQUENCIES = readWeights()

function readWeights(): Float64Array {
  const found = new Float64Array(BYTES).fill(0.0004)
  for (const [chars, weight] of WEIGHTS) {
    // Letters come in two cases, the lower one more often.
    for (const char of chars) {
      const share = char >= 'A' && char <= 'Z' ? 0.25 : char >= 'a' && char <= 'z' ? 0.75 : 1
      found[char.charCodeAt(0)] = weight * share
    }
  }
  return found
}

/** The share of characters that the set holds, from 0 to 1. */
export function setFrequency(set: CharSet): number {
  let sum = 0
  for (const [first, last] of set) {
    for (let unit = first; unit <= Math.min(last, BYTES - 1); unit++) sum += FREQUENCIES[unit] ?? 0
    if (last >= BYTES) sum += HIGH
  }
  return Math.min(1, sum)
}

/** The share of characters that are the given byte. */
export function byteFrequency(byte: number): number {
  return FREQUENCIES[byte] ?? 0
}
