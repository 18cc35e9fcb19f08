// portcullis rewrite-invitation: a Remote Assistance invitation that works from outside, and the public port that it leads to.
import { closeSync, existsSync, fstatSync, openSync, readFileSync, writeFileSync } from 'node:fs'
import { isIPv6 } from 'node:net'
import { join, parse, resolve } from 'node:path'
import type { InvitationAnswer } from '../../admin/invitation-routes.ts'
import type { InvitationStatus } from '../../policy/running-state.ts'
import { suggest } from '../../config/spelling.ts'
import { parseAddress } from '../../net/address.ts'
import { cidrContains, parseCidr } from '../../net/cidr.ts'
import { PortcullisError } from '../../policy/error.ts'
import { sourcesText, targetText, type ForwardSources } from '../../policy/invitations.ts'
import type { Snapshot } from '../../policy/snapshot.ts'
import { usageError, type Command, type CommandArguments, type CommandContext } from '../command.ts'
import { formatSpan, formatTime, parseDuration } from '../format.ts'
import { askGate, commandOptions, requirePolicy } from '../gate-access.ts'
import { MAX_INVITATION_BYTES, readInvitation, type Invitation, type TicketAddress } from '../invitation.ts'
import { safeText } from '../shown-text.ts'

const USUAL_MS = 2 * 3_600_000

export const rewriteInvitationCommand: Command = {
  name: 'rewrite-invitation',
  usage:
    'rewrite-invitation <file> [--public <host[:port]>] [--for 2h] [--from <address or site>] [--no-forward] [--out <file>]',
  summary:
    'Make a Remote Assistance invitation work from outside: a public port for a while, and the file that names it',
  examples: [
    'portcullis rewrite-invitation Invitation.msrcincident --public help.example.com',
    'portcullis rewrite-invitation Invitation.msrcincident --for 30m --from 198.51.100.7 --from acme',
    'portcullis rewrite-invitation Invitation.msrcincident --public 198.51.100.7:51000 --no-forward',
  ],
  options: {
    public: {
      type: 'string',
      value: '<host[:port]>',
      help: 'where the gate is reached from outside (default: invitations.public of the policy)',
    },
    for: { type: 'string', value: '<time>', help: 'how long the port stays open: 30m, 2h (default: 2h)' },
    from: {
      type: 'string',
      multiple: true,
      value: '<address or site>',
      help: 'who may connect: an address, a range or a site; may be repeated (default: everybody whom class relay lets in)',
    },
    'no-forward': {
      type: 'boolean',
      help: 'rewrite the file only and open nothing: the firewall forwards the port',
    },
    out: {
      type: 'string',
      value: '<file>',
      help: 'file to write (default: beside the old one, with -public)',
    },
  },
  run: async (args, context) => {
    const [name, more] = args.positionals
    if (name === undefined || more !== undefined)
      throw usageError(
        'rewrite-invitation takes one file',
        'For example: portcullis rewrite-invitation Invitation.msrcincident --public help.example.com',
      )
    const file = resolve(context.cwd, name)
    const invitation = readInvitation(readFile(file))
    if (typeof invitation === 'string') throw failed(`${name} stays as it is: ${invitation}`)
    const out = outOf(file, args, context)
    return args.flag('no-forward')
      ? rewriteOnly(invitation, out, args, context)
      : await forwardAndRewrite(invitation, out, args, context)
  },
}

function rewriteOnly(
  invitation: Invitation,
  out: string,
  args: CommandArguments,
  { terminal }: CommandContext,
): number {
  if (args.text('for') !== undefined || args.texts('from').length > 0)
    throw usageError(
      '--for and --from need a forward, and --no-forward makes none',
      'Leave --no-forward away, or the others.',
    )
  const { shown, port } = publicOf(args.text('public'), null)
  if (port === null)
    throw usageError(
      `on which public port will the PC be reached at ${shown}?`,
      `Without a forward of the gate the port is the firewall's: --public ${shown}:51000`,
    )
  const [target] = invitation.targets
  const { bytes, after } = invitation.rewrite(`${shown}:${port}`)
  write(out, bytes)
  if (args.flag('json')) {
    terminal.json({ ...jsonOf(invitation, target, after, out), forward: null })
    return 0
  }
  terminal.print(
    terminal.table(beforeAndAfter(invitation, after)),
    `${terminal.tone('good', '✓')} Written to ${out}.`,
    terminal.wrap(
      `No forward was made. Let the firewall pass TCP and UDP port ${port} of ${shown} on to ${safeText(target.host)} port ${target.port}, and take that back when the help is over.`,
      '  ',
    ),
  )
  return 0
}

async function forwardAndRewrite(
  invitation: Invitation,
  out: string,
  args: CommandArguments,
  context: CommandContext,
): Promise<number> {
  const { snapshot } = requirePolicy(args, context)
  const { shown, port } = publicOf(args.text('public'), snapshot.invitations?.publicHost ?? null)
  const target = targetOf(invitation, snapshot)
  const answer = (await askGate(snapshot, 'POST', '/v1/invitations', {
    target: { host: target.host, port: target.port },
    port,
    forMs: spanOf(args.text('for'), snapshot),
    from: sourcesOf(args.texts('from'), snapshot),
    owner: context.user,
  })) as InvitationAnswer | undefined
  if (answer === undefined)
    throw new PortcullisError('no gate runs with this policy, so nothing could be opened', {
      code: 'not-running',
      side: 'configuration',
      remedy:
        'Start it with `portcullis run`, or name its policy with --policy. With --no-forward the firewall forwards the port.',
    })
  if (!answer.ok)
    throw new PortcullisError(answer.problem, {
      code: answer.code,
      side: 'configuration',
      remedy: answer.remedy,
    })
  const { forward } = answer
  const { bytes, after } = invitation.rewrite(`${shown}:${forward.port}`)
  try {
    write(out, bytes)
  } catch (cause) {
    // A port that no file names would stay open for nobody.
    await askGate(snapshot, 'DELETE', '/v1/invitations', { port: forward.port, owner: context.user })
    throw cause
  }
  const { terminal } = context
  if (args.flag('json')) terminal.json({ ...jsonOf(invitation, target, after, out), forward })
  else show(invitation, after, forward, out, args, context)
  return 0
}

