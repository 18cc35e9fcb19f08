// portcullis apply: puts a candidate policy in force, unless it would lose active agents; the guard watches what follows.
import { relative, resolve } from 'node:path'
import type { ReloadResult } from '../../admin/reload-result.ts'
import { policyFiles } from '../../config/files.ts'
import { loadPolicy, POLICY_FILE } from '../../config/load.ts'
import { renderProblem } from '../../config/problems.ts'
import { replacePolicyFiles } from '../../plan/history.ts'
import { PortcullisError } from '../../policy/error.ts'
import { usageError, type Command, type CommandArguments, type CommandContext } from '../command.ts'
import { counted, formatSpan, parseDuration } from '../format.ts'
import { askGate, requirePolicy, shownDirectory } from '../gate-access.ts'
import { makePlan } from '../make-plan.ts'

const DEFAULT_GUARD = '30m'
const WINDOWS = 3

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
    since: {
      type: 'string',
      value: '<time>',
      help: 'how much recorded traffic the plan replays (default: 7d)',
    },
    'max-loss': {
      type: 'string',
      value: '<count>',
      help: 'sources with active agents that may be lost (default: 0)',
    },
    'accept-loss': { type: 'boolean', help: 'apply whatever the plan says; the guard still watches' },
    guard: {
      type: 'string',
      value: '<time>',
      help: `how long the guard watches (default: ${DEFAULT_GUARD})`,
    },
    'no-guard': { type: 'boolean', help: 'do not take the policy back by itself' },
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
    const maxLoss = Number(args.text('max-loss') ?? 0)
    if (!Number.isInteger(maxLoss) || maxLoss < 0)
      throw usageError('--max-loss is a whole number', 'For example --max-loss 2.')
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
    const lost = plan.replay?.lostAgents ?? 0
    if (lost > maxLoss && !args.flag('accept-loss')) {
      throw new PortcullisError(
        `${counted(lost, 'source')} with active agents would be lost; nothing was changed`,
        {
          code: 'would-lose-agents',
          side: 'configuration',
          remedy: `See whom: portcullis plan ${directory}. If that is meant: --max-loss ${lost}, or --accept-loss.`,
        },
      )
    }
    const target = current.directories.policy
    replacePolicyFiles(
      target,
      from,
      candidate.snapshot.files.map(path => relative(from, path)).filter(path => !path.startsWith('..')),
      policyFiles(target, POLICY_FILE).map(path => relative(target, path)),
    )
    const result = (await askGate(current, 'POST', '/v1/reload', {
      who: context.user,
      why: reason,
      ...(guard === null ? {} : { guard }),
    })) as ReloadResult | undefined
    return report(result, guard, plan.changes, args, context)
  },
}

type Guard = { readonly windowMs: number; readonly windows: number }

function guardOf(args: CommandArguments): Guard | null {
  if (args.flag('no-guard')) return null
  const text = args.text('guard') ?? DEFAULT_GUARD
  const spanMs = parseDuration(text)
  if (spanMs === undefined || spanMs < WINDOWS * 1_000 || spanMs > 86_400_000)
    throw usageError(`"${text}" is not a time that the guard can watch`, 'Write 30m, 2h or 1d.')
  return { windowMs: Math.floor(spanMs / WINDOWS), windows: WINDOWS }
}

function report(
  result: ReloadResult | undefined,
  guard: Guard | null,
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
  if (!result.ok) {
    terminal.complain(
      ...result.problems,
      '',
      terminal.tone('bad', '✗ The gate did not take the policy and keeps the one it has.'),
    )
    return 1
  }
  for (const change of result.changes) terminal.print(terminal.wrap(change, '  ', '  '))
  const version = result.version === null ? 'In force' : `In force as version ${result.version}`
  terminal.print(terminal.tone('good', `✓ ${version}.`))
  if (guard !== null && result.version !== null) {
    terminal.print(
      `For ${formatSpan(guard.windowMs * guard.windows)} the guard compares the agents that check in with the hour before, and takes the policy back by itself when they stop coming or known ones are refused.`,
    )
  }
  if (result.version !== null) terminal.print(`Take it back: portcullis rollback ${result.version - 1}`)
  return 0
}
