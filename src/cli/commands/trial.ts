// portcullis trial report | end: latency and errors through the gate, whom the policy refuses or would refuse, and the end of a trial.
import { quantileOf } from '../../journal/latency.ts'
import type { LatencyCount } from '../../journal/store-latency.ts'
import { REASONS } from '../../policy/reasons.ts'
import type { Snapshot } from '../../policy/snapshot.ts'
import {
  reportTrial,
  type ClassTraffic,
  type Trial,
  type TrialDetection,
  type TrialRefusal,
} from '../../plan/trial.ts'
import { suggest } from '../../config/spelling.ts'
import { usageError, type Command, type CommandArguments, type CommandContext } from '../command.ts'
import { counted, formatAgo, formatSpan } from '../format.ts'
import { askGate, openStore, requirePolicy } from '../gate-access.ts'
import { spanOf } from '../make-plan.ts'
import { compareWays, MAX_PROBES, readWay, type ProbeComparison, type WayResult } from '../probe-latency.ts'
import { GUARD_OPTIONS, LOSS_OPTIONS } from '../put-in-force.ts'
import type { Terminal } from '../terminal.ts'
import { endTrial, readTrialEnd, showTrialEnd, type TrialEnding } from '../trial-end.ts'

const SHOWN = 15

/** Latency of one class. Times in milliseconds; null: nothing was measured. */
type ClassLatency = {
  readonly class: string
  readonly requests: number
  readonly gateP50Ms: number | null
  readonly gateP95Ms: number | null
  readonly serverP50Ms: number | null
  readonly serverP95Ms: number | null
  readonly totalP50Ms: number | null
  readonly totalP95Ms: number | null
}

export const trialCommand: Command = {
  name: 'trial',
  usage: 'trial report [--since 7d] [--direct https://direct.example.com] | trial end --reason <text>',
  summary: 'Latency and errors through the gate, whom the end of a trial would lose, and the end itself',
  examples: [
    'portcullis trial report',
    'portcullis trial report --since 24h --direct https://direct.example.com',
    'portcullis trial report --json',
    'portcullis trial end --reason "two quiet weeks"',
  ],
  options: {
    since: { type: 'string', value: '<time>', help: 'how much recorded traffic: 24h, 7d, 30d (default: 7d)' },
    direct: { type: 'string', value: '<url>', help: 'measure the product probe on this direct address, too' },
    gate: {
      type: 'string',
      value: '<url>',
      help: "with --direct: the gate's address (default: its first name)",
    },
    'gate-address': {
      type: 'string',
      value: '<ip>',
      help: 'with --direct: connect there instead of resolving the name',
    },
    'direct-address': { type: 'string', value: '<ip>', help: 'with --direct: the same for the direct name' },
    count: {
      type: 'string',
      value: '<n>',
      help: `with --direct: probes of each way, at most ${MAX_PROBES} (default: 20)`,
    },
    ca: { type: 'string', value: '<file>', help: 'with --direct: certificates of a private authority (PEM)' },
    reason: { type: 'string', short: 'r', value: '<text>', help: 'end: why; kept in the history (required)' },
    'max-loss': { ...LOSS_OPTIONS['max-loss'], help: `end: ${LOSS_OPTIONS['max-loss'].help}` },
    'accept-loss': { type: 'boolean', help: 'end: whatever the plan says; the guard still watches' },
    guard: { ...GUARD_OPTIONS.guard, help: `end: ${GUARD_OPTIONS.guard.help}` },
    'no-guard': { type: 'boolean', help: 'end: do not take the policy back by itself' },
  },
  run: (args, context) => {
    const [action = 'report', ...rest] = args.positionals
    if (action === 'end' && rest.length === 0) return endTrial(args, context)
    if (action !== 'report' || rest.length > 0) {
      const near = suggest(action, ['report', 'end'])
      throw usageError(
        `trial does not know "${action === 'report' ? rest.join(' ') : action}"`,
        near === undefined ? 'Write: portcullis trial report' : `Did you mean trial ${near}?`,
      )
    }
    return report(args, context)
  },
}

