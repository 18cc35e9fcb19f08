// What the pattern engine offers: linear-time matching of the RE2 dialect over strings.
import type { Requirement } from './requirement.ts'

/** Flags of a pattern; the same letters as inline flags `(?i)`, `(?s)`, `(?m)`. */
export type PatternFlags = {
  readonly ignoreCase?: boolean
  readonly dotAll?: boolean
  readonly multiLine?: boolean
}

/** What is wrong with a pattern, and where: `column` counts from 1 within the pattern. */
export type PatternProblem = { readonly message: string; readonly column: number }

/** A match; `groups[0]` is the whole. */
export type PatternMatch = { readonly index: number; readonly groups: readonly (string | undefined)[] }

/** A compiled pattern. Every call takes time linear in the length of the text. */
export type Pattern = {
  readonly source: string
  readonly requirement: Requirement | null
  /** Index of each named group. */
  readonly groupNames: ReadonlyMap<string, number>
  readonly test: (text: string) => boolean
  /**
   * Leftmost match as Perl would choose it (first alternative wins), with captures; null: none. A match that could go on for
   * more than 4,096 characters beyond the place where a match is certain may come back shorter than Perl's.
   */
  readonly exec: (text: string) => PatternMatch | null
}

/** Looks for many requirements in one pass over a text. */
export type Scanner = {
  readonly size: number
  /** Bit n of the result (word n >> 5, bit n & 31) says whether requirement n is met; missing words are zero. */
  readonly scan: (text: string) => Uint32Array
  /** Scans many texts: `each` gets the numbers of what each of them meets, null for nothing; the result is that of any. */
  readonly scanEach: (
    texts: readonly { readonly value: string }[],
    each: (readonly number[] | null)[],
  ) => Uint32Array
}
