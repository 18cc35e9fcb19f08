// What `trial` says and does about stages on trial: whom their end would lose and what helps, and the end itself.
import { loadPolicy, POLICY_FILE } from '../config/load.ts'
import { formatLastDay } from '../config/scalars.ts'
import { removeKey } from '../config/remove-key.ts'
import { trialText } from '../config/describe.ts'
import { renderProblem } from '../config/problems.ts'
import type { Fix } from '../diagnose/fix.ts'
import { fixOfTried } from '../diagnose/on-trial.ts'
import { endOfTrial, lossWords, withoutTrials, type TrialEnd, type TrialLoss } from '../plan/trial-end.ts'
import { makeDraft, putInForce } from '../policy-change.ts'
import { PortcullisError } from '../policy/error.ts'
import type { Snapshot } from '../policy/snapshot.ts'
import { liveTrials } from '../policy/trial.ts'
import { usageError, type CommandArguments, type CommandContext } from './command.ts'
import { counted, formatAgo } from './format.ts'
import { commandOptions, reloadOf, requirePolicy } from './gate-access.ts'
import { makePlan } from './make-plan.ts'
import { guardOf, guardSentence, maxLossOf, refuseLoss, sayRefused } from './put-in-force.ts'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Terminal } from './terminal.ts'

const SHOWN = 12

/** A loss with what helps. */
export type FixedLoss = TrialLoss & { readonly fix: Fix | null }

/** The end of the trials with fixes; null: nothing is on trial. */
export type TrialEnding = Omit<TrialEnd, 'losses'> & { readonly losses: readonly FixedLoss[] }

/** Replays the recorded traffic through the policy without its trials. */
export async function readTrialEnd(
  snapshot: Snapshot,
  args: CommandArguments,
  context: CommandContext,
): Promise<TrialEnding | null> {
  const trials = liveTrials(snapshot, context.nowMs())
  if (trials.length === 0) return null
  const { replay } = await makePlan(snapshot, withoutTrials(snapshot), args, context)
  if (replay === null) return null
  const { losses, ...rest } = endOfTrial(trials, replay)
  return { ...rest, losses: losses.map(loss => ({ ...loss, fix: fixOf(loss, snapshot, args, context) })) }
}

function fixOf(
  { site, addresses, reason, classes, country, tls }: TrialLoss,
  snapshot: Snapshot,
  args: CommandArguments,
  { nowMs }: CommandContext,
): Fix | null {
  if (reason === 'listener-gone') return null
  return fixOfTried({
    context: {
      address: addresses[0] ?? '',
      site: snapshot.sites.find(({ id }) => id === site) ?? null,
      commandOptions: commandOptions(args),
      nowMs: nowMs(),
    },
    reason,
    classes,
    country,
    tls,
    product: snapshot.names[0]?.profile.id ?? '',
  })
}

/** Shows whom the end of the trials loses, and what to do before. */
export function showTrialEnd(
  { endsMs, stages, losses, lostAgents, lostSites }: TrialEnding,
  context: CommandContext,
): void {
  const { terminal, nowMs } = context
  terminal.print(
    '',
    `On trial until ${formatLastDay(endsMs)} (${formatAgo(endsMs, nowMs())}): ${stages.join(', ')}.`,
  )
  if (losses.length > 0) {
    const head = [
      'site',
      'addresses',
      'class',
      'agents active',
      'agents gone',
      'last',
      'would be refused because',
    ]
    const rows = losses
      .slice(0, SHOWN)
      .map(loss => [
        loss.site ?? '-',
        loss.addresses.length === 1
          ? (loss.addresses[0] ?? '')
          : `${loss.addresses.length} (${loss.addresses[0] ?? ''} ...)`,
        loss.classes.join(', ') || '-',
        loss.active === 0 ? '0' : terminal.tone('bad', String(loss.active)),
        String(loss.gone),
        formatAgo(loss.lastMs, nowMs()),
        lossWords(loss),
      ])
    terminal.print(terminal.table([head.map(word => terminal.tone('dim', word)), ...rows], '  '))
    if (losses.length > SHOWN) terminal.print(`  and ${losses.length - SHOWN} more: see --json`)
    for (const loss of losses.slice(0, SHOWN)) if (loss.active > 0) showFix(loss, terminal)
  }
  if (losses.some(({ site, active }) => site === null && active > 0))
    terminal.print(
      '',
      terminal.tone('warn', 'Addresses without a site may be anybody who asks what agents ask:'),
      '  record only those that you know. bin/diagnose <address> shows what they do.',
    )
  const places = counted(lostSites, 'site')
  terminal.print(
    '',
    lostAgents > 0
      ? terminal.tone(
          'bad',
          `✗ Ending the trial now loses ${counted(lostAgents, 'source')} with active agents at ${places}. By itself it ends after ${formatLastDay(endsMs)}.`,
        )
      : terminal.tone('good', '✓ Ending the trial now loses no active agent.'),
    ...(lostAgents > 0 ? [] : ['  Next: portcullis trial end --reason "nobody is lost"']),
  )
}