function show(
  invitation: Invitation,
  after: readonly string[],
  forward: InvitationStatus,
  out: string,
  args: CommandArguments,
  { terminal }: CommandContext,
): void {
  const { port, openedMs, expiresMs } = forward
  terminal.print(
    terminal.table([
      ...beforeAndAfter(invitation, after),
      ['open', `public port ${port}, TCP and UDP, to ${targetText(forward.target)}`],
      ['until', `${formatTime(expiresMs)} (${lifeText(expiresMs - openedMs)})`],
      [
        'for',
        forward.from === null
          ? terminal.tone('warn', 'everybody whom class relay lets in; --from <address or site> narrows it')
          : sourcesText(forward.from),
      ],
    ]),
    `${terminal.tone('good', '✓')} Written to ${out}. Send it to whoever helps.`,
    '  The port closes by itself, also for those who are connected then.',
    `  Earlier: portcullis invitations end ${port}${commandOptions(args)}`,
  )
}

/** `2 hours`, `1 hour`, `90 minutes`. */
function lifeText(ms: number): string {
  return formatSpan(ms).replace(/^(?=\D)/, '1 ')
}

function beforeAndAfter({ before }: Invitation, after: readonly string[]): readonly (readonly string[])[] {
  return [
    ['before', safeText(before.map(entry => entry.text).join('  '))],
    ['after', safeText(after.join('  '))],
  ]
}

function jsonOf({ before }: Invitation, target: TicketAddress, after: readonly string[], file: string) {
  const { host, port } = target
  return { file, before: before.map(entry => entry.text), after, target: { host, port } }
}

/** A PC may have several networks; the gate reaches those of the policy. */
function targetOf({ targets }: Invitation, { invitations }: Snapshot): TicketAddress {
  const [first] = targets
  const reachable = targets.find(({ host }) => {
    const address = parseAddress(host)
    return address !== undefined && invitations?.targets.some(range => cidrContains(range, address))
  })
  return reachable ?? first
}

function spanOf(text: string | undefined, { invitations }: Snapshot): number {
  if (text === undefined) return Math.min(USUAL_MS, invitations?.longestMs ?? USUAL_MS)
  const spanMs = parseDuration(text)
  if (spanMs !== undefined && spanMs > 0) return spanMs
  throw usageError(`"${text}" is not a time`, 'Write for example --for 30m or --for 2h.')
}

function sourcesOf(texts: readonly string[], { sites }: Snapshot): ForwardSources | null {
  if (texts.length === 0) return null
  const found = { sites: [] as string[], ranges: [] as string[] }
  for (const text of texts) {
    const range = parseCidr(text)
    if (typeof range !== 'string') found.ranges.push(range.text)
    else if (sites.some(site => site.id === text)) found.sites.push(text)
    else {
      const meant = suggest(
        text,
        sites.map(site => site.id),
      )
      throw usageError(
        `"${text}" is neither an address nor a recorded site`,
        meant === undefined
          ? 'Write an address, a range, or a site: `portcullis sites` lists them.'
          : `Did you mean --from ${meant}?`,
      )
    }
  }
  return found
}

function readFile(file: string): Buffer {
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

function outOf(file: string, args: CommandArguments, { cwd }: CommandContext): string {
  const { dir, name, ext } = parse(file)
  const given = args.text('out')
  const out = given === undefined ? join(dir, `${name}-public${ext}`) : resolve(cwd, given)
  if (existsSync(out)) throw failed(`${out} cannot be written: it exists already`)
  return out
}

function write(out: string, bytes: Buffer): void {
  try {
    // It lets somebody onto a PC: for its owner only, and never over another file.
    writeFileSync(out, bytes, { flag: 'wx', mode: 0o600 })
  } catch (cause) {
    throw failed(`${out} cannot be written: ${cause instanceof Error ? cause.message : String(cause)}`)
  }
}

type PublicAddress = { readonly shown: string; readonly port: number | null }

function publicOf(text: string | undefined, usual: string | null): PublicAddress {
  if (text === undefined && usual !== null)
    return { shown: usual.includes(':') ? `[${usual}]` : usual, port: null }
  const match = /^(\[[0-9a-fA-F:]+\]|[A-Za-z0-9](?:[A-Za-z0-9.-]{0,250}[A-Za-z0-9])?)(?::(\d{1,5}))?$/.exec(
    text ?? '',
  )
  const [, host = '', digits] = match ?? []
  const port = digits === undefined ? null : Number(digits)
  const isHost = !host.startsWith('[') || isIPv6(host.slice(1, -1))
  if (match !== null && isHost && (port === null || (port >= 1 && port <= 65_535)))
    return { shown: host, port }
  throw usageError(
    text === undefined
      ? 'where will the gate be reached from outside?'
      : `"${text}" is not a public host, with or without a port`,
    'Add --public <host[:port]>, for example --public help.example.com, or set invitations.public in the policy.',
  )
}

function failed(message: string): PortcullisError {
  return new PortcullisError(message, {
    code: 'invitation',
    side: 'configuration',
    remedy: 'Name the invitation file that Remote Assistance wrote, and a new file for the result.',
  })
}