async function report(args: CommandArguments, context: CommandContext): Promise<number> {
  const { terminal } = context
  const spanMs = spanOf(args)
  const { snapshot } = requirePolicy(args, context)
  const comparison = await measured(args, snapshot, context)
  await askGate(snapshot, 'POST', '/v1/flush')
  const sinceMs = context.nowMs() - spanMs
  const ending = await readTrialEnd(snapshot, args, context)
  const store = openStore(snapshot)
  if (store === undefined) {
    if (args.flag('json')) terminal.json({ sinceMs, trial: null, latency: [], comparison })
    else {
      terminal.print(
        terminal.tone(
          'warn',
          `Nothing has been recorded yet in ${snapshot.directories.state}: let agents use the gate first.`,
        ),
      )
      showComparison(comparison, terminal)
    }
    return 0
  }
  try {
    const trial = reportTrial(
      snapshot,
      store.ledger.all(sinceMs),
      store.detections.since(sinceMs),
      store.detections.watched(),
    )
    const latency = latencyOf(store.latency.since(sinceMs))
    if (args.flag('json')) terminal.json({ sinceMs, trial, ending, latency, comparison })
    else {
      terminal.print(
        `The last ${formatSpan(spanMs)}: known agents (seen in several hours) at ${trial.knownAgents} ${trial.knownAgents === 1 ? 'address' : 'addresses'}.`,
        '',
      )
      showTraffic(trial.classes, latency, terminal)
      showComparison(comparison, terminal)
      showRefusals(trial.refusals, context)
      showDetections(trial, context)
      if (ending !== null) showTrialEnd(ending, context)
      showNext(trial, ending, terminal)
    }
    return trial.refusals.some(isLoss) || (ending?.lostAgents ?? 0) > 0 ? 1 : 0
  } finally {
    store.close()
  }
}

async function measured(
  args: CommandArguments,
  snapshot: Snapshot,
  context: CommandContext,
): Promise<ProbeComparison | null> {
  const directText = args.text('direct')
  if (directText === undefined) return null
  const name = snapshot.names.find(({ host }) => !host.startsWith('*.'))
  if (name === undefined) throw usageError('the policy serves no plain name', 'Add --gate <url>.')
  const countText = args.text('count') ?? '20'
  const count = Number(countText)
  if (!/^[0-9]{1,4}$/.test(countText) || count < 1 || count > MAX_PROBES)
    throw usageError(`--count: "${countText}" is not a number from 1 to ${MAX_PROBES}`, 'Write --count 20.')
  const direct = readWay(directText, '--direct', args.text('direct-address') ?? null)
  const gate = readWay(
    args.text('gate') ?? `https://${name.host}`,
    '--gate',
    args.text('gate-address') ?? null,
  )
  let stopped = false
  const remove = context.onSignal(signal => {
    stopped ||= signal === 'stop'
  })
  try {
    if (context.isTerminal)
      context.terminal.complain(`Probing ${gate.url.origin} and ${direct.url.origin} in turn ...`)
    return await compareWays(gate, direct, name.profile.health, {
      count,
      caFile: args.text('ca') ?? null,
      isStopped: () => stopped,
    })
  } finally {
    remove()
  }
}

function latencyOf(counts: readonly LatencyCount[]): readonly ClassLatency[] {
  const classes = [...new Set(counts.map(entry => entry.class))]
  return classes.map(trafficClass => {
    const of = (part: LatencyCount['part']): readonly number[] =>
      counts.find(entry => entry.class === trafficClass && entry.part === part)?.buckets ?? []
    return {
      class: trafficClass,
      requests: of('gate').reduce((sum, count) => sum + count, 0),
      gateP50Ms: quantileOf(of('gate'), 0.5),
      gateP95Ms: quantileOf(of('gate'), 0.95),
      serverP50Ms: quantileOf(of('server'), 0.5),
      serverP95Ms: quantileOf(of('server'), 0.95),
      totalP50Ms: quantileOf(of('total'), 0.5),
      totalP95Ms: quantileOf(of('total'), 0.95),
    }
  })
}

function showTraffic(
  classes: readonly ClassTraffic[],
  latency: readonly ClassLatency[],
  terminal: Terminal,
): void {
  if (classes.length === 0) {
    terminal.print(terminal.tone('warn', 'Nothing was carried: no agent uses the gate yet.'))
    return
  }
  const head = ['class', 'passed', 'failed', 'gate adds p50/p95', 'server p50/p95', 'whole p50/p95']
  const rows = classes.map(entry => {
    const times = latency.find(one => one.class === entry.class)
    const share = entry.failed / Math.max(1, entry.passed + entry.failed)
    const failed = entry.failed === 0 ? '0' : `${entry.failed} (${percent(share)})`
    return [
      terminal.tone('strong', entry.class),
      String(entry.passed),
      share > 0.01 ? terminal.tone('bad', failed) : failed,
      pairText(times?.gateP50Ms, times?.gateP95Ms),
      pairText(times?.serverP50Ms, times?.serverP95Ms),
      pairText(times?.totalP50Ms, times?.totalP95Ms),
    ]
  })
  terminal.print(terminal.table([head.map(word => terminal.tone('dim', word)), ...rows]))
}

function pairText(p50: number | null | undefined, p95: number | null | undefined): string {
  if (p50 === null || p50 === undefined || p95 === null || p95 === undefined) return '-'
  return `${milliseconds(p50)} / ${milliseconds(p95)}`
}

function milliseconds(ms: number): string {
  return ms >= 10_000
    ? `${(ms / 1_000).toFixed(0)} s`
    : `${ms < 10 ? ms.toFixed(ms < 1 ? 2 : 1) : ms.toFixed(0)} ms`
}

function signed(ms: number): string {
  return (ms < 0 ? '-' : '') + milliseconds(Math.abs(ms))
}

