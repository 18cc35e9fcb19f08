// portcullis apply: puts a candidate policy in force, unless it would lose active agents; the guard watches what follows.
import { relative, resolve } from 'node:path'
import type { ReloadResult } from '../../admin/reload-result.ts'
import { loadPolicy } from '../../config/load.ts'
import { renderProblem } from '../../config/problems.ts'
import { makeDraft, putInForce } from '../../policy-change.ts'
import { usageError, type Command, type CommandArguments, type CommandContext } from '../command.ts'
import { counted } from '../format.ts'
import { reloadOf, requirePolicy, shownDirectory } from '../gate-access.ts'
import { makePlan } from '../make-plan.ts'
import {
  GUARD_OPTIONS,
  guardOf,
  guardSentence,
  LOSS_OPTIONS,
  maxLossOf,
  refuseLoss,
  sayRefused,
} from '../put-in-force.ts'

export const applyCommand: Command = {
  name: 'apply',
  usage: 'apply <candidate dir> --reason <text> [--accept-loss] [--guard 30m | --no-guard]',
  summary: 'Put a candidate policy in force, if it loses no active agent; take it back if agents stop coming',
  examples: [
    'portcullis apply candidate --reason "consoles from Canada, ticket 4711"',
    'portcullis apply candidate --reason "site closed" --max-loss 2',
  ],
  options: {
    reason: { type: 'string', short: 'r', value: '<text>', help: 'why; kept in the history (required)' },
    ...LOSS_OPTIONS,
    'accept-loss': { type: 'boolean', help: 'apply whatever the plan says; the guard still watches' },
    ...GUARD_OPTIONS,
  },
  run: async (args, context) => {
    const { terminal } = context
    const directory = args.positionals[0]
    const reason = args.text('reason')?.trim()
    if (directory === undefined || reason === undefined || reason === '') {
      throw usageError(
        'apply needs the directory of a candidate policy and --reason',
        'For example: portcullis apply candidate --reason "consoles from Canada"',
      )
    }
    const maxLoss = maxLossOf(args)
    const guard = guardOf(args)
    const { snapshot: current } = requirePolicy(args, context)
    const from = resolve(context.cwd, directory)
    const candidate = loadPolicy({
      directory: from,
      label: shownDirectory(from, context.cwd),
      nowMs: context.nowMs(),
      meantFor: current.directories.policy,
      stateDir: current.directories.state,
    })
    if (!candidate.ok) {
      for (const problem of candidate.problems) terminal.complain(renderProblem(problem), '')
      terminal.complain(
        terminal.tone(
          'bad',
          `✗ the candidate has ${counted(candidate.problems.length, 'problem')}; nothing was changed`,
        ),
      )
      return 1
    }
    const plan = await makePlan(current, candidate.snapshot, args, context)
    if (!args.flag('accept-loss')) {
      refuseLoss(
        plan,
        maxLoss,
        lost =>
          `See whom: portcullis plan ${directory}. If that is meant: --max-loss ${lost}, or --accept-loss.`,
      )
    }
    const files = candidate.snapshot.files
      .map(path => relative(from, path))
      .filter(path => !path.startsWith('..'))
    const draft = makeDraft(current.directories.policy, { directory: from, files })
    const wanted = { who: context.user, why: reason, ...(guard === null ? {} : { guard }) }
    const result = await putInForce(draft, wanted, reloadOf(current)).finally(draft.remove)
    return report(result, guard, plan.changes, args, context)
  },
}

function report(
  result: ReloadResult | undefined,
  guard: ReturnType<typeof guardOf>,
  changes: readonly string[],
  args: CommandArguments,
  { terminal }: CommandContext,
): number {
  if (args.flag('json')) {
    terminal.json({ applied: true, changes, gate: result ?? null, guard })
    return result?.ok === false ? 1 : 0
  }
  if (result === undefined) {
    terminal.print(
      terminal.tone(
        'warn',
        'The files are in place. No gate runs with this policy; it is in force from the next start on, without a guard.',
      ),
    )
    return 0
  }
  if (!result.ok) return sayRefused(result, terminal)
  for (const change of result.changes) terminal.print(terminal.wrap(change, '  ', '  '))
  const version = result.version === null ? 'In force' : `In force as version ${result.version}`
  terminal.print(terminal.tone('good', `✓ ${version}.`))
  if (guard !== null && result.guarded) terminal.print(guardSentence(guard))
  if (result.version !== null) terminal.print(`Take it back: portcullis rollback ${result.version - 1}`)
  return 0
}
