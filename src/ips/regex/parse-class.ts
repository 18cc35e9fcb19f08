// Reads a character class of a pattern: ranges, escapes, POSIX names, complement.
import { complement, normalise, POSIX } from './char-set.ts'
import { readEscape, SyntaxProblem, type Cursor } from './parse-escape.ts'
import type { CharSet } from './requirement.ts'

/** One member of a class: its characters, and the one character when it may start or end a range. */
type Member = { readonly set: CharSet; readonly single: number | null }

/**
 * Reads a class whose `[` at `from` was read. A `]` right at the start stands for itself.
 * The set is not folded: the caller does it, for a complement after the fold of what it excludes.
 */
export function readClass(cursor: Cursor, from: number): ClassSet {
  const negated = cursor.take('^')
  const ranges: (readonly [number, number])[] = []
  for (let first = true; first || cursor.peek() !== ']'; first = false) {
    if (cursor.atEnd) throw new SyntaxProblem('has a [ that is not closed', from)
    const at = cursor.at
    const member = readMember(cursor, from)
    if (member === null) continue
    const upTo = member.single === null ? null : readRangeEnd(cursor, from)
    if (upTo === null || member.single === null) ranges.push(...member.set)
    else if (upTo >= member.single) ranges.push([member.single, upTo])
    else throw new SyntaxProblem('has a range whose end is before its start', at)
  }
  cursor.next()
  return { set: normalise(ranges), negated }
}

/** The characters that a class names, and whether it stands for all others. */
export type ClassSet = { readonly set: CharSet; readonly negated: boolean }

/** The end of a range if one follows; `-` before `]` or before a set such as `\d` stands for itself. */
function readRangeEnd(cursor: Cursor, from: number): number | null {
  const before = cursor.at
  if (!cursor.take('-')) return null
  if (cursor.peek() !== ']' && !cursor.atEnd) {
    const end = readMember(cursor, from)
    if (end?.single !== null && end?.single !== undefined) return end.single
  }
  cursor.at = before
  return null
}

function readMember(cursor: Cursor, from: number): Member | null {
  const at = cursor.at
  const posix = readPosix(cursor)
  if (posix !== null) return { set: posix, single: null }
  const char = cursor.next()
  if (char !== '\\') return { set: [[char.charCodeAt(0), char.charCodeAt(0)]], single: char.charCodeAt(0) }
  if (cursor.atEnd) throw new SyntaxProblem('has a [ that is not closed', from)
  if (cursor.take('Q')) throw new SyntaxProblem('uses \\Q within [ ]', at)
  const escape = readEscape(cursor, at, true)
  return escape.kind === 'set' ? escape : null
}

function readPosix(cursor: Cursor): CharSet | null {
  if (!cursor.ahead('[:')) return null
  const found = /^\[:(\^?)([a-z]{1,12}):\]/.exec(cursor.source.slice(cursor.at, cursor.at + 20))
  if (found === null) return null
  const set = POSIX.get(found[2] ?? '')
  if (set === undefined) throw new SyntaxProblem(`has the unknown class [:${found[2]}:]`, cursor.at)
  cursor.at += found[0].length
  return found[1] === '^' ? complement(set) : set
}
