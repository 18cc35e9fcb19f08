// portcullis plan: replays recorded traffic through a candidate policy and says who would be lost or gained, before it happens.
import { resolve } from 'node:path'
import { loadPolicy } from '../../config/load.ts'
import { renderProblem } from '../../config/problems.ts'
import { trialText } from '../../config/describe.ts'
import type { RuleEffect } from '../../journal/store-rules.ts'
import type { Change, Replay } from '../../plan/replay.ts'
import type { Snapshot } from '../../policy/snapshot.ts'
import { formatSourceLine } from '../../policy/source-line.ts'
import { liveTrials } from '../../policy/trial.ts'
import { usageError, type Command, type CommandContext } from '../command.ts'
import { counted, formatAgo, formatSpan } from '../format.ts'
import { requirePolicy, shownDirectory } from '../gate-access.ts'
import { makePlan, spanOf } from '../make-plan.ts'
import type { Terminal } from '../terminal.ts'

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
    spanOf(args)
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
      meantFor: current.directories.policy,
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
    const plan = await makePlan(current, candidate.snapshot, args, context)
    if (args.flag('json')) terminal.json({ ok: true, ...plan })
    else {
      showChanges(plan.changes, terminal)
      if (plan.replay === null) {
        const { state } = current.directories
        const words = `Nothing has been recorded yet in ${state}: who would be lost cannot be said.`
        terminal.print(terminal.tone('warn', words))
      } else show(plan.replay, spanOf(args), context)
      showRules(plan.rules, terminal)
      showTrials(candidate.snapshot, context)
    }
    const lostByRules = plan.rules.some(effect => effect.knownAgents > 0)
    return (plan.replay?.lostAgents ?? 0) > 0 || lostByRules ? LOST : 0
  },
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

/** What is on trial loses nobody yet: said, so that nobody takes it for harmless. */
function showTrials(candidate: Snapshot, { terminal, nowMs }: CommandContext): void {
  for (const trial of liveTrials(candidate, nowMs()))
    terminal.print(
      '',
      terminal.tone('warn', `On trial in the candidate: ${trialText(trial)}.`),
      '  What these stages refuse is not counted above. Once it is in force: portcullis trial report',
    )
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
