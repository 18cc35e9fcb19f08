// Sets of UTF-16 code units as sorted ranges: union, complement, case folding, and the named sets of the pattern dialect.
import type { CharSet } from './requirement.ts'

/** The last UTF-16 code unit. */
export const LAST_UNIT = 0xffff

const FIRST_FOLDED = 0x100

/** A range from two code units or from two characters. */
function between(first: string, last: string): readonly [number, number] {
  return [first.charCodeAt(0), last.charCodeAt(0)]
}

export const EVERY: CharSet = [[0, LAST_UNIT]]
export const NEWLINE: CharSet = [[0x0a, 0x0a]]
export const DIGIT: CharSet = [between('0', '9')]
export const WORD: CharSet = [between('0', '9'), between('A', 'Z'), between('_', '_'), between('a', 'z')]
/** White space as in PCRE: with the vertical tab, without characters above ASCII. */
export const SPACE: CharSet = [[0x09, 0x0d], between(' ', ' ')]
/** `\v` of PCRE. */
export const VERTICAL_SPACE: CharSet = [
  [0x0a, 0x0d],
  [0x85, 0x85],
  [0x2028, 0x2029],
]
/** `\h` of PCRE. */
export const HORIZONTAL_SPACE: CharSet = [
  [0x09, 0x09],
  [0x20, 0x20],
  [0xa0, 0xa0],
  [0x1680, 0x1680],
  [0x180e, 0x180e],
  [0x2000, 0x200a],
  [0x202f, 0x202f],
  [0x205f, 0x205f],
  [0x3000, 0x3000],
]

const LOWER = between('a', 'z')
const UPPER = between('A', 'Z')

/** The sets of `[:name:]`, in ASCII. */
export const POSIX: ReadonlyMap<string, CharSet> = new Map<string, CharSet>([
  ['alnum', [between('0', '9'), UPPER, LOWER]],
  ['alpha', [UPPER, LOWER]],
  ['ascii', [[0, 0x7f]]],
  [
    'blank',
    [
      [0x09, 0x09],
      [0x20, 0x20],
    ],
  ],
  [
    'cntrl',
    [
      [0, 0x1f],
      [0x7f, 0x7f],
    ],
  ],
  ['digit', DIGIT],
  ['graph', [[0x21, 0x7e]]],
  ['lower', [LOWER]],
  ['print', [[0x20, 0x7e]]],
  ['punct', [between('!', '/'), between(':', '@'), between('[', '`'), between('{', '~')]],
  ['space', SPACE],
  ['upper', [UPPER]],
  ['word', WORD],
  ['xdigit', [between('0', '9'), between('A', 'F'), between('a', 'f')]],
])

/** Sorts ranges and joins those that touch. */
export function normalise(ranges: CharSet): CharSet {
  if (isNormal(ranges)) return ranges
  const sorted = [...ranges].sort((a, b) => a[0] - b[0])
  const joined: [number, number][] = []
  for (const [first, last] of sorted) {
    const before = joined.at(-1)
    if (before !== undefined && first <= before[1] + 1) before[1] = Math.max(before[1], last)
    else joined.push([first, last])
  }
  return joined
}

function isNormal(ranges: CharSet): boolean {
  let after = -1
  for (const [first, last] of ranges) {
    if (first <= after) return false
    after = last + 1
  }
  return true
}

/** All code units that the set does not hold. */
export function complement(set: CharSet): CharSet {
  const rest: [number, number][] = []
  let from = 0
  for (const [first, last] of normalise(set)) {
    if (first > from) rest.push([from, first - 1])
    from = last + 1
  }
  if (from <= LAST_UNIT) rest.push([from, LAST_UNIT])
  return rest
}

/** Whether the set holds the code unit. */
export function holds(set: CharSet, unit: number): boolean {
  return set.some(([first, last]) => unit >= first && unit <= last)
}

/** A text that is the same for equal sets. */
export function keyOf(set: CharSet): string {
  return normalise(set).join(';')
}

/**
 * Adds the other case of every letter. ASCII letters fold, and those from U+0100 on by their one-unit upper case. Latin-1
 * letters do not: in a byte string they are pieces of other characters.
 */
export function foldCase(set: CharSet): CharSet {
  const added: [number, number][] = []
  for (const [first, last] of set) {
    addShifted(added, first, last, UPPER, 0x20)
    addShifted(added, first, last, LOWER, -0x20)
    if (last < FIRST_FOLDED || (first <= FIRST_FOLDED && last === LAST_UNIT)) continue
    for (const [unit, others] of caseVariants()) {
      if (unit >= first && unit <= last) for (const other of others) added.push([other, other])
    }
  }
  return added.length === 0 ? set : normalise([...set, ...added])
}

function addShifted(
  into: [number, number][],
  first: number,
  last: number,
  letters: readonly [number, number],
  shift: number,
): void {
  const from = Math.max(first, letters[0])
  const to = Math.min(last, letters[1])
  if (from <= to) into.push([from + shift, to + shift])
}

let variants: Map<number, readonly number[]> | undefined

/** For each letter from U+0100 on: all letters with the same upper case. */
function caseVariants(): ReadonlyMap<number, readonly number[]> {
  if (variants !== undefined) return variants
  const groups = new Map<string, number[]>()
  for (let unit = FIRST_FOLDED; unit <= LAST_UNIT; unit++) {
    const letter = String.fromCharCode(unit)
    const upper = letter.toUpperCase()
    if (upper.length !== 1 || upper.charCodeAt(0) < FIRST_FOLDED) continue
    if (upper === letter && letter.toLowerCase() === letter) continue
    groups.set(upper, [...(groups.get(upper) ?? []), unit])
  }
  variants = new Map()
  for (const group of groups.values()) {
    if (group.length > 1) for (const unit of group) variants.set(unit, group)
  }
  return variants
}
