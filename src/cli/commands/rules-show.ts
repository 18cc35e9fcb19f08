// portcullis rules show: one rule as its file states it, with what the policy makes of it.
import type { RuleInfo } from '../../ips/rule-set.ts'
import type { Snapshot } from '../../policy/snapshot.ts'
import { formatSourceLine } from '../../policy/source-line.ts'
import { suggest } from '../../config/spelling.ts'
import { usageError, type CommandContext } from '../command.ts'
import { formatDay } from '../format.ts'
import { ruleText } from '../rule-text.ts'

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
