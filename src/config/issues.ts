// Turns schema issues into problems: plain words, the right line and column, a suggestion for a misspelt word.
import type { z } from 'zod'
import { quoted, problemAt, type Problem } from './problems.ts'
import type { Path, YamlSource } from './read.ts'
import { HINT } from './scalars.ts'
import { suggest, suggestion } from './spelling.ts'

/** A schema issue with the part of the file that it makes unusable. */
export type Located = {
  readonly problem: Problem
  readonly unusable: Path
  /** The required key that is missing; null: the issue is something else. */
  readonly missing: string | null
  /** The key that the schema does not know; null: the issue is something else. */
  readonly unknownKey: string | null
}

type Issue = z.core.$ZodIssue

// A file of another kind has thousands of them; a person reads the first few.
const MAX_UNKNOWN_KEYS = 25

/** Every problem that an issue stands for. */
export function explainIssue(issue: Issue, source: YamlSource): readonly Located[] {
  return explain(issue, [], source)
}

function explain(issue: Issue, base: Path, source: YamlSource): readonly Located[] {
  const path: Path = [...base, ...issue.path.map(part => (typeof part === 'symbol' ? String(part) : part))]
  const value = valueAt(source.value, path)
  const at = (message: string, hint: string | null, missing: string | null = null): readonly Located[] => [
    {
      problem: problemAt(source.at(path), source.lines, message, hint),
      unusable: path,
      missing,
      unknownKey: null,
    },
  ]
  switch (issue.code) {
    case 'unrecognized_keys':
      return issue.keys.slice(0, MAX_UNKNOWN_KEYS).map(key => ({
        problem: problemAt(
          source.keyAt([...path, key]),
          source.lines,
          `unknown key ${quoted(key)}${path.length === 0 ? '' : ` in ${path.join('.')}`}`,
          suggestion(key, issue.message.split(',')),
        ),
        unusable: [...path, key],
        missing: null,
        unknownKey: key,
      }))
    case 'invalid_union':
      return explainUnion(issue, path, value, source)
    case 'invalid_key': {
      const first = issue.issues[0]
      const [message, hint] =
        first === undefined ? ['not a usable key', null] : keyMessage(first, path.at(-1))
      return [
        {
          problem: problemAt(source.keyAt(path), source.lines, message, hint ?? null),
          unusable: path,
          missing: null,
          unknownKey: null,
        },
      ]
    }
    case 'invalid_type':
      if (value === undefined) {
        return at(`${label(path)} is required`, null, String(path.at(-1)))
      }
      return at(
        `${label(path)} must be ${expectedWord(issue.expected)}, not ${describe(value)}`,
        typeHint(value),
      )
    case 'invalid_value':
      if (value === undefined) return at(`${label(path)} is required`, null, String(path.at(-1)))
      return at(
        `${quoted(value)} is not a value of ${label(path)}`,
        valueHint(value, issue.values.map(String)),
      )
    case 'too_small':
      return at(`${label(path)} ${bound(issue, value, 'at least', issue.minimum)}`, null)
    case 'too_big':
      return at(`${label(path)} ${bound(issue, value, 'at most', issue.maximum)}`, null)
    case 'custom':
    case 'invalid_format':
    case 'not_multiple_of':
    case 'invalid_element': {
      const [message = '', hint] = issue.message.split(HINT)
      return at(message, hint ?? null)
    }
  }
}

function explainUnion(
  issue: Extract<Issue, { code: 'invalid_union' }>,
  path: Path,
  value: unknown,
  source: YamlSource,
): readonly Located[] {
  // The branch that got furthest is the one that was meant: the right kind of value, then the keys that are written there.
  const [meant] = issue.errors
    .filter(
      branch =>
        !branch.some(
          inner =>
            inner.path.length === 0 && (inner.code === 'invalid_type' || inner.code === 'invalid_value'),
        ),
    )
    .toSorted((one, other) => strangeKeys(one, value) - strangeKeys(other, value))
  if (meant !== undefined) return meant.flatMap(inner => explain(inner, path, source))
  const choices = issue.errors.flatMap(branch => branch.filter(inner => inner.path.length === 0))
  const words = choices.flatMap(inner => {
    if (inner.code === 'invalid_type') return [expectedWord(inner.expected)]
    if (inner.code === 'invalid_value') return inner.values.map(String)
    return []
  })
  const problem = problemAt(
    source.at(path),
    source.lines,
    value === undefined
      ? `${label(path)} is required`
      : `${label(path)} must be ${[...new Set(words)].join(' or ')}, not ${describe(value)}`,
    value === undefined ? null : (likelyWord(value, words) ?? typeHint(value)),
  )
  const missing = value === undefined ? String(path.at(-1)) : null
  return [{ problem, unusable: path, missing, unknownKey: null }]
}

