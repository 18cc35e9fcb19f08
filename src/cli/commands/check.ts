// portcullis check: validates the policy, shows warnings, and on request what it means in effect.
import { effectiveJson, effectiveText } from '../../config/effective.ts'
import { loadPolicy } from '../../config/load.ts'
import { formatSize } from '../../config/scalars.ts'
import { renderProblem, type Problem } from '../../config/problems.ts'
import type { Snapshot, WhenUnread } from '../../policy/snapshot.ts'
import type { Command } from '../command.ts'
import { counted } from '../format.ts'
import { policyDirectory, shownDirectory } from '../gate-access.ts'
import { keyWarnings } from '../key-warnings.ts'
import type { Terminal } from '../terminal.ts'

export const checkCommand: Command = {
  name: 'check',
  usage: 'check [--effective] [--policy <dir>]',
  summary: 'Validate the policy; show what it means',
  examples: ['portcullis check', 'portcullis check --effective', 'portcullis check --policy ./candidate'],
  options: {
    effective: { type: 'boolean', help: 'print the policy in effect, defaults and profile included' },
  },
  run: (args, context) => {
    const { terminal } = context
    const directory = policyDirectory(args, context)
    const result = loadPolicy({
      directory,
      label: shownDirectory(directory, context.cwd),
      nowMs: context.nowMs(),
    })
    const warnings = result.ok ? [...result.warnings, ...keyWarnings(result.snapshot)] : []
    if (args.flag('json')) {
      terminal.json(
        result.ok
          ? {
              ok: true,
              id: result.snapshot.id,
              warnings,
              ...(args.flag('effective') ? { effective: effectiveJson(result.snapshot) } : {}),
            }
          : { ok: false, problems: result.problems },
      )
      return Promise.resolve(result.ok ? 0 : 1)
    }
    if (!result.ok) {
      for (const problem of result.problems) terminal.print(paint(problem, 'bad', terminal), '')
      terminal.print(terminal.tone('bad', `✗ ${counted(result.problems.length, 'problem')} in ${directory}`))
      return Promise.resolve(1)
    }
    for (const warning of warnings) terminal.print(paint(warning, 'warn', terminal), '')
    if (args.flag('effective')) terminal.print(effectiveText(result.snapshot), '')
    const { snapshot } = result
    const parts = [
      `model ${snapshot.model.value}`,
      `home ${[...snapshot.home.value].join(', ')}`,
      counted(snapshot.names.length, 'name'),
      counted(snapshot.sites.length, 'site'),
      counted(snapshot.rules.size, 'rule'),
    ]
    terminal.print(unreadText(snapshot))
    terminal.print(
      `${terminal.tone('good', '✓')} ${directory} is valid: ${parts.join(', ')}.` +
        (warnings.length === 0 ? '' : ` ${counted(warnings.length, 'warning')}.`),
    )
    return Promise.resolve(0)
  },
}

/** What rules see of bodies and messages, and what becomes of the rest: nobody should have to find that out by a refusal. */
function unreadText({ classes, limits }: Snapshot): string {
  const those = (answer: WhenUnread): string =>
    [...classes].flatMap(([id, policy]) => (policy.limits.whenUnread === answer ? [id] : [])).join(', ')
  const parts = [
    those('refuse') === '' ? [] : [`refused for ${those('refuse')}`],
    those('record') === '' ? [] : [`passed on and recorded for ${those('record')}`],
  ].flat()
  return `Rules see ${formatSize(limits.inspectBytes)} of a body and ${formatSize(limits.messageBytes)} of a WebSocket message; what is longer or unreadable is ${parts.join(', ')} (limits.whenUnread).`
}

function paint(problem: Problem, tone: 'bad' | 'warn', terminal: Terminal): string {
  const [first = '', ...rest] = renderProblem(problem).split('\n')
  return [terminal.tone(tone, first), ...rest].join('\n')
}
