// portcullis rules show: one rule as its file states it, with what the policy makes of it.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { RuleInfo } from '../../ips/rule-set.ts'
import { ruleTextAt } from '../../ips/seclang/rule-text.ts'
import type { Snapshot } from '../../policy/snapshot.ts'
import { formatSourceLine } from '../../policy/source-line.ts'
import { suggest } from '../../config/spelling.ts'
import { usageError, type CommandContext } from '../command.ts'
import { formatDay } from '../format.ts'

/** The rule of that id. @throws PortcullisError `usage` with a suggestion */
export function requireRule(id: string | undefined, snapshot: Snapshot, verb: string): RuleInfo {
  if (id === undefined)
    throw usageError(`rules ${verb} needs the id of a rule`, 'See the ids: portcullis rules')
  const { rules } = snapshot.rules
  const found = rules.find(rule => rule.id === id.toLowerCase())
  if (found !== undefined) return found
  const suggestion = suggest(
    id,
    rules.map(rule => rule.id),
  )
  throw usageError(
    `no rule ${id} is in use`,
    suggestion === undefined ? 'See: portcullis rules' : `Did you mean ${suggestion}?`,
  )
}

/** Shows a rule. */
export function showRule(rule: RuleInfo, snapshot: Snapshot, { terminal }: CommandContext): void {
  const { id, title, severity, mode, pack, tags, refs, exceptions, at } = rule
  terminal.print(
    `${terminal.tone('strong', id)}: ${title}`,
    terminal.table(
      [
        ['mode', mode],
        ['severity', severity],
        ['pack', pack],
        ['tags', tags.length === 0 ? '-' : tags.join(', ')],
        ['refs', refs.length === 0 ? '-' : refs.join(', ')],
        ['stated at', formatSourceLine(at)],
      ],
      '  ',
    ),
  )
  for (const entry of exceptions) {
    terminal.print(
      terminal.wrap(
        `exception until ${formatDay(entry.expiresMs - 1)}: ${entry.reason} (${formatSourceLine(entry.at)})`,
        '  ',
        '  ',
      ),
    )
  }
  const text = ruleText(rule, snapshot)
  if (text !== null) terminal.print('', text)
}

const IMPORTS = 'rules/imported/'

/** The lines of the rule in its file, as written; null: the file cannot be read or has changed. */
function ruleText({ id, at }: RuleInfo, snapshot: Snapshot): string | null {
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
