// Finds the rules that a path leaves in play, and remembers them: RMM traffic asks for the same few paths all day.
import type { CompiledRule } from './compiled-rule.ts'
import type { PathTest } from './condition.ts'
import type { Inspected } from './parts/inspected.ts'
import { createScanner } from './regex/scanner.ts'
import type { Run } from './rule.ts'

/** Rules by the phase in which they are asked; rules that read bodies are in `head` as well. */
export type Candidates = {
  readonly head: readonly CompiledRule[]
  readonly body: readonly CompiledRule[]
  readonly message: readonly CompiledRule[]
}

/** Rules that a path leaves in play, of those that are tied to paths. */
export type PathIndex = (inspected: Inspected, run: Run) => Candidates

/** Rules by phase. */
export function byPhase(all: readonly CompiledRule[]): Candidates {
  return {
    head: all.filter(rule => rule.phase === 'head' || rule.phase === 'body'),
    body: all.filter(rule => rule.phase === 'body'),
    message: all.filter(rule => rule.phase === 'message'),
  }
}

const MAX_PATHS = 1024
const MAX_PATH_LENGTH = 256

/** An index over rules with `onPath`. Its memory is bounded and dropped as a whole when an attacker fills it. */
export function pathIndex(rules: readonly CompiledRule[]): PathIndex {
  const known = new Map<string, Candidates>()
  const find = pathFinder(rules)
  return (inspected, run) => {
    const { target } = inspected.facts
    const mark = target.indexOf('?')
    const path = mark < 0 ? target : target.slice(0, mark)
    let found = known.get(path)
    if (found === undefined) {
      found = byPhase(find(inspected, run))
      if (known.size >= MAX_PATHS) known.clear()
      // A text of its own: the part of a head would keep the whole head in memory.
      if (path.length <= MAX_PATH_LENGTH) known.set(` ${path}`.slice(1), found)
    }
    return found
  }
}

type Asked = { readonly test: PathTest; readonly rules: Set<number>; readonly bit: number }

/** Asks each distinct test of a path once, those with a requirement only where a scan of the path meets it. */
function pathFinder(rules: readonly CompiledRule[]): (inspected: Inspected, run: Run) => CompiledRule[] {
  const asked = new Map<string, Asked>()
  const requirements: NonNullable<PathTest['operator']['requires']>[] = []
  for (const [place, { condition }] of rules.entries()) {
    for (const test of condition.onPath ?? []) {
      const { requires } = test.operator
      const key = `${test.collection.id} ${test.operator.id}`
      let entry = asked.get(key)
      if (entry === undefined) {
        entry = { test, rules: new Set(), bit: requires === null ? -1 : requirements.push(requires) - 1 }
        asked.set(key, entry)
      }
      entry.rules.add(place)
    }
  }
  const scanner = createScanner(requirements)
  const byCollection = Map.groupBy(asked.values(), ({ test }) => test.collection.id)
  return (inspected, run) => {
    const places = new Set<number>()
    for (const entries of byCollection.values()) {
      const values = entries[0]?.test.collection.read(inspected, run) ?? []
      for (const { value } of values) {
        const bits = scanner.scan(value)
        for (const { test, rules: tied, bit } of entries) {
          if (bit >= 0 && ((bits[bit >> 5] as number) & (1 << (bit & 31))) === 0) continue
          if (test.operator.find(value, run) === null) continue
          for (const place of tied) places.add(place)
        }
      }
    }
    return [...places].sort((a, b) => a - b).flatMap(place => rules[place] ?? [])
  }
}
