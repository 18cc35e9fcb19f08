// portcullis plan: replays recorded traffic through a candidate policy and says who would be lost or gained, before it happens.
import { bundledDatabases } from '../../geo/bundled.ts'
import { createCountryLookup } from '../../geo/lookup.ts'
import { diffSnapshots } from '../../config/diff.ts'
import { loadPolicy } from '../../config/load.ts'
import { renderProblem } from '../../config/problems.ts'
import type { LedgerSum } from '../../journal/ledger-facts.ts'
import type { StoreReader } from '../../journal/store-core.ts'
import type { RuleEffect } from '../../journal/store-rules.ts'
import { buildOverlay } from '../../journal/store-overlay.ts'
import { needsHours, replay, type Change, type Replay } from '../../plan/replay.ts'
import type { Snapshot } from '../../policy/snapshot.ts'
import { formatSourceLine } from '../../policy/source-line.ts'
import { usageError, type Command, type CommandArguments, type CommandContext } from '../command.ts'
import { counted, formatAgo, formatSpan, parseDuration } from '../format.ts'
import { askGate, openStore, requirePolicy, shownDirectory } from '../gate-access.ts'
import type { Terminal } from '../terminal.ts'
import { resolve } from 'node:path'

/** Exit code when active agents would be lost. */
const LOST = 3
const SHOWN = 20

export const planCommand: Command = {
  name: 'plan',
  usage: 'plan <candidate dir> [--since 7d]',
  summary: 'Who would be lost or gained if a candidate policy were in force',
  examples: [
    'cp -r policies candidate',
    'portcullis plan candidate',
    'portcullis plan candidate --since 30d --json',
  ],
  options: {
    since: { type: 'string', value: '<time>', help: 'how much recorded traffic: 24h, 7d, 30d (default: 7d)' },
  },
  run: async (args, context) => {
    const sinceMs = sinceOf(args)
    const { snapshot: current } = requirePolicy(args, context)
    const directory = args.positionals[0]
    if (directory === undefined) {
      throw usageError(
        'plan needs the directory of a candidate policy',
        'Copy policies/ to candidate/, change it there, then: portcullis plan candidate',
      )
    }
    const candidate = loadPolicy({
      directory: resolve(context.cwd, directory),
      label: shownDirectory(resolve(context.cwd, directory), context.cwd),
      nowMs: context.nowMs(),
      stateDir: current.directories.state,
    })
    const { terminal } = context
    if (!candidate.ok) {
      if (args.flag('json')) terminal.json({ ok: false, problems: candidate.problems })
      else {
        for (const problem of candidate.problems) terminal.print(renderProblem(problem), '')
        terminal.print(
          terminal.tone(
            'bad',
            `✗ the candidate has ${counted(candidate.problems.length, 'problem')}; nothing was replayed`,
          ),
        )
      }
      return 1
    }
    await askGate(current, 'POST', '/v1/flush')
    const changes = diffSnapshots(current, candidate.snapshot)
    const store = openStore(current)
    if (store === undefined) {
      if (args.flag('json')) terminal.json({ ok: true, changes, replay: null })
      else {
        showChanges(changes, terminal)
        terminal.print(
          terminal.tone(
            'warn',
            `Nothing has been recorded yet in ${current.directories.state}: who would be lost cannot be said.`,
          ),
        )
      }
      return 0
    }
    try {
      const outcome = await replayStore(store, current, candidate.snapshot, sinceMs, context)
      const rules = newlyEnforced(store, current, candidate.snapshot, context.nowMs() - sinceMs)
      const lostByRules = rules.some(effect => effect.knownAgents > 0)
      if (args.flag('json'))
        terminal.json({ ok: true, sinceMs: context.nowMs() - sinceMs, changes, replay: outcome, rules })
      else {
        showChanges(changes, terminal)
        show(outcome, sinceMs, context)
        showRules(rules, terminal)
      }
      return outcome.lostAgents > 0 || lostByRules ? LOST : 0
    } finally {
      store.close()
    }
  },
}

function sinceOf(args: CommandArguments): number {
  const text = args.text('since') ?? '7d'
  const sinceMs = parseDuration(text)
  if (sinceMs === undefined) throw usageError(`"${text}" is not a time`, 'Write 24h, 7d or 30d.')
  return sinceMs
}

