// The lines of one rule in a file of the ModSecurity language, as they are written.
import { logicalLines, wordsOf } from './lines.ts'

/** The rule that begins at a line (from 1), with the rules chained to it; null: no rule begins there. */
export function ruleTextAt(file: string, line: number): string | null {
  const directives = logicalLines(file)
  const first = directives.findIndex(directive => directive.line === line)
  if (first < 0 || !isRule(directives[first]?.text)) return null
  let last = first
  while (isChained(directives[last]?.text) && isRule(directives[last + 1]?.text)) last++
  const lines = file.split('\n').map(text => text.replace(/\r$/, ''))
  let end = directives[last]?.line ?? line
  while (lines[end - 1]?.endsWith('\\') === true && end < lines.length) end++
  return lines.slice(line - 1, end).join('\n')
}

function isRule(text: string | undefined): boolean {
  return text !== undefined && /^sec(?:rule|action)\s/i.test(text)
}

/** Whether the next rule belongs to this one. */
function isChained(text: string | undefined): boolean {
  const actions = text === undefined ? undefined : wordsOf(text)?.at(-1)
  return actions !== undefined && /(?:^|,)\s*chain\s*(?:,|$)/i.test(actions)
}
