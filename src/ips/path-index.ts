// Finds the rules that a path leaves in play, and remembers them: RMM traffic asks for the same few paths all day.
import type { CompiledRule } from './compiled-rule.ts'
import type { Inspected } from './parts/inspected.ts'
import type { Run } from './rule.ts'
import { ALWAYS, NEVER, type Sources } from './sources.ts'

/** A rule that can still fire for a path, and without which parts of the request it cannot. */
export type Candidate = { readonly rule: CompiledRule; readonly needs: Sources }

/** Candidates by the phase in which they are asked; rules that read bodies are in `head` as well. */
export type Candidates = {
  readonly head: readonly Candidate[]
  readonly body: readonly Candidate[]
  readonly message: readonly Candidate[]
}

const MAX_PATHS = 1024
const MAX_PATH_LENGTH = 256

/** What a path leaves in play. */
export type PathIndex = (inspected: Inspected, run: Run) => Candidates

/** No index: every rule is a candidate for everything. */
export function withoutIndex(rules: readonly CompiledRule[]): PathIndex {
  const all = byPhase(rules.map(rule => ({ rule, needs: ALWAYS })))
  return () => all
}

function byPhase(all: readonly Candidate[]): Candidates {
  return {
    head: all.filter(({ rule }) => rule.phase === 'head' || rule.phase === 'body'),
    body: all.filter(({ rule }) => rule.phase === 'body'),
    message: all.filter(({ rule }) => rule.phase === 'message'),
  }
}

/** An index over rules. Its memory is bounded and dropped as a whole when an attacker fills it. */
export function pathIndex(rules: readonly CompiledRule[]): PathIndex {
  const known = new Map<string, Candidates>()
  return (inspected, run) => {
    const { target } = inspected.facts
    const mark = target.indexOf('?')
    const path = mark < 0 ? target : target.slice(0, mark)
    let found = known.get(path)
    if (found === undefined) {
      const all = rules
        .map(rule => ({ rule, needs: rule.condition.needs(inspected, run) }))
        .filter(({ needs }) => needs !== NEVER)
      found = byPhase(all)
      if (known.size >= MAX_PATHS) known.clear()
      // A text of its own: the part of a head would keep the whole head in memory.
      if (path.length <= MAX_PATH_LENGTH) known.set(` ${path}`.slice(1), found)
    }
    return found
  }
}