async function replayStore(
  store: StoreReader,
  current: Snapshot,
  candidate: Snapshot,
  sinceMs: number,
  context: CommandContext,
): Promise<Replay> {
  const countries = await createCountryLookup({
    directory: current.directories.geoip,
    bundled: bundledDatabases(),
    reporter: { report: () => undefined },
    clock: context.nowMs,
  })
  try {
    const nowMs = context.nowMs()
    return replay({
      current,
      candidate,
      overlay: buildOverlay(store.overlay.list()),
      lookup: countries.lookup,
      rows: needsHours(current, candidate)
        ? hourly(store, nowMs - sinceMs)
        : store.ledger.sums(nowMs - sinceMs),
      nowMs,
      ...(context.isTerminal
        ? {
            onProgress: (rows: number) =>
              context.terminal.complain(`replayed ${rows.toLocaleString('en')} records ...`),
          }
        : {}),
    })
  } finally {
    countries.close()
  }
}

function* hourly(store: StoreReader, sinceMs: number): Generator<LedgerSum> {
  for (const row of store.ledger.all(sinceMs)) yield { ...row, hours: 1 }
}

/** What rules would have refused that the candidate enforces and the policy in force only lets detect. */
function newlyEnforced(
  store: StoreReader,
  current: Snapshot,
  candidate: Snapshot,
  sinceMs: number,
): readonly RuleEffect[] {
  const before = new Map(current.rules.rules.map(rule => [rule.id, rule.mode]))
  const ids = candidate.rules.rules
    .filter(rule => rule.mode === 'enforce' && before.get(rule.id) === 'detect')
    .map(rule => rule.id)
  return ids.length === 0 ? [] : store.rules.effects(ids, sinceMs).filter(effect => effect.hits > 0)
}

function showChanges(changes: readonly string[], terminal: Terminal): void {
  if (changes.length === 0) terminal.print('The candidate means the same as the policy in force.', '')
  else terminal.print('What changes:', ...changes.map(change => terminal.wrap(change, '  ', '  ')), '')
}

function show(outcome: Replay, sinceMs: number, context: CommandContext): void {
  const { terminal } = context
  const lost = outcome.changes.filter(change => change.kind === 'lost')
  const gained = outcome.changes.filter(change => change.kind === 'gained')
  terminal.print(
    `Replayed ${outcome.rows.toLocaleString('en')} records of ${counted(outcome.sources, 'source')} (${outcome.agents} with agents) of the last ${formatSpan(sinceMs)}.`,
    '',
  )
  const others = lost.filter(change => !change.activeAgent)
  if (outcome.lostAgents > 0) {
    terminal.print(
      terminal.tone('bad', `✗ ${counted(outcome.lostAgents, 'source')} with active agents would be lost:`),
    )
    showTable(
      lost.filter(change => change.activeAgent),
      context,
    )
  } else terminal.print(terminal.tone('good', '✓ no active agent would be lost.'))
  if (others.length > 0) {
    terminal.print('', terminal.tone('warn', `${counted(others.length, 'other change')} for the worse:`))
    showTable(others, context)
  }
  if (gained.length > 0) {
    terminal.print(
      '',
      `${counted(gained.length, 'source')} would be let in that ${gained.length === 1 ? 'is' : 'are'} refused now:`,
    )
    showTable(gained, context)
  }
  if (outcome.unknownRows > 0) {
    terminal.print(
      '',
      `${outcome.unknownRows} records name no source (a flood beyond the limits of the ledger) and could not be judged.`,
    )
  }
  if (lost.some(change => change.uncertain)) {
    terminal.print(
      '',
      'Keys are not recorded: clients that carry one already would still be let in where the reason is class-key.',
    )
  }
}

function showTable(changes: readonly Change[], { terminal, nowMs }: CommandContext): void {
  terminal.print(
    terminal.table(
      changes
        .slice(0, SHOWN)
        .map(change => [
          change.site ?? '-',
          change.address,
          change.class ?? '-',
          formatAgo(change.lastMs, nowMs()),
          `${change.reason}: ${change.saw} (${formatSourceLine(change.line)})`,
        ]),
      '  ',
    ),
  )
  if (changes.length > SHOWN) terminal.print(`  and ${changes.length - SHOWN} more: see --json`)
}

function showRules(effects: readonly RuleEffect[], terminal: Terminal): void {
  for (const effect of effects) {
    const tone = effect.knownAgents > 0 ? 'bad' : 'warn'
    terminal.print(
      '',
      terminal.tone(
        tone,
        `Rule ${effect.ruleId} would be enforced: it would have refused ${counted(effect.hits, 'request')} of ${counted(effect.sourceCount, 'source')}, ${effect.knownAgents} of them known agents.`,
      ),
      `  See them: portcullis rules preview ${effect.ruleId}`,
    )
  }
}