function showFix({ site, addresses, fix }: FixedLoss, terminal: Terminal): void {
  if (fix === null) return
  terminal.print(
    '',
    terminal.tone('strong', `What ${site === null ? (addresses[0] ?? '') : `site ${site}`} needs`),
    ...fix.steps.map(step => `  ${step}`),
  )
  for (const line of fix.yaml?.trimEnd().split('\n') ?? [])
    terminal.print(`    ${terminal.tone('accent', line)}`)
}

/** Takes the trials out of the policy file and puts that in force, as `apply` would. */
export async function endTrial(args: CommandArguments, context: CommandContext): Promise<number> {
  const { terminal } = context
  const reason = args.text('reason')?.trim() ?? ''
  if (reason === '')
    throw usageError(
      'trial end needs a reason',
      'For example: portcullis trial end --reason "two quiet weeks"',
    )
  const maxLoss = maxLossOf(args)
  const guard = guardOf(args)
  const { snapshot } = requirePolicy(args, context)
  if (snapshot.trials.length === 0) {
    if (args.flag('json')) terminal.json({ ended: [], gate: null, guard: null })
    else terminal.print('Nothing is on trial: the policy enforces everything.')
    return 0
  }
  const { policy, state } = snapshot.directories
  const edit = removeKey(POLICY_FILE, readFileSync(join(policy, POLICY_FILE), 'utf8'), 'trial')
  if (!edit.ok)
    throw new PortcullisError(`the policy was not changed: ${edit.problem}`, {
      code: 'policy-edit',
      side: 'configuration',
      remedy: 'Remove the block trial by hand; then: portcullis reload',
    })
  const draft = makeDraft(policy, { text: edit.text })
  try {
    const { directory } = draft
    const nowMs = context.nowMs()
    const loaded = loadPolicy({ directory, label: 'policies', nowMs, meantFor: policy, stateDir: state })
    if (!loaded.ok) throw new Error(loaded.problems.map(renderProblem).join('\n\n'))
    const plan = await makePlan(snapshot, loaded.snapshot, args, context)
    refuseLoss(
      plan,
      args.flag('accept-loss') ? Infinity : maxLoss,
      lost => `See whom, and what helps: portcullis trial report. If that is meant: --max-loss ${lost}.`,
    )
    const wanted = { who: context.user, why: reason, ...(guard === null ? {} : { guard }) }
    const result = await putInForce(draft, wanted, reloadOf(snapshot))
    if (args.flag('json')) {
      terminal.json({ ended: snapshot.trials.map(trialText), gate: result ?? null, guard })
      return result?.ok === false ? 1 : 0
    }
    if (result?.ok === false) return sayRefused(result, terminal)
    terminal.print(
      terminal.tone('good', `✓ The trial has ended: ${snapshot.trials.map(trialText).join('; ')}.`),
    )
    if (result === undefined)
      terminal.print('No gate runs with this policy; it is in force from the next start on, without a guard.')
    else {
      if (guard !== null && result.guarded) terminal.print(guardSentence(guard))
      if (result.version !== null) terminal.print(`Take it back: portcullis rollback ${result.version - 1}`)
    }
    return 0
  } finally {
    draft.remove()
  }
}
