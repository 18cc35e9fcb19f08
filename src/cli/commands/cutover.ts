// portcullis cutover: which step one is at, how much of the fleet uses the gate, the firewall rule, its check from outside, and the drill.
import type { GateStatus } from '../../admin/status.ts'
import {
  CUTOVER_STEPS,
  fleetShare,
  MARKED_STEPS,
  standsBefore,
  type CutoverState,
  type CutoverStepId,
  type MarkedStep,
} from '../../deploy/cutover.ts'
import { PortcullisError } from '../../policy/error.ts'
import type { HealthProbe, Snapshot } from '../../policy/snapshot.ts'
import { suggest } from '../../config/spelling.ts'
import { printCutoverRule } from '../cutover-firewall.ts'
import { readCutover, writeCutover } from '../cutover-record.ts'
import { seeCutover } from '../cutover-sight.ts'
import { usageError, type Command, type CommandArguments, type CommandContext } from '../command.ts'
import { formatAgo, parseDuration } from '../format.ts'
import { askGate, requirePolicy } from '../gate-access.ts'
import { addressesOf, REACH_LIMITS, reachOf, type ReachResult } from '../reach.ts'
import { directOf, portList } from '../direct-address.ts'
import { drillText, rehearse } from '../rehearsal.ts'
import type { Terminal } from '../terminal.ts'

const ACTIONS = ['status', 'firewall', 'verify', 'rehearse', 'done', 'undone'] as const
const SHOWN = 15

export const cutoverCommand: Command = {
  name: 'cutover',
  usage: 'cutover [status | firewall | verify | rehearse | done <step> | undone <step>]',
  summary: 'The way to the cut-over: share of agents on the gate, firewall rule, check from outside, drill',
  examples: [
    'portcullis cutover --list agents.csv',
    'portcullis cutover done template',
    'portcullis cutover firewall',
    'portcullis cutover verify --direct direct.example.com',
    'portcullis cutover rehearse',
  ],
  options: {
    list: {
      type: 'string',
      value: '<file>',
      help: 'agents that the RMM knows: CSV with their public addresses',
    },
    column: { type: 'string', value: '<name>', help: 'the column of the list that has the public address' },
    since: {
      type: 'string',
      value: '<time>',
      help: 'an agent uses the gate when it was seen within this time (default: 24h)',
    },
    direct: {
      type: 'string',
      value: '<host[:port]>',
      help: 'the old address (default: deployment.direct of the policy)',
    },
    ports: {
      type: 'string',
      value: '<list>',
      help: `for verify: other ports too, for example 80,8484; at most ${REACH_LIMITS.ports}`,
    },
    egress: {
      type: 'string',
      value: '<ip>',
      help: 'for firewall: where the gate connects from (default: deployment.egress)',
    },
    wait: {
      type: 'string',
      value: '<time>',
      help: 'for rehearse: how long each hand may take (default: 10m)',
    },
    every: { type: 'string', value: '<time>', help: 'for rehearse: time between looks (default: 5s)' },
    print: { type: 'boolean', help: 'for rehearse: print the drill and do nothing' },
  },
  run: (args, context) => {
    const [action = 'status', ...rest] = args.positionals
    if (rest.length > 0 && action !== 'done' && action !== 'undone')
      throw usageError(`"${rest[0] ?? ''}" was not expected`, 'See portcullis cutover --help.')
    switch (action) {
      case 'status':
        return status(args, context)
      case 'firewall':
        return printCutoverRule(args, context)
      case 'verify':
        return verify(args, context)
      case 'rehearse':
        return drill(args, context)
      case 'done':
      case 'undone':
        return mark(action === 'done', rest, args, context)
      default: {
        const near = suggest(action, ACTIONS)
        throw usageError(
          `cutover does not know "${action}"`,
          near === undefined ? `Write ${ACTIONS.join(', ')}.` : `Did you mean cutover ${near}?`,
        )
      }
    }
  },
}

