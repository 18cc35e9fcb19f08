// The lines of a rule as its file states them: what lists and pages show of "what does it match?".
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { RuleInfo } from '../ips/rule-set.ts'
import { ruleTextAt } from '../ips/seclang/rule-text.ts'
import type { Snapshot } from '../policy/snapshot.ts'

const IMPORTS = 'rules/imported/'

/** The lines of the rule in its file, as written; null: the file cannot be read or has changed. */
export function ruleText({ id, at }: RuleInfo, snapshot: Snapshot): string | null {
  const imported = at.file.indexOf(IMPORTS)
  const place = imported < 0 ? at.file.lastIndexOf('rules/') : imported
  if (place < 0) return null
  let text: string
  try {
    text = readFileSync(join(snapshot.directories.policy, at.file.slice(place)), 'utf8')
  } catch {
    return null
  }
  if (imported >= 0) {
    const written = ruleTextAt(text, at.line)
    // What a rule set of others holds is shown on a terminal.
    return written?.replaceAll(/[^\P{Cc}\t\n]/gu, '\u00b7') ?? null
  }
  const lines = text.split('\n')
  const first = lines[at.line - 1] ?? ''
  if (!first.includes(id)) return null
  const indent = /^ */.exec(first)?.[0].length ?? 0
  const own: string[] = [first]
  for (const line of lines.slice(at.line)) {
    if (line.trim() !== '' && (/^ */.exec(line)?.[0].length ?? 0) <= indent) break
    own.push(line)
  }
  // Comments in front of the next rule belong to that one.
  while (own.length > 1 && /^\s*(?:#.*)?$/.test(own.at(-1) ?? '')) own.pop()
  return own.join('\n')
}
