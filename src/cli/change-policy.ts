// Changes the policy file as `apply` would: merged with comments kept, checked, planned against recorded traffic, shown, put in force.
import type { ReloadOptions, ReloadResult } from '../admin/reload-result.ts'
import { loadPolicy, POLICY_FILE } from '../config/load.ts'
import { renderProblem } from '../config/problems.ts'
import { draftFiles, makeDraft, putInForce } from '../policy-change.ts'
import { PortcullisError } from '../policy/error.ts'
import type { Snapshot } from '../policy/snapshot.ts'
import type { CommandArguments, CommandContext } from './command.ts'
import { reloadOf } from './gate-access.ts'
import { makePlan } from './make-plan.ts'
import { refuseLoss } from './put-in-force.ts'

/** A change that was checked and not yet made. */
export type PolicyChange = {
  readonly before: string
  readonly after: string
  /** What it means, in sentences. */
  readonly changes: readonly string[]
  /** Writes the file and has the running gate take it; undefined: no gate runs. */
  readonly commit: (options: ReloadOptions) => Promise<ReloadResult | undefined>
  /** Takes away what was prepared. */
  readonly close: () => void
}

/**
 * Prepares a change.
 * @throws PortcullisError `policy-edit` when the file cannot be edited safely, `policy-invalid` when the result is no policy,
 *   `would-lose-agents` when recorded agents would be lost
 */
export async function preparePolicyChange(
  current: Snapshot,
  patch: string,
  args: CommandArguments,
  context: CommandContext,
): Promise<PolicyChange> {
  const draft = makeDraft(current.directories.policy, { patch })
  try {
    const candidate = loadDraft(current, draft.directory, context)
    const plan = await makePlan(current, candidate, args, context)
    refuseLoss(plan, 0, () => 'An exception should lose nobody: look at the lines with --dry-run.')
    const file = draftFiles(draft).find(({ name }) => name === POLICY_FILE)
    return {
      before: file?.before ?? '',
      after: file?.after ?? '',
      changes: plan.changes,
      commit: options => putInForce(draft, options, reloadOf(current)),
      close: draft.remove,
    }
  } catch (cause) {
    draft.remove()
    throw cause
  }
}

function loadDraft(current: Snapshot, directory: string, context: CommandContext): Snapshot {
  const loaded = loadPolicy({
    directory,
    label: 'policies',
    nowMs: context.nowMs(),
    meantFor: current.directories.policy,
    stateDir: current.directories.state,
  })
  if (loaded.ok) return loaded.snapshot
  throw new PortcullisError(
    `with this change the policy would not be valid\n\n${loaded.problems.map(renderProblem).join('\n\n')}\n`,
    {
      code: 'policy-invalid',
      side: 'configuration',
      remedy: 'Nothing was changed. Correct the policy first: portcullis check',
    },
  )
}
