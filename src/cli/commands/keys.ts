// portcullis keys: gateway keys, with which clients attach and operators reach them.
import { readAccessFile } from '../../access/access-file.ts'
import { addKey, generateSecret, removeKey } from '../../access/edit.ts'
import { accessFile, sayWhen, tellGate } from '../access-file.ts'
import { usageError, type Command, type CommandArguments, type CommandContext } from '../command.ts'
import { formatDay } from '../format.ts'
import { requirePolicy } from '../gate-access.ts'
import { SecretReader } from '../secrets.ts'
import { suggest } from '../../config/spelling.ts'

const ACTIONS = ['add', 'list', 'remove'] as const

export const keysCommand: Command = {
  name: 'keys',
  usage: 'keys add <name> [--generate] [--max-clients <n>] | keys list | keys remove <name>',
  summary: 'Gateway keys, with which clients attach and operators reach them',
  examples: [
    'portcullis keys add acme --generate',
    'portcullis keys add acme --max-clients 250 < key.txt',
    'portcullis keys list',
    'portcullis keys remove acme',
  ],
  options: {
    generate: { type: 'boolean', help: 'with add: make a key and show it once' },
    'max-clients': { type: 'string', value: '<n>', help: 'with add: clients that may be attached at once' },
  },
  run: (args, context) => {
    const [action, name, ...rest] = args.positionals
    if (action === undefined || action === 'list') {
      if (name !== undefined)
        throw usageError('keys list takes nothing more', 'For example: portcullis keys list')
      return list(args, context)
    }
    const known = ACTIONS.find(entry => entry === action)
    if (known === undefined) {
      const meant = suggest(action, ACTIONS)
      throw usageError(
        `keys cannot "${action}"`,
        meant === undefined ? 'It can add, list and remove.' : `Did you mean: portcullis keys ${meant}?`,
      )
    }
    if (name === undefined || rest.length > 0)
      throw usageError(
        rest.length > 0 && action === 'add'
          ? 'keys add takes a name only; a key on the command line could be read by every user of this machine'
          : `keys ${action} takes one name`,
        action === 'add'
          ? 'For example: portcullis keys add acme --generate'
          : 'See the names with: portcullis keys list',
      )
    return action === 'add' ? add(name, args, context) : remove(name, args, context)
  },
}

async function add(name: string, args: CommandArguments, context: CommandContext): Promise<number> {
  const maxClients = maxClientsOf(args.text('max-clients'))
  const { snapshot } = requirePolicy(args, context)
  const generated = args.flag('generate') ? generateSecret() : null
  const key =
    generated ?? (await new SecretReader(context).read({ what: `Gateway key ${name}`, twice: true }))
  await addKey(accessFile(snapshot), key, { name, maxClients }, context.nowMs())
  const running = await tellGate(snapshot)
  const { terminal } = context
  if (args.flag('json')) {
    terminal.json({
      name,
      maxClients,
      ...(generated === null ? {} : { key: generated }),
      gateRunning: running,
    })
    return 0
  }
  terminal.print(`${terminal.tone('good', '✓')} Gateway key ${name} added.`)
  if (generated !== null) {
    terminal.print('', `  ${terminal.tone('strong', generated)}`, '')
    terminal.print(
      terminal.wrap('This is the only time it is shown: write it into the file of the connector now.', '  '),
    )
  }
  sayWhen(running, context)
  return 0
}

function maxClientsOf(text: string | undefined): number | null {
  if (text === undefined) return null
  const value = Number(text)
  if (/^\d{1,7}$/.test(text) && value >= 1 && value <= 1_000_000) return value
  throw usageError(
    `"${text}" is not a number of clients`,
    'Write a number from 1 to 1000000, for example --max-clients 250.',
  )
}

async function remove(name: string, args: CommandArguments, context: CommandContext): Promise<number> {
  const { snapshot } = requirePolicy(args, context)
  removeKey(accessFile(snapshot), name, context.nowMs())
  const running = await tellGate(snapshot)
  const { terminal } = context
  if (args.flag('json')) {
    terminal.json({ name, removed: true, gateRunning: running })
    return 0
  }
  terminal.print(`${terminal.tone('good', '✓')} Gateway key ${name} removed.`)
  terminal.print(terminal.tone('dim', '  Clients and sessions that used it end; all others stay.'))
  sayWhen(running, context)
  return 0
}

function list(args: CommandArguments, context: CommandContext): Promise<number> {
  const { snapshot } = requirePolicy(args, context)
  const keys = (readAccessFile(accessFile(snapshot))?.keys ?? []).map(({ name, maxClients, createdMs }) => ({
    name,
    maxClients,
    createdMs,
  }))
  const { terminal } = context
  if (args.flag('json')) terminal.json({ keys })
  else if (keys.length === 0) {
    terminal.print('There is no gateway key: nothing may attach and no operator can log in at the gateway.')
    terminal.print(terminal.tone('dim', '  Add one with: portcullis keys add <name> --generate'))
  } else {
    const head = ['key', 'max. clients', 'added'].map(text => terminal.tone('dim', text))
    const rows = keys.map(key => [
      key.name,
      key.maxClients === null ? 'no limit' : String(key.maxClients),
      formatDay(key.createdMs),
    ])
    terminal.print(terminal.table([head, ...rows]))
  }
  return Promise.resolve(0)
}
