// Validates a parsed file against its schema and, when parts are wrong, goes on with the rest so that one look finds every problem.
import type { z } from 'zod'
import type { SourceLine } from '../policy/source-line.ts'
import { explainIssue, valueAt, type Located } from './issues.ts'
import { sortProblems, type Problem } from './problems.ts'
import type { Path, YamlSource } from './read.ts'
import { suggest } from './spelling.ts'

/** What validation made of a file. */
export type Validated<Value> = {
  /** The typed value; with problems it lacks the unusable parts. Null when too little is usable. */
  readonly value: Value | null
  readonly problems: readonly Problem[]
  /** Place of a part of `value`; differs from the source's own where unusable list entries were taken out. */
  readonly at: (path: Path) => SourceLine
}

const MAX_ROUNDS = 8
const MAX_ISSUES = 200

/**
 * Validates `source` against `schema`. After a failure the unusable parts are taken out (and `placeholders` put in for
 * required keys of the top level), so that later checks can still look at everything else.
 */
export function validate<Schema extends z.ZodType>(
  schema: Schema,
  source: YamlSource,
  placeholders: Readonly<Record<string, unknown>> = {},
): Validated<z.output<Schema>> {
  const first = schema.safeParse(source.value)
  if (first.success) return { value: first.data, problems: [], at: source.at }
  const located = first.error.issues.slice(0, MAX_ISSUES).flatMap(issue => explainIssue(issue, source))
  const problems = sortProblems(
    located.filter(entry => !isConsequence(entry, located)).map(entry => entry.problem),
  )
  const removed = located.map(entry => entry.unusable)
  for (let round = 0; round < MAX_ROUNDS; round++) {
    const pruned = prune(source.value, removed, placeholders)
    const again = schema.safeParse(pruned.value)
    const at = (path: Path): SourceLine => source.at(pruned.original(path))
    if (again.success) return { value: again.data, problems, at }
    // Only consequences of the first round's removals can be left: they are removed too, not reported.
    const rest: YamlSource = { ...source, value: pruned.value, at, keyAt: at }
    for (const issue of again.error.issues.slice(0, MAX_ISSUES)) {
      for (const entry of explainIssue(issue, rest)) removed.push(pruned.original(entry.unusable))
    }
  }
  return { value: null, problems, at: source.at }
}

// A required key that is missing because it is misspelt: the unknown key says so already.
function isConsequence(entry: Located, all: readonly Located[]): boolean {
  const { missing } = entry
  if (missing === null) return false
  const parent = pathKey(entry.unusable.slice(0, -1))
  const unknown = all.flatMap(({ unknownKey, unusable }) =>
    unknownKey !== null && pathKey(unusable.slice(0, -1)) === parent ? [unknownKey] : [],
  )
  return suggest(missing, unknown) !== undefined
}

type Pruned = { readonly value: unknown; readonly original: (path: Path) => Path }

function prune(
  root: unknown,
  removed: readonly Path[],
  placeholders: Readonly<Record<string, unknown>>,
): Pruned {
  const gone = new Set(removed.map(path => pathKey(existing(root, path))))
  const kept = new Map<string, readonly number[]>()
  const copy = (value: unknown, path: Path): unknown => {
    if (Array.isArray(value)) {
      const indices = [...value.keys()].filter(index => !gone.has(pathKey([...path, index])))
      kept.set(pathKey(path), indices)
      return indices.map(index => copy(value[index], [...path, index]))
    }
    if (typeof value !== 'object' || value === null) return value
    return Object.fromEntries(
      Object.entries(value)
        .filter(([key]) => !gone.has(pathKey([...path, key])))
        .map(([key, inner]) => [key, copy(inner, [...path, key])]),
    )
  }
  const value = copy(root, [])
  const isBlock = typeof value === 'object' && value !== null && !Array.isArray(value)
  return {
    value: isBlock ? { ...placeholders, ...value } : value,
    original(path) {
      const out: (string | number)[] = []
      for (const part of path) {
        const indices = typeof part === 'number' ? kept.get(pathKey(out)) : undefined
        out.push(typeof part === 'number' ? (indices?.[part] ?? part) : part)
      }
      return out
    },
  }
}

// A missing key cannot be removed: what lacks it is, except at the top, where placeholders fill in.
function existing(root: unknown, path: Path): Path {
  let at = path
  while (at.length > 1 && valueAt(root, at) === undefined) at = at.slice(0, -1)
  return at
}

function pathKey(path: Path): string {
  return path.map(part => (typeof part === 'number' ? `#${part}` : part.replaceAll('/', '//'))).join('/ ')
}
