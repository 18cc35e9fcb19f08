// portcullis reload: asks the running gate to load its policy anew, and says what came of it.
import type { ReloadResult } from '../../admin/reload-result.ts'
import type { Command } from '../command.ts'
import { requireGate, requirePolicy } from '../gate-access.ts'

export const reloadCommand: Command = {
  name: 'reload',
  usage: 'reload [--close-refused]',
  summary: 'Make the running gate load its policy anew',
  examples: ['portcullis reload', 'portcullis reload --close-refused'],
  options: {
    'close-refused': {
      type: 'boolean',
      help: 'also close open connections that the new policy refuses (otherwise none is touched)',
    },
  },
  run: async (args, context) => {
    const { snapshot } = requirePolicy(args, context)
    const body = { closeRefused: args.flag('close-refused') }
    const result = (await requireGate(snapshot, 'POST', '/v1/reload', body)) as ReloadResult
    const { terminal } = context
    if (args.flag('json')) terminal.json(result)
    else if (!result.ok) {
      terminal.complain(
        ...result.problems,
        '',
        terminal.tone('bad', '✗ Not taken. The gate keeps the policy it has.'),
      )
    } else {
      for (const change of result.changes) terminal.print(`  ${change}`)
      for (const warning of result.warnings) terminal.print(terminal.tone('warn', `  warning: ${warning}`))
      const closed = result.closed > 0 ? `, ${result.closed} refused connections closed` : ''
      terminal.print(
        `${terminal.tone('good', '✓')} ${result.changes.length === 0 ? 'Nothing has changed' : 'Taken'}${closed}.`,
      )
    }
    return result.ok ? 0 : 1
  },
}
