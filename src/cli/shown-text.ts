// Text of unknown origin on a terminal: controls become dots, and columns are counted the way terminals count them.
import type { Terminal } from './terminal.ts'

/** A line that can be printed, and where a part of it stands. */
export type ShownText = {
  readonly line: string
  /** Column of the part, from 0. */
  readonly column: number
  /** Columns that the part takes; at least 1. */
  readonly width: number
}

const BEFORE = 60
const AFTER = 40

/** Shows a text around the part that begins at the string index `at` and has `length` units. */
export function shownText(text: string, at: number, length: number): ShownText {
  const from = Math.max(0, at - BEFORE)
  const to = Math.min(text.length, at + length + AFTER)
  const before = (from > 0 ? '...' : '') + safeText(text.slice(from, at))
  const part = safeText(text.slice(at, Math.min(at + length, to)))
  const after = safeText(text.slice(Math.min(at + length, to), to)) + (to < text.length ? '...' : '')
  return { line: before + part + after, column: columns(before), width: Math.max(1, columns(part)) }
}

/** A text without anything that a terminal would act on; every such character becomes a dot. */
export function safeText(text: string): string {
  return text.replaceAll(/\p{Cc}|\p{Cf}|\p{Zl}|\p{Zp}|\p{Cs}/gu, '·')
}

/** A sentence as an item of a list. */
export function bullet(sentence: string, terminal: Pick<Terminal, 'wrap'>): string {
  return `- ${terminal.wrap(sentence, '  ').slice(2)}`
}

// Letters of East Asia and full-width forms take two columns; combining marks take none.
function columns(text: string): number {
  let count = 0
  for (const character of text) {
    if (/\p{M}/u.test(character)) continue
    count +=
      /[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6]/.test(
        character,
      )
        ? 2
        : 1
  }
  return count
}
