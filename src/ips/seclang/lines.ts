// Cuts a file of directives into logical lines and words, by the rules of Apache's configuration files.

/** A directive line: continued lines are joined; `line` is where it begins, from 1. */
export type LogicalLine = { readonly line: number; readonly text: string }

/** Joins lines that end in a backslash, and drops comments and empty lines. */
export function logicalLines(file: string): readonly LogicalLine[] {
  const out: LogicalLine[] = []
  const lines = file.split('\n')
  let held: string[] = []
  let first = 0
  for (const [index, raw] of lines.entries()) {
    const line = raw.endsWith('\r') ? raw.slice(0, -1) : raw
    if (held.length === 0) first = index + 1
    // A comment does not go on: a commented-out line must not swallow the one below it.
    const isComment = held.length === 0 && line.trimStart().startsWith('#')
    if (!isComment && line.endsWith('\\') && index + 1 < lines.length) {
      held.push(line.slice(0, -1))
      continue
    }
    held.push(line)
    const text = held.join('').trim()
    held = []
    if (text !== '' && !text.startsWith('#')) out.push({ line: first, text })
  }
  return out
}

/** Words of a line; null: a quote is not closed. A backslash takes the meaning of a quote or of a backslash within quotes. */
export function wordsOf(text: string): readonly string[] | null {
  const words: string[] = []
  let at = 0
  while (at < text.length) {
    if (text.charAt(at) === ' ' || text.charAt(at) === '\t') {
      at++
      continue
    }
    const quote = text.charAt(at)
    if (quote !== '"' && quote !== "'") {
      let end = at
      while (end < text.length && text.charAt(end) !== ' ' && text.charAt(end) !== '\t') end++
      words.push(text.slice(at, end))
      at = end
      continue
    }
    const parts: string[] = []
    let from = at + 1
    let end = from
    for (; end < text.length && text.charAt(end) !== quote; end++) {
      if (text.charAt(end) !== '\\' || end + 1 >= text.length) continue
      // As in Apache: of a pattern's own escapes only the doubled backslash is touched.
      if (text.charAt(end + 1) === quote || text.charAt(end + 1) === '\\') {
        parts.push(text.slice(from, end))
        from = end + 1
      }
      end++
    }
    if (end >= text.length) return null
    parts.push(text.slice(from, end))
    words.push(parts.join(''))
    at = end + 1
  }
  return words
}