/** How many issues of a branch say that its keys are not those of the value. */
function strangeKeys(branch: readonly Issue[], value: unknown): number {
  if (typeof value !== 'object' || value === null) return 0
  return branch.filter(({ code, path: [key, more] }) => {
    if (key === undefined) return code === 'unrecognized_keys'
    return more === undefined && code === 'invalid_type' && !Object.hasOwn(value, key)
  }).length
}

function likelyWord(value: unknown, words: readonly string[]): string | null {
  const near = typeof value === 'string' ? suggest(value, words) : undefined
  return near === undefined ? null : `did you mean "${near}"?`
}

function keyMessage(issue: Issue, key: string | number | undefined): readonly [string, string | null] {
  if (issue.code === 'invalid_value') {
    const choice = issue.values.map(String)
    return [`${quoted(key)} is not known here`, suggestion(String(key), choice)]
  }
  const [message = '', hint] = issue.message.split(HINT)
  return [message, hint ?? null]
}

function valueHint(value: unknown, choice: readonly string[]): string | null {
  const known = `possible: ${choice.join(', ')}`
  const near = typeof value === 'string' ? suggest(value, choice) : undefined
  return near === undefined ? known : `did you mean "${near}"? ${known}`
}

function label(path: Path): string {
  const part = path.at(-1)
  if (part === undefined) return 'the file'
  return typeof part === 'number' ? `entry ${part + 1} of ${String(path.at(-2) ?? 'the list')}` : part
}

function expectedWord(expected: string): string {
  switch (expected) {
    case 'string':
      return 'text'
    case 'array':
      return 'a list'
    case 'object':
    case 'record':
      return 'a block of keys'
    case 'boolean':
      return 'true or false'
    case 'number':
    case 'int':
      return 'a number'
    default:
      return expected
  }
}

function describe(value: unknown): string {
  if (value === null) return 'empty'
  if (Array.isArray(value)) return 'a list'
  if (typeof value === 'object') return 'a block of keys'
  if (typeof value === 'boolean') return `the truth value ${String(value)}`
  if (typeof value === 'number') return `the number ${value}`
  return `the text ${quoted(value)}`
}

function typeHint(value: unknown): string | null {
  if (typeof value === 'boolean') {
    return 'some YAML tools turn words such as NO (Norway), on or yes into truth values: put the word in quotes'
  }
  if (typeof value === 'number') return 'put the value in quotes if text is meant'
  if (value === null) return 'a key without a value: fill it in or remove the line'
  if (typeof value === 'string' && /^(?:yes|no|on|off|true|false)$/i.test(value)) {
    return 'write true or false, without quotes'
  }
  return null
}

function bound(
  issue: Extract<Issue, { code: 'too_small' | 'too_big' }>,
  value: unknown,
  word: string,
  limit: number | bigint,
): string {
  if (issue.message !== '' && !issue.message.startsWith('Too ') && !issue.message.startsWith('Invalid')) {
    return issue.message.split(HINT).join('; ')
  }
  if (issue.origin === 'array') return `must have ${word} ${limit} ${limit === 1 ? 'entry' : 'entries'}`
  if (issue.origin === 'string') return `must have ${word} ${limit} characters`
  return `is ${quoted(value)}; ${word} ${limit}`
}

/** The value at a path of plain data. */
export function valueAt(root: unknown, path: Path): unknown {
  let value = root
  for (const part of path) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, part)) return undefined
    value = (value as Readonly<Record<string | number, unknown>>)[part]
  }
  return value
}
