// portcullis invitations: the public ports that lead to PCs for a while, and their end.
import type { InvitationStatus } from '../../policy/running-state.ts'
import { suggest } from '../../config/spelling.ts'
import { PortcullisError } from '../../policy/error.ts'
import { usageError, type Command, type CommandArguments, type CommandContext } from '../command.ts'
import { requireGate, requirePolicy } from '../gate-access.ts'
import { targetText } from '../../policy/invitations.ts'
import { invitationRows } from '../invitation-list.ts'

const ACTIONS = ['list', 'end'] as const

export const invitationsCommand: Command = {
  name: 'invitations',
  usage: 'invitations list | invitations end <port>',
  summary: 'Public ports that lead to PCs for a while, for Remote Assistance',
  examples: ['portcullis invitations list', 'portcullis invitations end 51000'],
  options: {},
  run: (args, context) => {
    const [action, port, ...rest] = args.positionals
    if (action === undefined || action === 'list') {
      if (port !== undefined)
        throw usageError('invitations list takes nothing more', 'For example: portcullis invitations list')
      return list(args, context)
    }
    if (action !== 'end') {
      const meant = suggest(action, ACTIONS)
      throw usageError(
        `invitations cannot "${action}"`,
        meant === undefined
          ? 'It can list and end. `portcullis rewrite-invitation <file>` makes one.'
          : `Did you mean: portcullis invitations ${meant}?`,
      )
    }
    if (port === undefined || rest.length > 0 || !/^\d{1,5}$/.test(port))
      throw usageError(
        'invitations end takes one public port',
        'See the ports with: portcullis invitations list',
      )
    return end(Number(port), args, context)
  },
}

async function list(args: CommandArguments, context: CommandContext): Promise<number> {
  const { snapshot } = requirePolicy(args, context)
  const { invitations } = (await requireGate(snapshot, 'GET', '/v1/invitations')) as {
    readonly invitations: readonly InvitationStatus[]
  }
  const { terminal } = context
  if (args.flag('json')) terminal.json({ invitations })
  else if (invitations.length > 0)
    terminal.print(terminal.table(invitationRows(invitations, context.nowMs(), terminal)))
  else if (snapshot.invitations === null)
    terminal.print(
      'The policy has no section invitations: no port is ever forwarded to a PC.',
      terminal.tone('dim', '  docs/gateway.md says how to allow it.'),
    )
  else
    terminal.print(
      'No port leads to a PC now.',
      terminal.tone('dim', '  Open one with: portcullis rewrite-invitation <file>'),
    )
  return 0
}

async function end(port: number, args: CommandArguments, context: CommandContext): Promise<number> {
  const { snapshot } = requirePolicy(args, context)
  const body = { port, owner: context.user }
  const { ended } = (await requireGate(snapshot, 'DELETE', '/v1/invitations', body)) as {
    readonly ended: InvitationStatus | null
  }
  if (ended === null)
    throw new PortcullisError(`no forward is open on port ${port}`, {
      code: 'no-invitation',
      side: 'configuration',
      remedy: 'It may have ended by itself. See what is open: portcullis invitations list',
    })
  const { terminal } = context
  if (args.flag('json')) terminal.json({ ended })
  else {
    const cut = ended.connections + ended.flows
    terminal.print(
      `${terminal.tone('good', '✓')} Public port ${port} does not lead to ${targetText(ended.target)} any more.${cut > 0 ? ` ${ended.connections} TCP and ${ended.flows} UDP connections were cut.` : ''}`,
    )
  }
  return 0
}
