// portcullis enroll: opens the deployment paths (class enroll) to one site or address for a while; the end comes by itself.
import { MAX_OPENING_MS } from '../../admin/routes.ts'
import { openingRange, siteOfOpening } from '../../journal/store-openings.ts'
import { openStoreCore } from '../../journal/store-core.ts'
import type { NewOverlayEntry, OverlayEntry } from '../../journal/store-overlay.ts'
import { parseCidr } from '../../net/cidr.ts'
import type { Address } from '../../net/address.ts'
import { classPolicy } from '../../policy/decide-access.ts'
import { explain } from '../../policy/explain.ts'
import { REASONS } from '../../policy/reasons.ts'
import type { Snapshot } from '../../policy/snapshot.ts'
import { formatSourceLine } from '../../policy/source-line.ts'
import { suggest } from '../../config/spelling.ts'
import { CommandArguments, usageError, type Command, type CommandContext } from '../command.ts'
import { formatAgo, formatSpan, formatTime, parseDuration, shortRange } from '../format.ts'
import { askGate, openStore, requirePolicy } from '../gate-access.ts'
import { lookUp, questionOf, storedOverlay } from '../question.ts'
import { bullet } from '../shown-text.ts'
import { changeOverlay } from './overlay.ts'

const MAX_REASON = 300
/** Addresses of a site that are asked whether anything else refuses them. */
const MAX_ASKED = 4

export const enrollCommand: Command = {
  name: 'enroll',
  usage: 'enroll open --site <id> [--for 2h] | enroll close --site <id> | enroll list',
  summary: 'Open the deployment paths to one site for a while',
  examples: [
    'portcullis enroll open --site acme --for 2h --reason "ten new machines"',
    'portcullis enroll open --address 198.51.100.7 --for 30m',
    'portcullis enroll close --site acme',
    'portcullis enroll list',
  ],
  options: {
    site: { type: 'string', value: '<id>', help: 'the site of the policy that may deploy' },
    address: {
      type: 'string',
      value: '<ip>',
      help: 'instead of a site: an address or a range (at most /16)',
    },
    for: { type: 'string', value: '<time>', help: 'how long: 30m, 2h, 1d; at most 7d (default: 2h)' },
    reason: {
      type: 'string',
      short: 'r',
      value: '<text>',
      help: 'why; shown in explanations (default: deployment)',
    },
    all: { type: 'boolean', help: 'for close: every opening' },
  },
  run: (args, context) => {
    const [action, ...rest] = args.positionals
    if (rest.length > 0)
      throw usageError(`"${rest[0] ?? ''}" was not expected`, 'See portcullis enroll --help.')
    switch (action) {
      case 'open':
        return open(args, context)
      case 'close':
        return close(args, context)
      case 'list':
        return list(args, context)
      case undefined:
        throw usageError(
          'enroll needs open, close or list',
          'For example: portcullis enroll open --site acme --for 2h',
        )
      default: {
        const near = suggest(action, ['open', 'close', 'list'])
        throw usageError(
          `enroll does not know "${action}"`,
          near === undefined ? 'Write open, close or list.' : `Did you mean enroll ${near}?`,
        )
      }
    }
  },
}

/** Whom an opening is for. */
type Scope = { readonly range: string; readonly words: string; readonly addresses: readonly Address[] }

