// A plain, exact scanner for requirements: answers by the first character of each sequence.
import type { CharSet, Requirement, Sequence } from '../regex/requirement.ts'
import type { Scanner } from '../regex/types.ts'

type Entry = { readonly number: number; readonly sequence: Sequence }

/** Builds a scanner; requirement n answers in bit n. */
export function plainScanner(requirements: readonly Requirement[]): Scanner {
  const words = (requirements.length + 31) >> 5
  const byFirst: (Entry[] | undefined)[] = Array.from({ length: 256 })
  const wide: Entry[] = []
  for (const [number, requirement] of requirements.entries()) {
    for (const sequence of requirement) {
      const entry = { number, sequence }
      const first = sequence[0] ?? []
      for (const [from, to] of first) {
        for (let code = from; code <= Math.min(to, 255); code++) (byFirst[code] ??= []).push(entry)
      }
      if (first.some(([, to]) => to > 255)) wide.push(entry)
    }
  }
  return {
    size: requirements.length,
    scan: (text, into = new Uint32Array(words)) => {
      into.fill(0)
      for (let at = 0; at < text.length; at++) {
        const code = text.charCodeAt(at)
        const entries = code < 256 ? byFirst[code] : wide
        if (entries === undefined) continue
        for (const { number, sequence } of entries) {
          const word = into[number >> 5] as number
          const bit = 1 << (number & 31)
          if ((word & bit) === 0 && stands(sequence, text, at)) into[number >> 5] = word | bit
        }
      }
      return into
    },
  }
}

function stands(sequence: Sequence, text: string, at: number): boolean {
  if (at + sequence.length > text.length) return false
  return sequence.every((set, index) => contains(set, text.charCodeAt(at + index)))
}

function contains(set: CharSet, code: number): boolean {
  return set.some(([from, to]) => code >= from && code <= to)
}