function percent(share: number): string {
  return `${(share * 100).toFixed(share < 0.1 ? 1 : 0)} %`
}

function showComparison(comparison: ProbeComparison | null, terminal: Terminal): void {
  if (comparison === null) return
  const row = (name: string, way: WayResult): string[] => {
    const errors = Object.entries(way.errors).map(([error, count]) => `${count} x ${error}`)
    const times = pairText(way.p50Ms, way.p95Ms)
    return [name, way.url, times, errors.length === 0 ? 'no errors' : terminal.tone('bad', errors.join(', '))]
  }
  terminal.print(
    '',
    'The product probe, each over a new connection (p50 / p95):',
    terminal.table([row('through the gate', comparison.gate), row('direct', comparison.direct)], '  '),
  )
  const { addedP50Ms, addedP95Ms } = comparison
  if (addedP50Ms !== null && addedP95Ms !== null)
    terminal.print(`  The way through the gate adds ${signed(addedP50Ms)} (p95: ${signed(addedP95Ms)}).`)
}

function isLoss(refusal: TrialRefusal): boolean {
  return refusal.knownAgents > 0
}

function showRefusals(refusals: readonly TrialRefusal[], context: CommandContext): void {
  const { terminal } = context
  if (refusals.length === 0) {
    terminal.print('', terminal.tone('good', '✓ Nothing was refused.'))
    return
  }
  const head = ['refused by', 'site', 'class', 'times', 'addresses', 'known agents', 'last', 'why'].map(
    word => terminal.tone('dim', word),
  )
  const rows = refusals
    .slice(0, SHOWN)
    .map(entry => [
      entry.family,
      entry.site ?? '-',
      entry.class ?? '-',
      String(entry.count),
      String(entry.sources),
      knownWord(entry, terminal),
      formatAgo(entry.lastMs, context.nowMs()),
      becauseOf(entry.outcome),
    ])
  terminal.print('', 'Refused now, known agents first:', terminal.table([head, ...rows], '  '))
  if (refusals.length > SHOWN) terminal.print(`  and ${refusals.length - SHOWN} more: see --json`)
}

function showDetections(trial: Trial, context: CommandContext): void {
  const { terminal } = context
  if (trial.detections.length === 0) {
    terminal.print('', terminal.tone('good', '✓ Rules in detect mode would have refused nothing.'))
  } else {
    const head = ['rule', 'site', 'class', 'hits', 'addresses', 'known agents', 'last'].map(word =>
      terminal.tone('dim', word),
    )
    const rows = trial.detections
      .slice(0, SHOWN)
      .map(entry => [
        terminal.tone('strong', entry.rule),
        entry.site ?? '-',
        entry.class ?? '-',
        String(entry.hits),
        String(entry.sources),
        knownWord(entry, terminal),
        formatAgo(entry.lastMs, context.nowMs()),
      ])
    terminal.print('', 'Rules that only detect would have refused:', terminal.table([head, ...rows], '  '))
    if (trial.detections.length > SHOWN)
      terminal.print(`  and ${trial.detections.length - SHOWN} more: see --json`)
    if (!trial.complete) terminal.print('  There were more detections than are read: shorten --since.')
  }
  const watching = trial.watched.filter(entry => !entry.enforces)
  if (trial.watched.length > 0)
    terminal.print(
      '',
      `${counted(watching.length, 'rule')} still watched before enforcing, ${trial.watched.length - watching.length} enforcing by now (enforceAfter).`,
    )
}

function knownWord(entry: TrialRefusal | TrialDetection, terminal: Terminal): string {
  if (entry.knownAgents === 0) return '0'
  return terminal.tone('bad', `${entry.knownAgents} of ${entry.sources} (${entry.examples[0] ?? ''})`)
}

function becauseOf(outcome: string): string {
  if (outcome === 'handshake-failed') return 'the TLS handshake broke off'
  return Object.hasOwn(REASONS, outcome) ? REASONS[outcome as keyof typeof REASONS].because : outcome
}

function showNext(trial: Trial, ending: TrialEnding | null, terminal: Terminal): void {
  const [loss] = trial.refusals.filter(isLoss)
  const [hit] = trial.detections.filter(entry => entry.knownAgents > 0)
  terminal.print('')
  if (loss !== undefined)
    terminal.print(
      terminal.tone('bad', '✗ Known agents are refused.'),
      `  Begin here: bin/diagnose ${loss.examples[0] ?? ''}`,
    )
  if (hit !== undefined)
    terminal.print(
      terminal.tone('bad', '✗ A rule would refuse known agents when enforced.'),
      `  See what it saw: portcullis rules preview ${hit.rule}`,
    )
  if (loss === undefined && hit === undefined && ending === null && trial.knownAgents > 0)
    terminal.print(
      terminal.tone('good', '✓ No known agent is refused, and none would be.'),
      '  Next: portcullis cutover',
    )
}