async function status(args: CommandArguments, context: CommandContext): Promise<number> {
  const { snapshot } = requirePolicy(args, context)
  const { fleet, state, record } = await seeCutover(snapshot, args, context)
  const share = fleetShare(fleet.parts)
  const { terminal } = context
  if (args.flag('json')) {
    terminal.json({ ...state, fleet: { ...fleet, ...share }, record })
    return state.current === null ? 0 : 1
  }
  const missing = fleet.parts.filter(entry => !entry.seen).toSorted((a, b) => b.agents - a.agents)
  const percent = share.share === null ? 'nothing to compare with' : `${Math.floor(share.share * 100)} %`
  terminal.print(
    `Agents on the gate  ${terminal.tone('strong', percent)} (${share.using} of ${share.known}), by ${fleet.basis}`,
  )
  if (fleet.note !== null) terminal.print(terminal.tone('dim', `                    ${fleet.note}`))
  for (const entry of missing.slice(0, SHOWN)) {
    const when =
      entry.lastMs === null ? 'never through the gate' : `last ${formatAgo(entry.lastMs, context.nowMs())}`
    terminal.print(
      `  not there: ${entry.what}, ${entry.agents} ${entry.agents === 1 ? 'agent' : 'agents'}, ${when}`,
    )
  }
  if (missing.length > SHOWN) terminal.print(`  and ${missing.length - SHOWN} more: see --json`)
  terminal.print('')
  for (const step of state.steps) {
    const sign = step.done
      ? terminal.tone('good', '✓')
      : step.id === state.current
        ? terminal.tone('warn', '→')
        : ' '
    terminal.print(
      `${sign} ${step.done ? step.title : terminal.tone(step.id === state.current ? 'strong' : 'dim', step.title)}`,
    )
    if (step.id === state.current)
      for (const text of step.missing) terminal.print(terminal.wrap(text, '    '))
  }
  const { verified, rehearsed } = record
  terminal.print(
    '',
    verified === null
      ? 'Direct access was never checked from outside.'
      : `Direct access to ${verified.target} was ${verified.ok ? 'closed' : 'OPEN'} ${formatAgo(verified.atMs, context.nowMs())} (${verified.who}).`,
    rehearsed === null
      ? 'The emergency path was never rehearsed.'
      : `The emergency path was rehearsed ${formatAgo(rehearsed.atMs, context.nowMs())} (${rehearsed.who}): ${rehearsed.ok ? 'it works' : 'it FAILED'}.`,
  )
  for (const warning of state.warnings) terminal.print(terminal.tone('bad', `✗ ${warning}`))
  return state.current === null ? 0 : 1
}

async function mark(
  isDone: boolean,
  words: readonly string[],
  args: CommandArguments,
  context: CommandContext,
): Promise<number> {
  const [word = '', ...more] = words
  if (word === 'firewall' && more.length === 0) return markFirewall(isDone, args, context)
  const step = MARKED_STEPS.find(entry => entry === word)
  if (step === undefined || more.length > 0) {
    const near = suggest(word, MARKED_STEPS)
    const other = CUTOVER_STEPS.some(entry => entry === word)
    throw usageError(
      other ? `step ${word} is seen, not said` : `there is no step "${word}"`,
      near === undefined || other
        ? `Steps that you say are done: ${MARKED_STEPS.join(', ')}.`
        : `Did you mean ${near}?`,
    )
  }
  const { snapshot } = requirePolicy(args, context)
  const { state, record } = await seeCutover(snapshot, args, context)
  if (isDone) refuseEarly(state, step)
  const { [step]: _, ...rest } = record.marks
  const marks: typeof record.marks = isDone
    ? { ...rest, [step satisfies MarkedStep]: { atMs: context.nowMs(), who: context.user } }
    : rest
  writeCutover(snapshot.directories.state, { ...record, marks })
  if (args.flag('json')) context.terminal.json({ marks })
  else
    context.terminal.print(
      `${context.terminal.tone('good', '✓')} ${step} is ${isDone ? 'done' : 'open again'}.`,
    )
  return 0
}

/** The check from outside was made on another machine: somebody says so here. */
async function markFirewall(
  isDone: boolean,
  args: CommandArguments,
  context: CommandContext,
): Promise<number> {
  const { snapshot } = requirePolicy(args, context)
  const { state, record } = await seeCutover(snapshot, args, context)
  if (isDone) refuseEarly(state, 'firewall')
  const { host, port } = directOf(args, snapshot)
  const said = {
    atMs: context.nowMs(),
    who: `${context.user}, from another machine`,
    target: `${host}:${port}`,
    ok: true,
  }
  writeCutover(snapshot.directories.state, { ...record, verified: isDone ? said : null })
  if (args.flag('json')) context.terminal.json({ verified: isDone ? said : null })
  else
    context.terminal.print(
      `${context.terminal.tone('good', '✓')} ${isDone ? `Direct access to ${said.target} counts as closed.` : 'The check from outside counts as not made.'}`,
    )
  return 0
}

function refuseEarly(state: CutoverState, id: CutoverStepId): void {
  const before = standsBefore(state, id)
  if (before === null) return
  throw new PortcullisError(`"${before.title}" comes before, and is not done`, {
    code: 'cutover-order',
    side: 'configuration',
    remedy: before.missing[0] ?? 'See: portcullis cutover',
  })
}

function probeOf(snapshot: Snapshot): Pick<HealthProbe, 'path' | 'statuses' | 'bodyPattern'> {
  const probe = snapshot.names[0]?.profile.health
  if (probe === undefined) throw usageError('the policy serves no name', 'Add one under names.')
  return probe
}

