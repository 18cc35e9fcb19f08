// Writes parts of a patch as YAML: in one line, or as lines of a block at some indent.
import { isMap, isScalar, isSeq, parse, type Node, type Pair } from 'yaml'

/** Lines without their ends. */
export type Lines = readonly string[]

// Words that need no quotes anywhere in a document; colons and signs of YAML are not among the letters.
const PLAIN = /^[\w/][\w ./@+-]*$/

/** A key as it is written. */
export function keyText(key: unknown): string {
  return scalarText(isScalar(key) ? String(key.value) : String(key))
}

/** A node in one line. */
export function flowText(node: Node | null): string {
  if (node === null) return 'null'
  if (isMap(node)) {
    const pairs = node.items as readonly Pair[]
    if (pairs.length === 0) return '{}'
    return `{ ${pairs.map(pair => `${keyText(pair.key)}: ${flowText(pair.value as Node | null)}`).join(', ')} }`
  }
  if (isSeq(node)) return `[${(node.items as readonly Node[]).map(flowText).join(', ')}]`
  return isScalar(node) ? scalarText(node.value) : 'null'
}

/** A node as lines: blocks stay blocks, what was written in one line stays in one. `key` null: an item of a list. */
export function linesOf(key: string | null, node: Node | null, indent: number): Lines {
  const space = ' '.repeat(indent)
  const head = key === null ? `${space}-` : `${space}${key}:`
  if (isMap(node) && node.flow !== true && node.items.length > 0) {
    const inner = (node.items as readonly Pair[]).flatMap(pair =>
      linesOf(keyText(pair.key), pair.value as Node | null, indent + 2),
    )
    // The first key of an item stands beside its dash.
    if (key === null) return [`${head} ${(inner[0] ?? '').trimStart()}`, ...inner.slice(1)]
    return [head, ...inner]
  }
  if (isSeq(node) && node.flow !== true && node.items.length > 0 && key !== null)
    return [head, ...(node.items as readonly Node[]).flatMap(item => linesOf(null, item, indent + 2))]
  return [`${head} ${flowText(node)}`]
}

function scalarText(value: unknown): string {
  if (typeof value !== 'string') return JSON.stringify(value ?? null)
  const isPlain = PLAIN.test(value) && value.trim() === value && parse(value) === value
  return isPlain ? value : JSON.stringify(value)
}
