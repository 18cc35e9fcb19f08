// portcullis clients and sessions: who is attached, and which operator is connected to whom; here or at a gate elsewhere.
import type { GateStatus } from '../../admin/status.ts'
import type { Client, OperatorSession } from '../../policy/running-state.ts'
import { usageError, type Command, type CommandArguments, type CommandContext } from '../command.ts'
import { forgetIdentity, listIdentities } from '../client-identities.ts'
import { counted, formatAgo, formatBytes, formatTime } from '../format.ts'
import { requireGate, requirePolicy } from '../gate-access.ts'
import { askGates, isRemote, REMOTE_OPTIONS } from '../remote-gate.ts'
import { safeText } from '../shown-text.ts'

export const clientsCommand: Command = {
  name: 'clients',
  usage:
    'clients [--gate https://host --operator <name>] | clients identities | clients forget <client> [--key <key>]',
  summary: 'Clients that are attached now, and whose names they have',
  examples: [
    'portcullis clients',
    'portcullis clients --gate https://rmm.example.com --operator alice',
    'portcullis clients identities',
    'portcullis clients forget PC-17 --key acme',
  ],
  options: {
    key: { type: 'string', value: '<key>', help: 'with forget: name of the gateway key of the client' },
    ...REMOTE_OPTIONS,
  },
  run: async (args, context) => {
    const [action] = args.positionals
    if (action === 'identities' && args.positionals.length === 1) return listIdentities(args, context)
    if (action === 'forget') return forgetIdentity(args, context)
    refuseWords('clients', args)
    const { terminal } = context
    const { list, more } = await clientsOf(args, context)
    if (args.flag('json')) {
      terminal.json({ clients: list, more })
      return 0
    }
    if (list.length === 0) {
      terminal.print('No client is attached.')
      terminal.print(
        terminal.tone('dim', '  A connector attaches by itself as soon as it runs: docs/connector.md'),
      )
      return 0
    }
    const nowMs = context.nowMs()
    const rows = list.map(client => [
      safeText(client.name),
      ...('key' in client ? [safeText(client.key)] : []),
      safeText(client.services.map(service => service.name).join(', ')) || '-',
      safeText(client.publicAddress),
      safeText(client.realAddress),
      safeText(client.site ?? '-'),
      safeText(client.country),
      safeText(client.version),
      safeText(shortIdentity(client.identity)),
      formatAgo(client.sinceMs, nowMs),
    ])
    const key = list.some(client => 'key' in client) ? ['key'] : []
    const head = [
      'client',
      ...key,
      'services',
      'public',
      'real',
      'site',
      'country',
      'version',
      'identity',
      'since',
    ]
    terminal.print(terminal.table([head.map(text => terminal.tone('dim', text)), ...rows]))
    if (more > 0) terminal.print(terminal.tone('warn', `${counted(more, 'more client')} not listed.`))
    return 0
  },
}

export const sessionsCommand: Command = {
  name: 'sessions',
  usage: 'sessions [--gate https://host --operator <name>]',
  summary: 'Operators who are connected to clients now',
  examples: ['portcullis sessions', 'portcullis sessions --gate https://rmm.example.com --operator alice'],
  options: REMOTE_OPTIONS,
  run: async (args, context) => {
    refuseWords('sessions', args)
    const { terminal } = context
    const sessions = isRemote(args, context)
      ? readSessions(await askGates(args, context, 'sessions'))
      : (await ownStatus(args, context)).sessions
    if (args.flag('json')) {
      terminal.json({ sessions })
      return 0
    }
    if (sessions.length === 0) {
      terminal.print('No operator is connected to a client.')
      return 0
    }
    const head = ['operator', 'client', 'service', 'from', 'key', 'started', 'in', 'out']
    const rows = sessions.map(session => [
      safeText(session.operator),
      safeText(session.client),
      safeText(session.service),
      safeText(session.address),
      safeText(session.key),
      formatTime(session.startedMs),
      formatBytes(session.bytesIn),
      formatBytes(session.bytesOut),
    ])
    terminal.print(terminal.table([head.map(text => terminal.tone('dim', text)), ...rows]))
    return 0
  },
}

/** The first characters of an identity, enough to see that it is another one; gates before it say nothing. */
function shortIdentity(identity: string | null | undefined): string {
  return identity?.slice('ed25519/'.length, 'ed25519/'.length + 8) ?? '-'
}

type ListedClient = Omit<Client, 'id' | 'key' | 'identity'> & {
  readonly key?: string
  readonly identity?: string | null
}

async function clientsOf(
  args: CommandArguments,
  context: CommandContext,
): Promise<{ readonly list: readonly ListedClient[]; readonly more: number }> {
  if (!isRemote(args, context)) {
    return { list: (await ownStatus(args, context)).clients, more: 0 }
  }
  const answer = await askGates(args, context, 'clients')
  const { clients, more } = answer as { clients?: readonly ListedClient[]; more?: number }
  return { list: clients ?? [], more: more ?? 0 }
}

function readSessions(answer: unknown): readonly OperatorSession[] {
  return (answer as { sessions?: readonly OperatorSession[] }).sessions ?? []
}

async function ownStatus(args: CommandArguments, context: CommandContext): Promise<GateStatus> {
  const { snapshot } = requirePolicy(args, context)
  return (await requireGate(snapshot, 'GET', '/v1/status')) as GateStatus
}

function refuseWords(command: string, args: CommandArguments): void {
  if (args.positionals.length > 0)
    throw usageError(
      `${command} takes no name`,
      `For example: portcullis ${command} --gate https://rmm.example.com --operator alice`,
    )
}
