// `portcullis clients identities` and `clients forget`: whose names clients have, and letting a reinstalled one in again.
import { join } from 'node:path'
import type { IdentityState } from '../admin/identity-routes.ts'
import { suggestion } from '../config/spelling.ts'
import { PortcullisError } from '../policy/error.ts'
import type { Snapshot } from '../policy/snapshot.ts'
import { IDENTITY_FILE, openPinFile } from '../tunnel/identity-file.ts'
import { createIdentityPins } from '../tunnel/identity-pins.ts'
import { usageError, type CommandArguments, type CommandContext } from './command.ts'
import { formatDay } from './format.ts'
import { askGate, requirePolicy } from './gate-access.ts'
import { safeText } from './shown-text.ts'

/** Lists what is remembered. */
export async function listIdentities(args: CommandArguments, context: CommandContext): Promise<number> {
  const { snapshot } = requirePolicy(args, context)
  const { terminal } = context
  const list = await identitiesOf(snapshot)
  if (args.flag('json')) terminal.json({ identities: list })
  else if (list.length === 0) {
    terminal.print('No client has shown an identity yet.')
    terminal.print(
      terminal.tone('dim', '  Connectors make one by themselves when they start: docs/connector.md'),
    )
  } else {
    const head = ['client', 'key', 'identity', 'binding', 'since'].map(text => terminal.tone('dim', text))
    const rows = list.map(({ name, key, identity, confirmed, sinceMs }) => [
      safeText(name),
      safeText(key),
      identity,
      confirmed ? 'yes' : 'from its next start',
      formatDay(sinceMs),
    ])
    terminal.print(terminal.table([head, ...rows]))
  }
  return 0
}

/** Forgets one client, so that the next identity that comes under its name is let in. */
export async function forgetIdentity(args: CommandArguments, context: CommandContext): Promise<number> {
  const [, name, ...rest] = args.positionals
  const key = args.text('key') ?? null
  if (name === undefined || rest.length > 0)
    throw usageError(
      'clients forget takes one client',
      'For example: portcullis clients forget PC-17 --key acme',
    )
  const { snapshot } = requirePolicy(args, context)
  const list = await identitiesOf(snapshot)
  const found = list.filter(
    entry => entry.name.toLowerCase() === name.toLowerCase() && (key === null || entry.key === key),
  )
  if (found.length === 0)
    throw new PortcullisError(
      `no identity of a client ${name} ${key === null ? '' : `of key ${key} `}is remembered`,
      {
        code: 'client-unknown',
        side: 'configuration',
        remedy: suggestion(name, [...new Set(list.map(entry => entry.name))]) ?? LIST,
      },
    )
  if (found.length > 1)
    throw usageError(
      `${found.length} clients have the name ${name}, of the keys ${found.map(entry => entry.key).join(', ')}`,
      `Say which one: portcullis clients forget ${name} --key ${found[0]?.key ?? ''}`,
    )
  const only = found[0]?.key ?? ''
  const running = (await askGate(snapshot, 'DELETE', '/v1/identities', { name, key: only })) !== undefined
  if (!running) await forgetInFile(snapshot, name, only)
  const { terminal } = context
  if (args.flag('json')) {
    terminal.json({ forgotten: found, gateRunning: running })
    return 0
  }
  terminal.print(
    `${terminal.tone('good', '✓')} Client ${safeText(found[0]?.name ?? name)} of key ${only} is forgotten: the next one that comes under this name gets it.`,
  )
  const when = running
    ? 'One that waits is let in within 30 s; nobody who is attached was disturbed.'
    : 'No gate runs with this policy; it holds from the next start.'
  terminal.print(terminal.tone('dim', `  ${when}`))
  return 0
}

const LIST = 'See them with: portcullis clients identities'

async function identitiesOf(snapshot: Snapshot): Promise<readonly IdentityState[]> {
  const answer = await askGate(snapshot, 'GET', '/v1/identities')
  if (answer !== undefined) return (answer as { identities: readonly IdentityState[] }).identities
  return openPins(snapshot).pins.list()
}

async function forgetInFile(snapshot: Snapshot, name: string, key: string): Promise<void> {
  const { pins, file } = openPins(snapshot)
  pins.forget(name, key)
  await file.settled()
}

function openPins(snapshot: Snapshot): {
  readonly pins: ReturnType<typeof createIdentityPins>
  readonly file: ReturnType<typeof openPinFile>
} {
  const path = join(snapshot.directories.state, IDENTITY_FILE)
  const file = openPinFile(path, problem => {
    throw new PortcullisError(`${path} ${problem}`, {
      code: 'identity-file',
      side: 'configuration',
      remedy: 'Run the command as the user of the gate, or bring a copy of the file back.',
    })
  })
  return { pins: createIdentityPins(file), file }
}
