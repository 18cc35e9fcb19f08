// portcullis rules: which rules are in use and where they are excepted; and the ways to what else can be asked of rules.
import type { RuleInfo } from '../../ips/rule-set.ts'
import { formatSourceLine } from '../../policy/source-line.ts'
import { usageError, type Command, type CommandArguments, type CommandContext } from '../command.ts'
import { counted, formatDay } from '../format.ts'
import { requirePolicy } from '../gate-access.ts'
import { suggest } from '../../config/spelling.ts'
import type { Terminal } from '../terminal.ts'
import { importRules } from './rules-import.ts'
import { previewRules } from './rules-preview.ts'
import { requireRule, showRule } from './rules-show.ts'
import { ruleStats } from './rules-stats.ts'
import { testRules } from './rules-test.ts'

export const rulesCommand: Command = {
  name: 'rules',
  usage:
    'rules [list <rule or pack> | show <rule> | test <file> | preview [<rule>] | stats | import <dir or archive>]',
  summary:
    'Rules: list and show them, test a rule file, preview what enforcing would refuse, see what they cost, import others',
  examples: [
    'portcullis rules',
    'portcullis rules list generic',
    'portcullis rules show screenconnect-setup-wizard',
    'portcullis rules test policies/rules/generic.yaml',
    'portcullis rules preview --since 14d',
    'portcullis rules import coreruleset-4.0.0.tar.gz --sha256 <digest>',
  ],
  options: {
    sha256: {
      type: 'string',
      value: '<digest>',
      help: 'import: SHA-256 that the archive or directory must have',
    },
    name: { type: 'string', value: '<name>', help: 'import: name of the rule set (default: crs)' },
    paranoia: { type: 'string', value: '<1 to 4>', help: 'import: paranoia level to suggest (default: 1)' },
    since: { type: 'string', value: '<time>', help: 'preview: how far back (default: 14d)' },
  },
  run: async (args, context) => {
    const verb = args.positionals[0]
    if (verb === 'test') return testRules(args, context)
    if (verb === 'import') return importRules(args, context)
    if (verb === 'preview') return previewRules(args, context)
    if (verb === 'stats') return ruleStats(args, context)
    if (verb !== 'show') return listRules(args, context)
    const { snapshot } = requirePolicy(args, context)
    const rule = requireRule(args.positionals[1], snapshot, verb)
    if (args.flag('json')) context.terminal.json(ruleJson(rule))
    else showRule(rule, snapshot, context)
    return 0
  },
}

/** First words that are no rule and no pack. */
const VERBS = ['list', 'show', 'test', 'preview', 'stats', 'import']

function listRules(args: CommandArguments, context: CommandContext): number {
  const { terminal } = context
  const { snapshot } = requirePolicy(args, context)
  const words = args.positionals[0] === 'list' ? args.positionals.slice(1) : args.positionals
  const wanted = words[0]?.toLowerCase()
  const { rules } = snapshot.rules
  const shown = rules.filter(rule => wanted === undefined || rule.id === wanted || rule.pack === wanted)
  if (wanted !== undefined && shown.length === 0) {
    const suggestion = suggest(wanted, [
      ...VERBS,
      ...rules.map(rule => rule.id),
      ...rules.map(rule => rule.pack),
    ])
    throw usageError(
      `no rule or rule pack ${wanted} is in use`,
      suggestion === undefined ? 'See: portcullis rules' : `Did you mean ${suggestion}?`,
    )
  }
  if (args.flag('json')) terminal.json(shown.map(ruleJson))
  else show(shown, terminal)
  return 0
}

function ruleJson({ id, title, severity, mode, pack, tags, refs, exceptions, at }: RuleInfo): unknown {
  return {
    id,
    title,
    severity,
    mode,
    pack,
    tags,
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
