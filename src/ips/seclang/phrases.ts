// Finds any of many phrases in one pass, letters compared without regard to case (Aho and Corasick 1975).
import type { CharSet, Requirement } from '../regex/requirement.ts'

/** Where a phrase stands. */
export type PhrasePlace = { readonly at: number; readonly length: number }

/** Finds phrases. */
export type PhraseSearch = {
  /** The phrase that ends first; of those that end there, the longest. */
  readonly find: (text: string) => PhrasePlace | null
  /** What a text must contain for a phrase to be found; null: there are too many phrases, or none. */
  readonly requirement: Requirement | null
}

/** Most phrases that are also looked for together with the requirements of patterns: each makes that search larger. */
const MAX_REQUIRED = 4_000

type Table = {
  readonly classes: Uint8Array
  readonly width: number
  readonly moves: Int32Array
  /** Length of the longest phrase that ends in a state; 0: none. */
  readonly ends: Uint16Array
}

/** Builds a search; empty phrases are left out. The table is made at the first search: many rules are never reached. */
export function searchPhrases(phrases: readonly string[]): PhraseSearch {
  const wanted = [...new Set(phrases.map(fold))].filter(phrase => phrase !== '')
  let table: Table | null = null
  return {
    requirement: wanted.length === 0 || wanted.length > MAX_REQUIRED ? null : wanted.map(sequenceOf),
    find: text => {
      table ??= build(wanted)
      const { classes, width, moves, ends } = table
      let state = 0
      for (let at = 0; at < text.length; at++) {
        const unit = text.charCodeAt(at)
        state = moves[state * width + (unit < 256 ? (classes[unit] as number) : 0)] as number
        const length = ends[state] as number
        if (length > 0) return { at: at + 1 - length, length }
      }
      return null
    },
  }
}

function sequenceOf(phrase: string): readonly CharSet[] {
  return Array.from({ length: phrase.length }, (_, at): CharSet => {
    const code = phrase.charCodeAt(at) & 0xff
    return code >= 0x61 && code <= 0x7a
      ? [
          [code - 0x20, code - 0x20],
          [code, code],
        ]
      : [[code, code]]
  })
}

function fold(phrase: string): string {
  return phrase.replaceAll(/[A-Z]+/g, letters => letters.toLowerCase())
}

function build(phrases: readonly string[]): Table {
  const classes = new Uint8Array(256)
  let width = 1
  for (const phrase of phrases) {
    for (let at = 0; at < phrase.length; at++) {
      const code = phrase.charCodeAt(at) & 0xff
      if (classes[code] !== 0) continue
      classes[code] = width
      if (code >= 0x61 && code <= 0x7a) classes[code - 0x20] = width
      width++
    }
  }
  const states = 1 + phrases.reduce((sum, phrase) => sum + phrase.length, 0)
  const moves = new Int32Array(states * width)
  const ends = new Uint16Array(states)
  let used = 1
  for (const phrase of phrases) {
    let state = 0
    for (let at = 0; at < phrase.length; at++) {
      const place = state * width + (classes[phrase.charCodeAt(at) & 0xff] as number)
      if (moves[place] === 0) moves[place] = used++
      state = moves[place] as number
    }
    ends[state] = phrase.length
  }
  return { classes, width, moves: closed(moves, ends, used, width), ends }
}

/** Fills the moves that no phrase has with those of the longest suffix that some phrase begins with. */
function closed(moves: Int32Array, ends: Uint16Array, used: number, width: number): Int32Array {
  const suffix = new Int32Array(used)
  const order: number[] = []
  for (let kind = 0; kind < width; kind++) {
    const child = moves[kind] as number
    if (child !== 0) order.push(child)
  }
  for (let index = 0; index < order.length; index++) {
    const state = order[index] as number
    const back = suffix[state] as number
    if (ends[state] === 0) ends[state] = ends[back] as number
    for (let kind = 0; kind < width; kind++) {
      const place = state * width + kind
      const child = moves[place] as number
      const other = moves[back * width + kind] as number
      if (child === 0) moves[place] = other
      else {
        suffix[child] = other
        order.push(child)
      }
    }
  }
  return moves.slice(0, used * width)
}

/** Phrases of an operator's argument: words with spaces between; `|41 42|` writes bytes as hexadecimal pairs. */
export function phrasesOf(argument: string): readonly string[] {
  return argument
    .split(/\s+/)
    .filter(word => word !== '')
    .map(unquoteBytes)
}

function unquoteBytes(phrase: string): string {
  return phrase.replaceAll(/\|((?:[0-9a-fA-F]{2}\s?)+)\|/g, (_, pairs: string) =>
    pairs.replaceAll(/([0-9a-fA-F]{2})\s?/g, (__, pair: string) =>
      String.fromCharCode(Number.parseInt(pair, 16)),
    ),
  )
}

/** Phrases of a data file: one per line; lines that begin with `#` and empty ones are left out. */
export function phrasesOfFile(text: string): readonly string[] {
  return text
    .split('\n')
    .map(line => line.trim())
    .filter(line => line !== '' && !line.startsWith('#'))
}