function scopeOf(args: CommandArguments, snapshot: Snapshot): Scope {
  const site = args.text('site')
  const address = args.text('address')
  if ((site === undefined) === (address === undefined)) {
    const ids = snapshot.sites.map(entry => entry.id).slice(0, 8)
    throw usageError(
      site === undefined
        ? 'for whom? An opening is for one site or one address'
        : 'either --site or --address, not both',
      ids.length === 0
        ? 'No site is recorded: use --address <ip>, or add the site to the policy.'
        : `Add --site <id> (${ids.join(', ')}) or --address <ip>.`,
    )
  }
  if (site !== undefined) {
    const found = snapshot.sites.find(entry => entry.id === site)
    if (found !== undefined)
      return {
        range: openingRange({ site }),
        words: `site ${site}`,
        addresses: found.ranges.map(range => range.address),
      }
    const near = suggest(
      site,
      snapshot.sites.map(entry => entry.id),
    )
    throw usageError(
      `there is no site "${site}"`,
      near === undefined ? 'See: portcullis sites' : `Did you mean ${near}?`,
    )
  }
  const range = parseCidr(address ?? '')
  if (typeof range === 'string') {
    throw usageError(
      `"${address ?? ''}" is not an address or range`,
      'Write an address, or a range like 198.51.100.0/28.',
    )
  }
  if (range.prefix < (range.address.family === 4 ? 16 : 32)) {
    throw usageError(
      `${range.text} is too wide: deployments would be open to half the world`,
      'At most /16, and /32 for IPv6. For everybody, open the class in the policy: classes: { enroll: { access: open } }',
    )
  }
  return { range: range.text, words: shortRange(range.text), addresses: [range.address] }
}

async function open(args: CommandArguments, context: CommandContext): Promise<number> {
  const { snapshot } = requirePolicy(args, context)
  const scope = scopeOf(args, snapshot)
  const forText = args.text('for') ?? '2h'
  const durationMs = parseDuration(forText)
  if (durationMs === undefined || durationMs === 0)
    throw usageError(`"${forText}" is not a time`, 'Write 30m, 2h or 1d.')
  if (durationMs > MAX_OPENING_MS) {
    throw usageError(
      `${forText} is too long for an opening`,
      'At most 7d; what is meant to stay belongs into the policy, under the classes of the site.',
    )
  }
  const reason = (args.text('reason') ?? 'deployment').trim()
  if (reason === '' || reason.length > MAX_REASON)
    throw usageError(`a reason has 1 to ${MAX_REASON} characters`, 'Write why, in a few words.')
  const createdMs = context.nowMs()
  const entry: NewOverlayEntry = {
    kind: 'opening',
    range: scope.range,
    classes: ['enroll'],
    reason,
    owner: context.user,
    createdMs,
    expiresMs: createdMs + durationMs,
  }
  const { entries, running } = await changeOverlay(snapshot, 'POST', entry, file => {
    const store = openStoreCore(file)
    try {
      return [store.overlay.add(entry)]
    } finally {
      store.close()
    }
  })
  const obstacles = await stillRefused(scope, snapshot, context)
  const { terminal } = context
  if (args.flag('json')) {
    terminal.json({ opened: entries.map(shown), stillRefused: obstacles, gateRunning: running })
    return 0
  }
  terminal.print(
    `${terminal.tone('good', '✓')} Deployments are open for ${scope.words} until ${formatTime(createdMs + durationMs)} (${formatSpan(durationMs)}).`,
    ...pathsOf(snapshot).map(line => `    ${line}`),
    '',
    bullet('It ends by itself; earlier with: portcullis enroll close', terminal),
    bullet(
      'Bans, countries, keys, TLS versions, limits and rules hold as before; other classes stay as they are.',
      terminal,
    ),
  )
  if (snapshot.classes.get('enroll')?.access.value === 'open' && !scope.range.startsWith('site:'))
    terminal.print(bullet('Class enroll is open in the policy anyway.', terminal))
  for (const { address, why, line } of obstacles) {
    terminal.print(
      '',
      terminal.tone('warn', `But ${address} would still be refused: ${why}`),
      `  decided by ${line}`,
    )
  }
  if (!running)
    terminal.print('', terminal.tone('dim', 'No gate runs with this policy; it holds from the next start.'))
  return 0
}

