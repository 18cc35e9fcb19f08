// portcullis allow --from: one recorded refusal in, the narrowest exception that ends by itself out, in the policy file.
import { exceptionForEvent, lastDay, MAX_EXCEPTION_DAYS } from '../exception-request.ts'
import type { TrafficClass } from '../policy/classes.ts'
import { PortcullisError } from '../policy/error.ts'
import { parseReference } from '../journal/reference.ts'
import type { StoredEvent } from '../journal/store-events.ts'
import type { Snapshot } from '../policy/snapshot.ts'
import { preparePolicyChange } from './change-policy.ts'
import { usageError, type CommandArguments, type CommandContext } from './command.ts'
import { parseDuration } from './format.ts'
import { askGate, openStore, requirePolicy } from './gate-access.ts'
import { shownDiff } from './line-diff.ts'
import { GUARD_OPTIONS, guardOf, sayRefused } from './put-in-force.ts'

const DAY_MS = 86_400_000

/** Options that only `--from` understands. */
export const FROM_OPTIONS = {
  from: {
    type: 'string',
    value: '<reference>',
    help: 'write the narrowest exception for this refusal into the policy, comments kept; a diff is shown first',
  },
  'dry-run': { type: 'boolean', help: 'with --from: show the change and what it does, change nothing' },
  'even-virtual-patch': {
    type: 'boolean',
    help: 'with --from: except from a rule that closes a published hole, too',
  },
  ...GUARD_OPTIONS,
} as const

/** Runs `allow --from`. */
export async function allowFrom(
  classes: readonly TrafficClass[] | null,
  args: CommandArguments,
  context: CommandContext,
): Promise<number> {
  const { terminal } = context
  const reference = referenceOf(args)
  const reason = args.text('reason')?.trim() ?? ''
  if (reason === '')
    throw usageError(
      'allow needs a reason',
      'Add --reason "...": whoever meets this exception later must know why.',
    )
  if (args.positionals.length > 0)
    throw usageError('allow takes an address or --from, not both', 'The reference knows the address.')
  const guard = guardOf(args)
  const { snapshot } = requirePolicy(args, context)
  await askGate(snapshot, 'POST', '/v1/flush')
  const owner = args.text('owner') ?? context.user
  const nowMs = context.nowMs()
  const result = exceptionForEvent(eventOf(reference, snapshot), snapshot, {
    reason,
    owner,
    expires: lastDayOf(args.text('for') ?? '7d', nowMs),
    classes,
    evenVirtualPatch: args.flag('even-virtual-patch'),
    nowMs,
  })
  if (!result.ok) {
    const { code, problem, remedy } = result
    throw new PortcullisError(problem, { code, side: 'configuration', remedy })
  }
  const change = await preparePolicyChange(snapshot, result.yaml, args, context)
  const { before, after, changes } = change
  const isDry = args.flag('dry-run')
  const json = args.flag('json')
  if (before === after) {
    change.close()
    if (json) terminal.json({ applied: false, already: true, yaml: result.yaml })
    else terminal.print('The policy says this already. Is the running gate on this policy? portcullis status')
    return 0
  }
  if (!json) {
    terminal.print(...shownDiff(before, after, terminal), '')
    terminal.print(terminal.wrap(result.opens), terminal.wrap(terminal.tone('dim', result.stays)), '')
  }
  const wanted = {
    who: owner,
    why: `allow --from ${reference}: ${reason}`,
    ...(guard === null ? {} : { guard }),
  }
  const gate = await (isDry ? Promise.resolve(undefined) : change.commit(wanted)).finally(change.close)
  if (json) {
    terminal.json({
      applied: !isDry,
      already: false,
      yaml: result.yaml,
      changes,
      opens: result.opens,
      gate: gate ?? null,
    })
  } else if (isDry) terminal.print(terminal.tone('warn', 'Nothing was changed (--dry-run).'))
  else if (gate === undefined)
    terminal.print(
      terminal.tone(
        'warn',
        'The file is changed. No gate runs with this policy; it holds from the next start.',
      ),
    )
  else if (gate.ok)
    terminal.print(
      terminal.tone('good', `✓ In force${gate.version === null ? '' : ` as version ${gate.version}`}.`),
    )
  else return sayRefused(gate, terminal)
  return gate?.ok === false ? 1 : 0
}

function referenceOf(args: CommandArguments): string {
  const text = args.text('from') ?? ''
  const reference = parseReference(text)
  if (reference !== undefined) return reference
  throw usageError(
    `"${text}" is not a reference`,
    'References look like P7F3-K9QX-M2A: refusal pages, events and diagnoses show them.',
  )
}

/** The last day, in UTC. Policies count in days. */
function lastDayOf(text: string, nowMs: number): string {
  const spanMs = parseDuration(text)
  if (spanMs === undefined || spanMs === 0)
    throw usageError(`"${text}" is not a time`, 'Write 7d, 30d or 2w.')
  if (spanMs < DAY_MS) {
    throw usageError(
      'an exception in the policy lasts at least a day',
      `For less: portcullis allow <address> --for ${text} --reason "..."`,
    )
  }
  if (spanMs > MAX_EXCEPTION_DAYS * DAY_MS)
    throw usageError(
      `an exception lasts at most ${MAX_EXCEPTION_DAYS} days`,
      'It can be renewed when it is about to end.',
    )
  return lastDay(spanMs, nowMs)
}

function eventOf(reference: string, snapshot: Snapshot): StoredEvent {
  const store = openStore(snapshot)
  try {
    const event = store?.events.byReference(reference)[0]
    if (event !== undefined) return event
  } finally {
    store?.close()
  }
  throw new PortcullisError(`nothing is recorded under ${reference}`, {
    code: 'no-reference',
    side: 'configuration',
    remedy: `Events are kept for ${snapshot.journal.eventDays} days. Is this the gate that the client reached?`,
  })
}
