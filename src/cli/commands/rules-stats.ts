// portcullis rules stats: how often each rule of the running gate was asked and fired, and what it cost.
import type { RuleCounter } from '../../ips/rule-set.ts'
import { usageError, type CommandArguments, type CommandContext } from '../command.ts'
import { requireGate, requirePolicy } from '../gate-access.ts'

const SHOWN = 30

/** Runs it. Numbers count from the last load of the policy. */
export async function ruleStats(args: CommandArguments, context: CommandContext): Promise<number> {
  if (args.positionals.length > 1)
    throw usageError('rules stats takes no rule', 'All are listed, dearest first.')
  const { snapshot } = requirePolicy(args, context)
  const { rules } = (await requireGate(snapshot, 'GET', '/v1/rules')) as {
    readonly rules: readonly RuleCounter[]
  }
  const { terminal } = context
  if (args.flag('json')) {
    terminal.json(rules)
    return 0
  }
  const all = rules.reduce((sum, rule) => sum + rule.work, 0)
  const dearest = rules.toSorted((a, b) => b.work - a.work || b.hits - a.hits || b.asked - a.asked)
  terminal.print(
    terminal.table([
      ['rule', 'asked', 'hits', 'characters looked at', 'share'].map(word => terminal.tone('dim', word)),
      ...dearest
        .slice(0, SHOWN)
        .map(({ id, asked, hits, work }) => [
          id,
          asked.toLocaleString('en'),
          hits > 0 ? terminal.tone('warn', hits.toLocaleString('en')) : '0',
          work.toLocaleString('en'),
          all === 0 ? '-' : `${((100 * work) / all).toFixed(1)} %`,
        ]),
    ]),
  )
  if (dearest.length > SHOWN) terminal.print(`and ${dearest.length - SHOWN} more: see --json`)
  terminal.print(
    '',
    'Since the policy was loaded. A rule that is seldom asked is ruled out by path, method or class first.',
  )
  return 0
}