/** What refuses class enroll to the scope in spite of the opening. */
async function stillRefused(
  scope: Scope,
  snapshot: Snapshot,
  context: CommandContext,
): Promise<readonly { readonly address: string; readonly why: string; readonly line: string }[]> {
  const overlay = storedOverlay(snapshot)
  const out = []
  for (const address of scope.addresses.slice(0, MAX_ASKED)) {
    const { source } = await lookUp(snapshot, address, context.nowMs)
    const question = questionOf(new CommandArguments({}, []), snapshot, source, undefined, context.nowMs())
    const answer = explain(snapshot, overlay, question)
    const refusal = answer.classes.find(entry => entry.class === 'enroll')?.refusal ?? null
    const key = classPolicy(answer, 'enroll').keys[0]
    if (refusal !== null) {
      const why = `${REASONS[refusal.reason].because} (${refusal.saw})`
      out.push({ address: address.text, why, line: formatSourceLine(refusal.line) })
    } else if (key !== undefined && answer.standing.trusted === null) {
      const why = `class enroll asks for the ${key.place} ${key.name}; links without it are refused`
      out.push({ address: address.text, why, line: formatSourceLine(key.at) })
    }
  }
  return out
}

/** The paths that class enroll has in the profiles in use. */
function pathsOf(snapshot: Snapshot): readonly string[] {
  const profiles = new Map(snapshot.names.map(name => [name.profile.id, name.profile]))
  return [...profiles.values()].flatMap(profile =>
    profile.rules.filter(rule => rule.class === 'enroll').map(rule => rule.pattern),
  )
}

async function close(args: CommandArguments, context: CommandContext): Promise<number> {
  const { snapshot } = requirePolicy(args, context)
  const { terminal } = context
  const all = args.flag('all')
  // A site that has left the policy can still be closed.
  const site = args.text('site')
  const ranges = all
    ? openings(snapshot, context.nowMs()).map(entry => entry.range)
    : [site === undefined ? scopeOf(args, snapshot).range : openingRange({ site })]
  const removed: OverlayEntry[] = []
  for (const range of new Set(ranges)) {
    const body = { kind: 'opening', range, owner: context.user }
    const { entries } = await changeOverlay(snapshot, 'DELETE', body, file => {
      const store = openStoreCore(file)
      try {
        return store.overlay.remove('opening', range)
      } finally {
        store.close()
      }
    })
    removed.push(...entries)
  }
  if (args.flag('json')) terminal.json({ closed: removed.map(shown) })
  else if (removed.length > 0)
    for (const entry of removed)
      terminal.print(`${terminal.tone('good', '✓')} Closed for ${wordsOf(entry.range)}.`)
  else terminal.complain('Nothing was open there.', '  See what is: portcullis enroll list')
  return removed.length > 0 || all ? 0 : 1
}

async function list(args: CommandArguments, context: CommandContext): Promise<number> {
  const { snapshot } = requirePolicy(args, context)
  const { terminal } = context
  const nowMs = context.nowMs()
  await askGate(snapshot, 'POST', '/v1/flush')
  const entries = openings(snapshot, nowMs)
  if (args.flag('json')) terminal.json({ openings: entries.map(shown) })
  else if (entries.length === 0) terminal.print('Nothing is opened for a while.')
  else {
    const head = ['for', 'until', 'by', 'why'].map(word => terminal.tone('dim', word))
    const rows = entries.map(entry => [
      terminal.tone('strong', wordsOf(entry.range)),
      `${formatTime(entry.expiresMs ?? 0)} (${formatAgo(entry.expiresMs ?? 0, nowMs)})`,
      entry.owner,
      entry.reason,
    ])
    terminal.print(terminal.table([head, ...rows]))
  }
  return 0
}

function openings(snapshot: Snapshot, nowMs: number): readonly OverlayEntry[] {
  const store = openStore(snapshot)
  try {
    const entries = store?.overlay.list() ?? []
    return entries.filter(entry => entry.kind === 'opening' && (entry.expiresMs ?? 0) > nowMs)
  } finally {
    store?.close()
  }
}

function wordsOf(range: string): string {
  const site = siteOfOpening(range)
  return site === null ? shortRange(range) : `site ${site}`
}

function shown({ range, classes, reason, owner, createdMs, expiresMs }: OverlayEntry): object {
  return { site: siteOfOpening(range), range, classes, reason, owner, createdMs, expiresMs }
}
