// portcullis allow, deny, ban, unban: temporary standing of addresses, each with reason, owner and end.
import { parseCidr } from '../../net/cidr.ts'
import {
  type NewOverlayEntry,
  type OverlayEntry,
  type OverlayKind as AnyKind,
} from '../../journal/store-overlay.ts'
import { storeFile } from '../../journal/store-file.ts'
import { openStoreCore } from '../../journal/store-core.ts'
import { PortcullisError } from '../../policy/error.ts'
import { CLASSES, type TrafficClass } from '../../policy/classes.ts'
import { allowFrom, FROM_OPTIONS } from '../allow-from.ts'
import { sitesWithin } from '../../policy/sites-within.ts'
import type { Snapshot } from '../../policy/snapshot.ts'
import { usageError, type Command, type CommandArguments, type CommandContext } from '../command.ts'
import { formatTime, parseDuration, shortRange } from '../format.ts'
import { askGate, requirePolicy } from '../gate-access.ts'
import { suggest } from '../../config/spelling.ts'

type OverlayKind = Exclude<AnyKind, 'opening'>

const DEFAULT_FOR = { ban: '1d', allow: '7d' } as const
const OPTIONS = {
  reason: { type: 'string', short: 'r', value: '<text>', help: 'why; shown in explanations (required)' },
  for: {
    type: 'string',
    value: '<time>',
    help: 'how long: 30m, 4h, 7d (default: 1d for a ban, 7d for an allow)',
  },
  owner: { type: 'string', value: '<name>', help: 'who answers for it (default: you)' },
} as const
const ALLOW_OPTIONS = {
  ...OPTIONS,
  ...FROM_OPTIONS,
  class: {
    type: 'string',
    multiple: true,
    value: '<class>',
    help: 'only this class, and open it even where the policy closes it, keeps it for trusted addresses or asks a key; may be repeated. Without it: bans and countries are lifted, closed classes stay closed',
  },
} as const
const BAN_OPTIONS = {
  ...OPTIONS,
  class: { type: 'string', multiple: true, value: '<class>', help: 'only for this class; may be repeated' },
  yes: { type: 'boolean', short: 'y', help: 'ban even where customer sites are behind the address' },
} as const

export const banCommand: Command = {
  name: 'ban',
  usage: 'ban <address or range> --reason <text> [--for 1d] [--class console]',
  summary: 'Refuse an address for a time',
  examples: ['portcullis ban 198.51.100.7 --reason "password guessing" --for 4h'],
  options: BAN_OPTIONS,
  run: (args, context) => add('ban', args, context),
}

export const allowCommand: Command = {
  name: 'allow',
  usage: 'allow <address or range> | --from <reference> --reason <text> [--for 7d] [--class agent]',
  summary: 'Admit an address for a time, or write the narrowest exception for one refusal into the policy',
  examples: [
    'portcullis allow 198.51.100.7 --reason "jo travels" --for 7d --class console',
    'portcullis allow --from P7F3-K9QX-M2A --reason "invoice upload, ticket 4711" --for 30d --dry-run',
  ],
  options: ALLOW_OPTIONS,
  run: (args, context) =>
    args.text('from') === undefined ? add('allow', args, context) : allowFrom(classesOf(args), args, context),
}

export const unbanCommand: Command = {
  name: 'unban',
  usage: 'unban <address or range>',
  summary: 'End a ban',
  examples: ['portcullis unban 198.51.100.7'],
  options: {},
  run: (args, context) => remove('ban', args, context),
}

export const denyCommand: Command = {
  name: 'deny',
  usage: 'deny <address or range>',
  summary: 'End an allow',
  examples: ['portcullis deny 198.51.100.7'],
  options: {},
  run: (args, context) => remove('allow', args, context),
}

function rangeOf(args: CommandArguments, name: string): string {
  const text = args.positionals[0]
  if (text === undefined || args.positionals.length > 1) {
    throw usageError(`${name} takes one address or range`, `For example: portcullis ${name} 198.51.100.7`)
  }
  const range = parseCidr(text)
  switch (range) {
    case 'not-an-address':
      throw usageError(
        `"${text}" is not an address`,
        'Write an IPv4 or IPv6 address, or a range like 203.0.113.0/24.',
      )
    case 'bad-prefix':
      throw usageError(
        `"${text}" has a prefix length that does not exist`,
        'IPv4 has 0 to 32, IPv6 0 to 128.',
      )
    case 'host-bits':
      throw usageError(
        `"${text}" is an address inside a range`,
        'Write the first address of the range, or drop the /prefix.',
      )
    default:
      return range.text
  }
}

function classesOf(args: CommandArguments): readonly TrafficClass[] | null {
  const given = args.texts('class')
  if (given.length === 0) return null
  return given.map(word => {
    const known = CLASSES.find(entry => entry === word)
    if (known !== undefined) return known
    const suggestion = suggest(word, CLASSES)
    throw usageError(
      `there is no class "${word}"`,
      suggestion === undefined ? `Classes are ${CLASSES.join(', ')}.` : `Did you mean ${suggestion}?`,
    )
  })
}

