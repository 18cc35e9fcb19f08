// What every command that changes the policy has in common: how much may be lost, how long the guard watches, and what is said afterwards.
import type { ReloadOptions, ReloadResult } from '../admin/reload-result.ts'
import { guardOver, DEFAULT_GUARD_MS } from '../guard-span.ts'
import { PortcullisError } from '../policy/error.ts'
import { usageError, type CommandArguments } from './command.ts'
import { counted, formatSpan, parseDuration } from './format.ts'
import type { Plan } from './make-plan.ts'
import type { Terminal } from './terminal.ts'

/** Options of the guard. */
export const GUARD_OPTIONS = {
  guard: {
    type: 'string',
    value: '<time>',
    help: `how long the guard watches (default: ${DEFAULT_GUARD_MS / 60_000}m)`,
  },
  'no-guard': { type: 'boolean', help: 'do not take the policy back by itself' },
} as const

/** Options of what may be lost. */
export const LOSS_OPTIONS = {
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
} as const

type Guard = NonNullable<ReloadOptions['guard']>

/** The guard that was asked for; null: none. @throws PortcullisError `usage` */
export function guardOf(args: CommandArguments): Guard | null {
  if (args.flag('no-guard')) return null
  const text = args.text('guard')
  const spanMs = text === undefined ? DEFAULT_GUARD_MS : parseDuration(text)
  const guard = spanMs === undefined ? null : guardOver(spanMs)
  if (guard === null)
    throw usageError(`"${text}" is not a time that the guard can watch`, 'Write 30m, 2h or 1d.')
  return guard
}

/** How many sources may be lost. @throws PortcullisError `usage` */
export function maxLossOf(args: CommandArguments): number {
  const maxLoss = Number(args.text('max-loss') ?? 0)
  if (!Number.isInteger(maxLoss) || maxLoss < 0)
    throw usageError('--max-loss is a whole number', 'For example --max-loss 2.')
  return maxLoss
}

/** Refuses what would lose more active agents than meant. @throws PortcullisError `would-lose-agents` */
export function refuseLoss({ replay }: Plan, maxLoss: number, remedy: (lost: number) => string): void {
  const lost = replay?.lostAgents ?? 0
  if (lost <= maxLoss) return
  throw new PortcullisError(
    `${counted(lost, 'source')} with active agents would be lost; nothing was changed`,
    { code: 'would-lose-agents', side: 'configuration', remedy: remedy(lost) },
  )
}

/** What the guard does from now on, in a sentence. */
export function guardSentence({ windowMs, windows }: Guard): string {
  return `For ${formatSpan(windowMs * windows)} the guard compares the agents that check in with the hour before, and takes the policy back by itself when they stop coming or known ones are refused.`
}

/** Says why the gate did not take a policy. Returns the exit code. */
export function sayRefused({ problems }: Extract<ReloadResult, { ok: false }>, terminal: Terminal): number {
  terminal.complain(
    ...problems,
    '',
    terminal.tone(
      'bad',
      '✗ The gate did not take the policy and keeps the one it has; the files are as they were.',
    ),
  )
  return 1
}
