// The parsed form of a pattern.
import type { CharSet } from './requirement.ts'

/** A place in the text without width. `end` is the very end; `last-line` is there or before a final newline (`\Z`). */
export type Assertion =
  'start' | 'end' | 'last-line' | 'line-start' | 'line-end' | 'word-boundary' | 'not-word-boundary'

/** A part of a pattern. */
export type Node =
  | { readonly kind: 'empty' }
  | { readonly kind: 'set'; readonly set: CharSet }
  | { readonly kind: 'assert'; readonly what: Assertion }
  | { readonly kind: 'concat'; readonly parts: readonly Node[] }
  | { readonly kind: 'choice'; readonly parts: readonly Node[] }
  | {
      readonly kind: 'repeat'
      readonly part: Node
      readonly min: number
      /** Infinity when unbounded. */
      readonly max: number
      readonly lazy: boolean
    }
  | { readonly kind: 'group'; readonly part: Node; readonly index: number }

/** A pattern that was read. */
export type Syntax = {
  readonly root: Node
  /** Number of capturing groups, the whole match not counted. */
  readonly groups: number
  /** Names of groups, with their index. */
  readonly names: ReadonlyMap<string, number>
}

export const EMPTY: Node = { kind: 'empty' }

/** Whether the part can match without consuming a character. */
export function isNullable(node: Node): boolean {
  switch (node.kind) {
    case 'empty':
    case 'assert':
      return true
    case 'set':
      return false
    case 'concat':
      return node.parts.every(isNullable)
    case 'choice':
      return node.parts.some(isNullable)
    case 'repeat':
      return node.min === 0 || isNullable(node.part)
    case 'group':
      return isNullable(node.part)
  }
}
