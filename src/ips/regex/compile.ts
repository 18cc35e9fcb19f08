// Compiles a pattern: the entry to the pattern engine.
import { CaptureFinder } from './captures.ts'
import { LazyTest } from './lazy-test.ts'
import { parsePattern } from './parse.ts'
import { buildProgram, ProgramTooLarge } from './program.ts'
import { findRequirement } from './require.ts'
import type { Syntax } from './syntax.ts'
import type { Pattern, PatternFlags, PatternMatch, PatternProblem } from './types.ts'

/**
 * How far `exec` looks for a longer match beyond the place where one is certain. Following all ways of a large pattern through
 * a match of 64 KB would hold up everything else.
 */
const MAX_BEYOND = 4096

/**
 * Compiles a pattern of the RE2 dialect. Patterns work on UTF-16 code units, so on byte strings (one character per byte) as
 * well. `\s` holds the vertical tab, `\v` and `\h` are PCRE's, `.` is all but the newline, `$` and `\z` are the very end, and
 * case folds for ASCII and from U+0100 on. SecLang's patterns need `dotAll`.
 * @returns the problem when the dialect does not have it, or when it would grow too large
 */
export function compilePattern(source: string, flags: PatternFlags = {}): Pattern | PatternProblem {
  const syntax = parsePattern(source, flags)
  if ('message' in syntax) return syntax
  try {
    return new CompiledPattern(source, syntax)
  } catch (error) {
    if (error instanceof ProgramTooLarge) return { message: error.message, column: 1 }
    throw error
  }
}

/** Whether a compiled pattern, and not a problem, came back. */
export function isPattern(compiled: Pattern | PatternProblem): compiled is Pattern {
  return 'test' in compiled
}

class CompiledPattern implements Pattern {
  readonly source: string
  readonly requirement: Pattern['requirement']
  readonly groupNames: ReadonlyMap<string, number>
  readonly #syntax: Syntax
  readonly #test: LazyTest
  #finder: CaptureFinder | undefined

  constructor(source: string, syntax: Syntax) {
    this.source = source
    this.#syntax = syntax
    this.groupNames = syntax.names
    this.#test = new LazyTest(buildProgram(syntax, false))
    this.requirement = findRequirement(syntax.root)
  }

  test(text: string): boolean {
    return this.#test.reach(text) >= 0
  }

  exec(text: string): PatternMatch | null {
    const reach = this.#test.reach(text)
    if (reach < 0) return null
    this.#finder ??= new CaptureFinder(buildProgram(this.#syntax, true))
    const places = this.#finder.find(text, reach + MAX_BEYOND)
    if (places === null) return null
    const groups: (string | undefined)[] = []
    for (let i = 0; i < places.length; i += 2) {
      const from = places[i] as number
      const to = places[i + 1] as number
      groups.push(from < 0 || to < 0 ? undefined : text.slice(from, to))
    }
    return { index: places[0] as number, groups }
  }
}