async function add(kind: OverlayKind, args: CommandArguments, context: CommandContext): Promise<number> {
  const range = rangeOf(args, kind)
  const reason = args.text('reason')?.trim() ?? ''
  if (reason === '') {
    throw usageError(
      `${kind} needs a reason`,
      `Add --reason "...": whoever meets this ${kind} later must know why.`,
    )
  }
  const durationText = args.text('for') ?? DEFAULT_FOR[kind]
  const durationMs = parseDuration(durationText)
  if (durationMs === undefined || durationMs === 0)
    throw usageError(`"${durationText}" is not a time`, 'Write 30m, 4h, 7d or 2w.')
  const createdMs = context.nowMs()
  const entry: NewOverlayEntry = {
    kind,
    range,
    classes: classesOf(args),
    reason,
    owner: args.text('owner') ?? context.user,
    createdMs,
    expiresMs: createdMs + durationMs,
  }
  const { snapshot } = requirePolicy(args, context)
  if (kind === 'ban' && entry.classes === null && !args.flag('yes')) refuseToLoseSites(range, snapshot)
  const added = await changeOverlay(snapshot, 'POST', entry, file => {
    const store = openStoreCore(file)
    try {
      return [store.overlay.add(entry)]
    } finally {
      store.close()
    }
  })
  const { terminal } = context
  if (args.flag('json')) {
    terminal.json({ entries: added.entries, gateRunning: added.running })
    return 0
  }
  const scope = entry.classes === null ? '' : ` for ${entry.classes.join(', ')}`
  const word = kind === 'ban' ? 'Banned' : 'Allowed'
  terminal.print(
    `${terminal.tone('good', '✓')} ${word} ${shortRange(range)}${scope} until ${formatTime(createdMs + durationMs)}.`,
  )
  terminal.print(terminal.wrap(terminal.tone('dim', meaning(kind, entry.classes, range)), '  '))
  if (!added.running) sayNotRunning(context)
  return 0
}

/** What the entry does and does not do: an allow for everything opens less than one that names a class. */
function meaning(kind: OverlayKind, classes: readonly TrafficClass[] | null, range: string): string {
  if (kind === 'ban') {
    return classes === null
      ? 'Every connection from there is refused; open ones go on until they end.'
      : 'Other classes stay as they are.'
  }
  if (classes !== null)
    return `Bans, countries, keys and hours no longer count for ${classes.join(', ')} there, and what is closed or only for trusted addresses is open. Rules, limits and TLS versions still hold.`
  return `Bans and countries no longer count there. What the policy closes or keeps for trusted addresses stays so: name the class to open it too (allow ${shortRange(range)} --class console). Rules, limits and TLS versions still hold.`
}

async function remove(kind: OverlayKind, args: CommandArguments, context: CommandContext): Promise<number> {
  const range = rangeOf(args, kind === 'ban' ? 'unban' : 'deny')
  const { snapshot } = requirePolicy(args, context)
  const removed = await changeOverlay(snapshot, 'DELETE', { kind, range, owner: context.user }, file => {
    const store = openStoreCore(file)
    try {
      return store.overlay.remove(kind, range)
    } finally {
      store.close()
    }
  })
  const { terminal } = context
  if (args.flag('json')) terminal.json({ entries: removed.entries, gateRunning: removed.running })
  else if (removed.entries.length > 0) {
    terminal.print(
      `${terminal.tone('good', '✓')} ${shortRange(range)} is no longer ${kind === 'ban' ? 'banned' : 'allowed'}.`,
    )
    if (!removed.running) sayNotRunning(context)
  } else {
    terminal.complain(
      `No ${kind} of exactly ${shortRange(range)} has been set by an operator.`,
      ...elsewhere(kind, range, snapshot),
    )
  }
  return removed.entries.length > 0 ? 0 : 1
}

/** Where the entry is instead: in the policy file, or as a wider range. */
function elsewhere(kind: OverlayKind, range: string, snapshot: Snapshot): string[] {
  const cidr = parseCidr(range)
  if (typeof cidr === 'string') return []
  const entry = (kind === 'ban' ? snapshot.ban : snapshot.allow).match(cidr.address)
  return entry === undefined
    ? []
    : [`  But ${entry.at.file}:${entry.at.line} has one for ${entry.range.text}: remove that line.`]
}

/** Sends a change to the running gate, or makes it in the store when none runs. */
export async function changeOverlay(
  snapshot: Snapshot,
  method: 'POST' | 'DELETE',
  body: unknown,
  withoutGate: (storeFile: string) => readonly OverlayEntry[],
): Promise<{ readonly entries: readonly OverlayEntry[]; readonly running: boolean }> {
  const answer = (await askGate(snapshot, method, '/v1/overlay', body)) as
    { readonly entries: readonly OverlayEntry[] } | undefined
  if (answer !== undefined) return { entries: answer.entries, running: true }
  return { entries: withoutGate(storeFile(snapshot.directories.state)), running: false }
}

/** The promises meet here: a ban that takes a whole customer site with it is said before, not after. */
function refuseToLoseSites(range: string, snapshot: Snapshot): void {
  const ban = parseCidr(range)
  if (typeof ban === 'string') return
  const hit = sitesWithin(ban, snapshot.sites)
  if (hit.length === 0) return
  const names = hit.slice(0, 5).map(site => site.id)
  throw new PortcullisError(
    `${shortRange(range)} is an address of ${hit.length === 1 ? 'site' : `${hit.length} sites:`} ${names.join(', ')}${hit.length > 5 ? ', ...' : ''}; every agent there would be refused`,
    {
      code: 'ban-loses-sites',
      side: 'configuration',
      remedy: 'Ban only a class (--class console), or repeat the command with --yes.',
    },
  )
}

function sayNotRunning({ terminal }: CommandContext): void {
  terminal.print(terminal.tone('dim', '  No gate runs with this policy; it holds from the next start.'))
}
