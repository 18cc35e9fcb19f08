// portcullis history, diff, rollback: which policies were in force, what changed between two of them, and the way back.
import { resolve } from 'node:path'
import { diffSnapshots } from '../../config/diff.ts'
import { loadPolicy } from '../../config/load.ts'
import { listVersions, versionFiles } from '../../plan/history.ts'
import { makeDraft, putInForce } from '../../policy-change.ts'
import { PortcullisError } from '../../policy/error.ts'
import type { Snapshot } from '../../policy/snapshot.ts'
import { usageError, type Command, type CommandArguments, type CommandContext } from '../command.ts'
import { counted, formatTime, shellWord } from '../format.ts'
import { policyDirectory, reloadOf, requirePolicy } from '../gate-access.ts'
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

export const historyCommand: Command = {
  name: 'history',
  usage: 'history',
  summary: 'Policies that were in force: when, by whom, why, what changed',
  examples: ['portcullis history', 'portcullis history --json'],
  options: {},
  run: (args, context) => {
    const versions = listVersions(stateDirectory(args, context))
    const { terminal } = context
    if (args.flag('json')) terminal.json(versions)
    else if (versions.length === 0) terminal.print('No gate has run with this policy yet.')
    for (const version of args.flag('json') ? [] : versions) {
      const why = version.why === '' ? '' : `: ${version.why}`
      terminal.print(
        terminal.wrap(
          `${terminal.tone('strong', String(version.number))}  ${formatTime(version.atMs)}  ${version.who}${why}`,
          '',
          '    ',
        ),
      )
      for (const change of version.changes.slice(0, 8)) terminal.print(terminal.wrap(change, '    ', '  '))
      if (version.changes.length > 8)
        terminal.print(`    and ${counted(version.changes.length - 8, 'more change')}`)
    }
    return Promise.resolve(0)
  },
}

export const diffCommand: Command = {
  name: 'diff',
  usage: 'diff <version> [<version>]',
  summary: 'What changed from one version of the policy to another, or to the files as they are now',
  examples: ['portcullis diff 6', 'portcullis diff 6 7'],
  options: {},
  run: (args, context) => {
    const stateDir = stateDirectory(args, context)
    const before = loadVersion(stateDir, numberOf(args.positionals[0]), args, context)
    const second = args.positionals[1]
    const after =
      second === undefined
        ? requirePolicy(args, context).snapshot
        : loadVersion(stateDir, numberOf(second), args, context)
    const changes = diffSnapshots(before, after)
    const { terminal } = context
    if (args.flag('json')) terminal.json(changes)
    else if (changes.length === 0) terminal.print('They mean the same.')
    else terminal.print(...changes.map(change => terminal.wrap(change, '', '  ')))
    return Promise.resolve(0)
  },
}

export const rollbackCommand: Command = {
  name: 'rollback',
  usage: 'rollback <version> [--reason <text>] [--accept-loss] [--guard 30m | --no-guard]',
  summary:
    'Put an older version of the policy in force again, if it loses no active agent; the guard watches',
  examples: ['portcullis rollback 6', 'portcullis rollback 6 --reason "tickets from three sites"'],
  options: {
    reason: { type: 'string', short: 'r', value: '<text>', help: 'why; kept in the history' },
    ...LOSS_OPTIONS,
    'accept-loss': { type: 'boolean', help: 'go back at once, without looking whom it loses' },
    ...GUARD_OPTIONS,
  },
  run: async (args, context) => {
    const number = numberOf(args.positionals[0])
    const maxLoss = maxLossOf(args)
    const guard = guardOf(args)
    const directory = policyDirectory(args, context)
    const stateDir = stateDirectory(args, context)
    const versions = listVersions(stateDir)
    const version = versions.find(entry => entry.number === number)
    const from = versionFiles(stateDir, number)
    if (version === undefined) throw missing(number)
    const old = loadVersion(stateDir, number, args, context)
    if (!args.flag('accept-loss')) {
      // What is in force is the newest version, whatever the files say by now; what cannot be read has nothing to lose.
      const newest = versions.at(-1)?.number ?? number
      const inForce = attempt(() => loadVersion(stateDir, newest, args, context)) ?? old
      refuseLoss(
        await makePlan(inForce, old, args, context),
        maxLoss,
        lost =>
          `See whom: portcullis plan ${shellWord(from)}. If that is meant: --max-loss ${lost}, or --accept-loss.`,
      )
    }
    const wanted = {
      who: context.user,
      why: args.text('reason') ?? `back to version ${number}`,
      ...(guard === null ? {} : { guard }),
    }
    const draft = makeDraft(directory, { directory: from, files: version.files })
    const result = await putInForce(draft, wanted, reloadOf(old)).finally(draft.remove)
    const { terminal } = context
    if (args.flag('json')) {
      terminal.json({ restored: number, gate: result ?? null, guard })
      return result?.ok === false ? 1 : 0
    }
    if (result === undefined) {
      terminal.print(
        terminal.tone(
          'warn',
          `The files of version ${number} are back. No gate runs with this policy; it is in force from the next start on.`,
        ),
      )
      return 0
    }
    if (!result.ok) return sayRefused(result, terminal)
    for (const change of result.changes) terminal.print(terminal.wrap(change, '  ', '  '))
    terminal.print(
      terminal.tone(
        'good',
        `✓ Version ${number} is in force again${result.version === null ? '' : `, as version ${result.version}`}.`,
      ),
    )
    if (guard !== null && result.guarded) terminal.print(guardSentence(guard))
    return 0
  },
}

/** The value; undefined where it cannot be had. */
function attempt<T>(make: () => T): T | undefined {
  try {
    return make()
  } catch {
    return undefined
  }
}

/** The state directory, even when the policy has a mistake: that is when the history is needed most. */
function stateDirectory(args: CommandArguments, context: CommandContext): string {
  const directory = policyDirectory(args, context)
  const loaded = loadPolicy({ directory, nowMs: context.nowMs(), forReading: true })
  if (loaded.ok) return loaded.snapshot.directories.state
  const usual = resolve(directory, '../var')
  if (listVersions(usual).length > 0) return usual
  throw new PortcullisError(
    'the policy has a mistake, and there is no history at the usual place beside it',
    {
      code: 'policy-invalid',
      side: 'configuration',
      remedy: 'portcullis check names the mistake. A running gate still has the last good policy in force.',
    },
  )
}

function loadVersion(
  stateDir: string,
  number: number,
  args: CommandArguments,
  context: CommandContext,
): Snapshot {
  const loaded = loadPolicy({
    directory: versionFiles(stateDir, number),
    meantFor: policyDirectory(args, context),
    label: `version ${number}`,
    nowMs: context.nowMs(),
    stateDir,
  })
  if (loaded.ok) return loaded.snapshot
  throw new PortcullisError(
    `version ${number} of the policy is no longer valid: ${loaded.problems[0]?.message ?? ''}`,
    {
      code: 'policy-invalid',
      side: 'configuration',
      remedy: 'Exceptions in it may have ended. Take an earlier one, or correct the files by hand.',
    },
  )
}

function numberOf(text: string | undefined): number {
  const number = Number(text)
  if (text !== undefined && Number.isInteger(number) && number >= 1) return number
  throw usageError('the number of a version is needed', 'See them: portcullis history')
}

function missing(number: number): PortcullisError {
  return new PortcullisError(`version ${number} of the policy cannot be read`, {
    code: 'no-version',
    side: 'configuration',
    remedy: 'See which there are: portcullis history',
  })
}
