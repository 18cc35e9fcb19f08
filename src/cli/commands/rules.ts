// portcullis rules: which rules are in use, what each does when it fires, and where it is excepted.
import type { RuleInfo } from '../../ips/rule-set.ts'
import { formatSourceLine } from '../../policy/source-line.ts'
import { usageError, type Command } from '../command.ts'
import { counted, formatDay } from '../format.ts'
import { requirePolicy } from '../gate-access.ts'
import { suggest } from '../../config/spelling.ts'
import type { Terminal } from '../terminal.ts'

export const rulesCommand: Command = {
  name: 'rules',
  usage: 'rules [<rule or pack>]',
  summary: 'Rules in use: pack, mode, what they stop, exceptions',
  examples: ['portcullis rules', 'portcullis rules generic', 'portcullis rules --json'],
  options: {},
  run: (args, context) => {
    const { terminal } = context
    const { snapshot } = requirePolicy(args, context)
    const wanted = args.positionals[0]?.toLowerCase()
    const { rules } = snapshot.rules
    const shown = rules.filter(rule => wanted === undefined || rule.id === wanted || rule.pack === wanted)
    if (wanted !== undefined && shown.length === 0) {
      const suggestion = suggest(wanted, [...rules.map(rule => rule.id), ...rules.map(rule => rule.pack)])
      throw usageError(
        `no rule or rule pack ${wanted} is in use`,
        suggestion === undefined ? 'See: portcullis rules' : `Did you mean ${suggestion}?`,
      )
    }
    if (args.flag('json')) terminal.json(shown.map(ruleJson))
    else show(shown, terminal)
    return Promise.resolve(0)
  },
}

function ruleJson({ id, title, severity, mode, pack, refs, exceptions, at }: RuleInfo): unknown {
  return {
    id,
    title,
    severity,
    mode,
    pack,
    refs,
    line: formatSourceLine(at),
    exceptions: (exceptions ?? []).map(entry => ({
      reason: entry.reason,
      expiresMs: entry.expiresMs,
      line: formatSourceLine(entry.at),
    })),
  }
}

function show(rules: readonly RuleInfo[], terminal: Terminal): void {
  if (rules.length === 0) {
    terminal.print(
      'No rule is in use: known attacks on RMM servers are let through. See rules in the policy.',
    )
    return
  }
  const tones = { enforce: 'good', detect: 'warn', off: 'dim' } as const
  for (const [pack, own] of Map.groupBy(rules, rule => rule.pack)) {
    terminal.print(
      `${terminal.tone('strong', pack)}, ${counted(own.length, 'rule')}`,
      terminal.table(
        own.map(rule => [
          rule.id,
          terminal.tone(tones[rule.mode], rule.mode),
          rule.severity,
          rule.refs.length === 0 ? rule.title : `${rule.title} (${rule.refs.join(', ')})`,
        ]),
        '  ',
      ),
    )
    for (const rule of own) {
      for (const { reason, expiresMs, at } of rule.exceptions ?? []) {
        terminal.print(
          terminal.wrap(
            `exception from ${rule.id} until ${formatDay(expiresMs - 1)}: ${reason} (${formatSourceLine(at)})`,
            '  ',
            '  ',
          ),
        )
      }
    }
    terminal.print('')
  }
  const count = (mode: RuleInfo['mode']): number => rules.filter(rule => rule.mode === mode).length
  terminal.print(`${count('enforce')} enforce, ${count('detect')} detect, ${count('off')} off.`)
}
