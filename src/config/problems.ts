// Problems in policy files: where, what, and what to do, in a form that a person can act on.
import { formatSourceLine, type SourceLine } from '../policy/source-line.ts'

/** Something wrong (or, as a warning, risky) in a policy file. Lines and columns count from 1. */
export type Problem = {
  readonly file: string
  readonly line: number
  readonly column: number
  readonly message: string
  /** What to write instead; null: the message says it all. */
  readonly hint: string | null
  /** The offending line, secrets covered; null: there is none to show. */
  readonly excerpt: string | null
}

const EXCERPT_LENGTH = 140
const SECRET = /(\bvalue\s*:\s*)("[^"]*"?|'[^']*'?|[^\s,}\]]+)/g

/** A problem at a place of a file whose lines are at hand. */
export function problemAt(
  at: SourceLine,
  lines: readonly string[],
  message: string,
  hint: string | null = null,
): Problem {
  const text = lines[at.line - 1]
  return {
    file: at.file,
    line: at.line,
    column: at.column,
    message: clean(message),
    hint: hint === null ? null : clean(hint),
    excerpt: text === undefined ? null : coverSecrets(text),
  }
}

/** `file:line:column: message` on one line: for logs and events. */
export function formatProblem(problem: Problem): string {
  const place = formatSourceLine(problem)
  return `${place}: ${problem.message}${problem.hint === null ? '' : ` (${problem.hint})`}`
}

/** A problem for a terminal: the sentence, the offending line with a caret, the suggestion. */
export function renderProblem(problem: Problem): string {
  const out = [`${formatSourceLine(problem)}: ${problem.message}`]
  if (problem.excerpt !== null && problem.line > 0) {
    const { text, caret } = window(problem.excerpt, problem.column)
    const gutter = String(problem.line)
    out.push(
      `  ${gutter} | ${text}`,
      `  ${' '.repeat(gutter.length)} | ${' '.repeat(Math.max(0, caret - 1))}^`,
    )
  }
  if (problem.hint !== null) out.push(`  hint: ${problem.hint}`)
  return out.join('\n')
}

/** Orders problems as a reader meets them: by file, line, column. */
export function sortProblems(problems: readonly Problem[]): readonly Problem[] {
  return problems.toSorted(
    (a, b) =>
      compareText(a.file, b.file) ||
      a.line - b.line ||
      a.column - b.column ||
      compareText(a.message, b.message),
  )
}

/** Text from a file, quoted and cut to a length that a message can carry. */
export function quoted(value: unknown): string {
  const text = typeof value === 'string' ? `"${value}"` : (JSON.stringify(value) ?? String(value))
  return clean(text.length > 60 ? `${text.slice(0, 57)}...` : text)
}

// The caret must stay under its character, so every replacement keeps the length of the line.
function coverSecrets(line: string): string {
  return clean(line).replaceAll(SECRET, (_, key: string, value: string) => key + '*'.repeat(value.length))
}

function clean(text: string): string {
  return text.replaceAll(/\p{Cc}|\p{Cf}|[\u2028\u2029]/gu, character => (character === '\t' ? ' ' : '\u00b7'))
}

function window(line: string, column: number): { readonly text: string; readonly caret: number } {
  if (line.length <= EXCERPT_LENGTH) return { text: line, caret: column }
  const start = Math.max(0, Math.min(column - 1 - EXCERPT_LENGTH / 2, line.length - EXCERPT_LENGTH))
  const head = start > 0 ? '...' : ''
  const tail = start + EXCERPT_LENGTH < line.length ? '...' : ''
  return {
    text: head + line.slice(start, start + EXCERPT_LENGTH) + tail,
    caret: column - start + head.length,
  }
}

function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}
