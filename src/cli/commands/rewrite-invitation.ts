// portcullis rewrite-invitation: a Remote Assistance invitation that works from outside of the network it was made in.
import { openSync, closeSync, fstatSync, readFileSync, writeFileSync } from 'node:fs'
import { isIPv6 } from 'node:net'
import { parse, resolve, join } from 'node:path'
import { PortcullisError } from '../../policy/error.ts'
import { usageError, type Command, type CommandArguments, type CommandContext } from '../command.ts'
import { MAX_INVITATION_BYTES, rewriteInvitation } from '../invitation.ts'
import { safeText } from '../shown-text.ts'

export const rewriteInvitationCommand: Command = {
  name: 'rewrite-invitation',
  usage: 'rewrite-invitation <file> --public <host:port> [--out <file>]',
  summary: 'Put a public address into a Remote Assistance invitation',
  examples: [
    'portcullis rewrite-invitation Invitation.msrcincident --public 198.51.100.7:51000',
    'portcullis rewrite-invitation Invitation.msrcincident --public help.example.com:51001 --out jo.msrcincident',
  ],
  options: {
    public: {
      type: 'string',
      value: '<host:port>',
      help: 'where the PC is reached from outside: a port of its own for each invitation',
    },
    out: {
      type: 'string',
      value: '<file>',
      help: 'file to write (default: beside the old one, with -public)',
    },
  },
  run: (args, context) => Promise.resolve(rewrite(args, context)),
}

function rewrite(args: CommandArguments, context: CommandContext): number {
  const [name, more] = args.positionals
  if (name === undefined || more !== undefined)
    throw usageError(
      'rewrite-invitation takes one file',
      'For example: portcullis rewrite-invitation Invitation.msrcincident --public 198.51.100.7:51000',
    )
  const address = publicOf(args.text('public'))
  const file = resolve(context.cwd, name)
  const result = rewriteInvitation(readInvitation(file), `${address.shown}:${address.port}`)
  if (typeof result === 'string') throw failed(`${name} stays as it is: ${result}`)
  const parts = parse(file)
  const given = args.text('out')
  const out =
    given === undefined ? join(parts.dir, `${parts.name}-public${parts.ext}`) : resolve(context.cwd, given)
  try {
    // It lets somebody onto a PC: for its owner only, and never over another file.
    writeFileSync(out, result.bytes, { flag: 'wx', mode: 0o600 })
  } catch (cause) {
    throw failed(`${out} cannot be written: ${cause instanceof Error ? cause.message : String(cause)}`)
  }
  const { terminal } = context
  const before = result.before.map(entry => entry.text)
  if (args.flag('json')) {
    terminal.json({ file: out, before, after: result.after, target: result.target, forward: null })
    return 0
  }
  const { host, port } = result.target
  terminal.print(
    terminal.table([
      ['before', safeText(before.join('  '))],
      ['after', safeText(result.after.join('  '))],
    ]),
    `${terminal.tone('good', '✓')} Written to ${out}.`,
    terminal.wrap(
      `No forward was made. Let the firewall pass TCP and UDP port ${address.port} of ${address.shown} on to ${safeText(host)} port ${port}, and take that back when the help is over.`,
      '  ',
    ),
  )
  return 0
}

function readInvitation(file: string): Buffer {
  let descriptor
  try {
    descriptor = openSync(file, 'r')
    const { size } = fstatSync(descriptor)
    return size > MAX_INVITATION_BYTES ? Buffer.alloc(MAX_INVITATION_BYTES + 1) : readFileSync(descriptor)
  } catch (cause) {
    throw failed(`${file} cannot be read: ${cause instanceof Error ? cause.message : String(cause)}`)
  } finally {
    if (descriptor !== undefined) closeSync(descriptor)
  }
}

function publicOf(text: string | undefined): { readonly shown: string; readonly port: number } {
  const match = /^(\[[0-9a-fA-F:]+\]|[A-Za-z0-9](?:[A-Za-z0-9.-]{0,250}[A-Za-z0-9])?):(\d{1,5})$/.exec(
    text ?? '',
  )
  const [, host = '', digits = ''] = match ?? []
  const port = Number(digits)
  const isHost = !host.startsWith('[') || isIPv6(host.slice(1, -1))
  if (match !== null && isHost && port >= 1 && port <= 65_535) return { shown: host, port }
  throw usageError(
    text === undefined
      ? 'where will the PC be reached from outside?'
      : `"${text}" is not a public address with a port`,
    'Add --public <host:port>, for example --public 198.51.100.7:51000.',
  )
}

function failed(message: string): PortcullisError {
  return new PortcullisError(message, {
    code: 'invitation',
    side: 'configuration',
    remedy: 'Name the invitation file that Remote Assistance wrote, and a new file for the result.',
  })
}
