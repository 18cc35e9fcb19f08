// What every part of the compiler shares: where things stand, and the list of problems and warnings.
import type { SourceLine } from '../policy/source-line.ts'
import { problemAt, type Problem } from './problems.ts'
import type { Path } from './read.ts'

/** Reports problems of one file by the path of the part that is wrong. */
export type Reporter = {
  readonly lines: readonly string[]
  readonly at: (path: Path) => SourceLine
  readonly error: (path: Path, message: string, hint?: string) => void
  readonly warn: (path: Path, message: string, hint?: string) => void
}

/** Problems and warnings of all files, in one place. */
export type Findings = { readonly problems: Problem[]; readonly warnings: Problem[] }

/** A reporter for one file. */
export function reporter(
  findings: Findings,
  lines: readonly string[],
  at: (path: Path) => SourceLine,
): Reporter {
  return {
    lines,
    at,
    error: (path, message, hint) => {
      findings.problems.push(problemAt(at(path), lines, message, hint ?? null))
    },
    warn: (path, message, hint) => {
      findings.warnings.push(problemAt(at(path), lines, message, hint ?? null))
    },
  }
}