async function verify(args: CommandArguments, context: CommandContext): Promise<number> {
  const { snapshot } = requirePolicy(args, context)
  const { terminal } = context
  const { host, port } = directOf(args, snapshot)
  const ports = portList(args, port)
  const addresses = await addressesOf(host)
  const results: ReachResult[] = []
  for (const address of addresses)
    for (const one of ports) results.push(await reachOf(host, address, one, probeOf(snapshot)))
  const closed =
    results.length > 0 && results.every(({ reach }) => reach === 'refused' || reach === 'filtered')
  const unclear = results.some(({ reach }) => reach === 'unreachable') && !results.some(isOpen)
  if (!unclear && results.length > 0) {
    const record = readCutover(snapshot.directories.state)
    const verified = {
      atMs: context.nowMs(),
      who: context.user,
      target: `${host}:${ports.join(',')}`,
      ok: closed,
    }
    writeCutover(snapshot.directories.state, { ...record, verified })
  }
  if (args.flag('json')) {
    terminal.json({ host, ports, addresses, results, closed, unclear })
    return closed ? 0 : 1
  }
  if (results.length === 0) {
    terminal.print(
      terminal.tone('bad', `✗ ${host} does not resolve: agents would have no secondary address.`),
      '  Put the name back into DNS; it must lead to the server, closed or not.',
    )
    return 1
  }
  const tones = {
    answers: 'bad',
    open: 'bad',
    refused: 'good',
    filtered: 'good',
    unreachable: 'warn',
  } as const
  terminal.print(
    terminal.table(
      results.map(({ address, port: one, reach, saw }) => [
        `${address} port ${one}`,
        terminal.tone(tones[reach], reach),
        saw,
      ]),
    ),
  )
  if (closed)
    terminal.print(
      terminal.tone('good', '✓ Direct access is closed from here.'),
      '  On the gate, if this is another machine: portcullis cutover done firewall',
    )
  else if (unclear)
    terminal.print(
      terminal.tone(
        'warn',
        'There is no way to some of these addresses from here, so nothing can be said about them: try from another network.',
      ),
    )
  else
    terminal.print(
      terminal.tone('bad', '✗ Direct access is open from here.'),
      '  If this machine is the gate or an address that the firewall admits, run it from outside. Otherwise: portcullis cutover firewall',
    )
  return closed ? 0 : 1
}

function isOpen({ reach }: ReachResult): boolean {
  return reach === 'open' || reach === 'answers'
}

const MAX_WAIT_MS = 3_600_000

async function drill(args: CommandArguments, context: CommandContext): Promise<number> {
  const { snapshot } = requirePolicy(args, context)
  const { terminal } = context
  const { host, port } = directOf(args, snapshot)
  const waitMs = parseDuration(args.text('wait') ?? '10m')
  const everyMs = parseDuration(args.text('every') ?? '5s')
  if (waitMs === undefined || waitMs > MAX_WAIT_MS || everyMs === undefined || everyMs < 1_000)
    throw usageError('--wait is at most 1h, --every at least 1s', 'For example: --wait 10m --every 5s')
  const text = drillText(host, port, snapshot.names[0]?.profile.product ?? 'the server')
  if (args.flag('print')) {
    if (args.flag('json')) terminal.json({ drill: text })
    else
      for (const [index, line] of text.entries())
        terminal.print(terminal.wrap(line, `${index + 1}. `.padEnd(3)))
    return 0
  }
  const isQuiet = args.flag('json')
  if (!isQuiet) for (const [index, line] of text.entries()) terminal.print(`${index + 1}. ${line}`)
  let stopped = false
  const remove = context.onSignal(signal => {
    stopped ||= signal === 'stop'
  })
  try {
    const steps = await rehearse({
      host,
      port,
      probe: probeOf(snapshot),
      gateUpstream: () => gateUpstream(snapshot),
      waitMs,
      everyMs,
      isStopped: () => stopped,
      say: line => {
        if (!isQuiet) terminal.print('', terminal.tone('strong', line))
      },
    })
    const ok = steps.every(step => step.ok)
    const record = readCutover(snapshot.directories.state)
    const rehearsed = { atMs: context.nowMs(), who: context.user, target: `${host}:${port}`, ok }
    writeCutover(snapshot.directories.state, { ...record, rehearsed })
    if (isQuiet) terminal.json({ ok, steps })
    else showDrill(steps, ok, terminal)
    return ok ? 0 : 1
  } finally {
    remove()
  }
}

function showDrill(steps: Awaited<ReturnType<typeof rehearse>>, ok: boolean, terminal: Terminal): void {
  terminal.print('')
  for (const step of steps)
    terminal.print(
      `${step.ok ? terminal.tone('good', '✓') : terminal.tone('bad', '✗')} ${step.what}`,
      terminal.wrap(step.saw, '    '),
    )
  terminal.print(
    '',
    ok
      ? terminal.tone('good', '✓ The emergency path works. Recorded.')
      : terminal.tone('bad', '✗ The drill did not end well. Recorded; see the last line.'),
  )
}

/** Whether the running gate has a server that is up. */
async function gateUpstream(snapshot: Snapshot): Promise<{ readonly ok: boolean; readonly saw: string }> {
  const status = (await askGate(snapshot, 'GET', '/v1/status')) as GateStatus | undefined
  if (status === undefined) return { ok: false, saw: 'no gate runs with this policy' }
  const down = status.upstreams.filter(member => member.state === 'down').map(member => member.member)
  const serving = status.upstreams.filter(member => member.serving && member.state !== 'down')
  if (serving.length === 0) return { ok: false, saw: 'every server behind the gate is down' }
  const names = serving.map(member => member.member).join(', ')
  return { ok: true, saw: down.length === 0 ? `${names} up` : `${names} up, ${down.join(', ')} down` }
}
