// portcullis operators: people who may log in at the dashboard and reach clients.
import { ROLES, type Role } from '../../access/access.ts'
import { readAccessFile } from '../../access/access-file.ts'
import { addOperator, generateSecret, removeOperator, setPassword } from '../../access/edit.ts'
import { accessFile, sayWhen, tellGate } from '../access-file.ts'
import { usageError, type Command, type CommandArguments, type CommandContext } from '../command.ts'
import { formatDay } from '../format.ts'
import { requirePolicy } from '../gate-access.ts'
import { SecretReader } from '../secrets.ts'
import { suggest } from '../../config/spelling.ts'

const ACTIONS = ['add', 'list', 'remove', 'password'] as const

export const operatorsCommand: Command = {
  name: 'operators',
  usage:
    'operators add <name> --role <role> [--site <site>] [--key <key>] | operators list | operators password <name> | operators remove <name>',
  summary: 'People who may log in at the dashboard and reach clients',
  examples: [
    'portcullis operators add alice --role support --key acme',
    'portcullis operators add jo --role viewer --site acme-berlin --generate',
    'portcullis operators password alice',
    'portcullis operators remove alice',
  ],
  options: {
    role: { type: 'string', value: '<role>', help: `with add: ${ROLES.join(', ')}` },
    site: {
      type: 'string',
      multiple: true,
      value: '<site>',
      help: 'with add: sees only this site; may be repeated (default: all)',
    },
    key: {
      type: 'string',
      multiple: true,
      value: '<name>',
      help: 'with add: reaches only clients of this gateway key; may be repeated (default: all)',
    },
    generate: { type: 'boolean', help: 'make a password and show it once' },
  },
  run: (args, context) => {
    const [action, name, ...rest] = args.positionals
    if (action === undefined || action === 'list') {
      if (name !== undefined)
        throw usageError('operators list takes nothing more', 'For example: portcullis operators list')
      return list(args, context)
    }
    const known = ACTIONS.find(entry => entry === action)
    if (known === undefined) {
      const meant = suggest(action, ACTIONS)
      throw usageError(
        `operators cannot "${action}"`,
        meant === undefined
          ? `It can ${ACTIONS.join(', ')}.`
          : `Did you mean: portcullis operators ${meant}?`,
      )
    }
    if (name === undefined || rest.length > 0)
      throw usageError(
        `operators ${action} takes one name`,
        rest.length > 0
          ? 'Passwords are asked for: on the command line every user of this machine could read them.'
          : `For example: portcullis operators ${action} alice${action === 'add' ? ' --role support' : ''}`,
      )
    if (known === 'add') return add(name, args, context)
    return known === 'password' ? changePassword(name, args, context) : remove(name, args, context)
  },
}

async function add(name: string, args: CommandArguments, context: CommandContext): Promise<number> {
  const role = roleOf(args.text('role'))
  const { snapshot } = requirePolicy(args, context)
  const sites = scopeOf(args.texts('site'))
  const keys = scopeOf(args.texts('key'))
  const ids = snapshot.sites.map(site => site.id)
  const unknown = sites?.find(site => !ids.includes(site))
  if (unknown !== undefined) {
    const meant = suggest(unknown, ids)
    throw usageError(
      `the policy has no site "${unknown}"`,
      meant === undefined ? 'See: portcullis sites' : `Did you mean ${meant}?`,
    )
  }
  const file = accessFile(snapshot)
  const password = await newPassword(name, args, context)
  await addOperator(file, password.text, { name, role, sites, keys }, context.nowMs())
  const running = await tellGate(snapshot)
  const { terminal } = context
  if (args.flag('json')) {
    const shown = password.generated ? { password: password.text } : {}
    terminal.json({ name, role, sites, keys, ...shown, gateRunning: running })
    return 0
  }
  terminal.print(`${terminal.tone('good', '✓')} Operator ${name} added, ${role}.`)
  showOnce(password, context)
  sayWhen(running, context)
  return 0
}

async function changePassword(
  name: string,
  args: CommandArguments,
  context: CommandContext,
): Promise<number> {
  const { snapshot } = requirePolicy(args, context)
  const password = await newPassword(name, args, context)
  await setPassword(accessFile(snapshot), name, password.text, context.nowMs())
  const running = await tellGate(snapshot)
  const { terminal } = context
  if (args.flag('json')) {
    const shown = password.generated ? { password: password.text } : {}
    terminal.json({ name, ...shown, gateRunning: running })
    return 0
  }
  terminal.print(
    `${terminal.tone('good', '✓')} The password of ${name} is changed; logins of before have ended.`,
  )
  showOnce(password, context)
  sayWhen(running, context)
  return 0
}

async function remove(name: string, args: CommandArguments, context: CommandContext): Promise<number> {
  const { snapshot } = requirePolicy(args, context)
  removeOperator(accessFile(snapshot), name, context.nowMs())
  const running = await tellGate(snapshot)
  const { terminal } = context
  if (args.flag('json')) {
    terminal.json({ name, removed: true, gateRunning: running })
    return 0
  }
  terminal.print(
    `${terminal.tone('good', '✓')} Operator ${name} removed; logins and sessions of ${name} end.`,
  )
  sayWhen(running, context)
  return 0
}

function list(args: CommandArguments, context: CommandContext): Promise<number> {
  const { snapshot } = requirePolicy(args, context)
  const operators = (readAccessFile(accessFile(snapshot))?.operators ?? []).map(
    ({ name, role, sites, keys, createdMs }) => ({ name, role, sites, keys, createdMs }),
  )
  const { terminal } = context
  if (args.flag('json')) terminal.json({ operators })
  else if (operators.length === 0) {
    terminal.print('There is no operator: nobody can log in.')
    terminal.print(terminal.tone('dim', '  Add one with: portcullis operators add <name> --role admin'))
  } else {
    const head = ['operator', 'role', 'added', 'sites', 'keys'].map(text => terminal.tone('dim', text))
    const rows = operators.map(operator => [
      operator.name,
      operator.role,
      formatDay(operator.createdMs),
      operator.sites?.join(', ') ?? 'all',
      operator.keys?.join(', ') ?? 'all',
    ])
    terminal.print(terminal.table([head, ...rows]))
  }
  return Promise.resolve(0)
}

type NewPassword = { readonly text: string; readonly generated: boolean }

async function newPassword(
  name: string,
  args: CommandArguments,
  context: CommandContext,
): Promise<NewPassword> {
  if (args.flag('generate')) return { text: generateSecret(), generated: true }
  const text = await new SecretReader(context).read({ what: `New password of ${name}`, twice: true })
  return { text, generated: false }
}

function showOnce(password: NewPassword, { terminal }: CommandContext): void {
  if (!password.generated) return
  terminal.print('', `  ${terminal.tone('strong', password.text)}`, '')
  terminal.print('  This is the only time it is shown.')
}

function roleOf(text: string | undefined): Role {
  const role = ROLES.find(entry => entry === text)
  if (role !== undefined) return role
  const meant = text === undefined ? undefined : suggest(text, ROLES)
  throw usageError(
    text === undefined ? 'a new operator needs a role' : `there is no role "${text}"`,
    meant === undefined
      ? `Add --role viewer (looks), support (helps: diagnoses, reaches clients) or admin (changes).`
      : `Did you mean --role ${meant}?`,
  )
}

function scopeOf(names: readonly string[]): readonly string[] | null {
  return names.length === 0 ? null : names
}
