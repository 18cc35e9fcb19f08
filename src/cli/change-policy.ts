// Changes the policy file as `apply` would: merged with comments kept, checked, planned against recorded traffic, shown, put in force.
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, relative } from 'node:path'
import type { ReloadResult } from '../admin/reload-result.ts'
import { mergePatch } from '../config/edit-policy.ts'
import { policyFiles } from '../config/files.ts'
import { loadPolicy, POLICY_FILE } from '../config/load.ts'
import { renderProblem } from '../config/problems.ts'
import { decodeText } from '../config/read.ts'
import { PortcullisError } from '../policy/error.ts'
import type { Snapshot } from '../policy/snapshot.ts'
import type { CommandArguments, CommandContext } from './command.ts'
import { counted } from './format.ts'
import { askGate } from './gate-access.ts'
import { makePlan } from './make-plan.ts'

/** A change that was checked and not yet made. */
export type PolicyChange = {
  readonly before: string
  readonly after: string
  /** What it means, in sentences. */
  readonly changes: readonly string[]
  /** Writes the file and has the running gate take it; undefined: no gate runs. */
  readonly commit: (who: string, why: string) => Promise<ReloadResult | undefined>
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
  const directory = current.directories.policy
  const file = join(directory, POLICY_FILE)
  const bytes = readFileSync(file)
  const decoded = decodeText(bytes)
  if ('problem' in decoded) throw editError(decoded.problem)
  const before = decoded.text
  const edit = mergePatch(POLICY_FILE, before, patch)
  if (!edit.ok) throw editError(edit.problem)
  const candidate = loadEdited(current, edit.text, context)
  const plan = await makePlan(current, candidate, args, context)
  const lost = plan.replay?.lostAgents ?? 0
  if (lost > 0) {
    throw new PortcullisError(
      `${counted(lost, 'source')} with active agents would be lost; nothing was changed`,
      {
        code: 'would-lose-agents',
        side: 'configuration',
        remedy: 'An exception should lose nobody: look at the lines with --dry-run.',
      },
    )
  }
  return {
    before,
    after: edit.text,
    changes: plan.changes,
    commit: async (who, why) => {
      if (!readFileSync(file).equals(bytes))
        throw editError('the file was changed by somebody else meanwhile: try again')
      writeInPlace(file, edit.text)
      return (await askGate(current, 'POST', '/v1/reload', { who, why })) as ReloadResult | undefined
    },
  }
}

function editError(problem: string): PortcullisError {
  return new PortcullisError(`the policy file was not changed: ${problem}`, {
    code: 'policy-edit',
    side: 'configuration',
    remedy: 'Add the lines by hand: --dry-run prints them.',
  })
}

/** Loads the policy as it would be, from a copy: the file in use stays until everything is known to be right. */
function loadEdited(current: Snapshot, text: string, context: CommandContext): Snapshot {
  const directory = current.directories.policy
  const copy = mkdtempSync(join(tmpdir(), 'portcullis-change-'))
  try {
    for (const path of policyFiles(directory, POLICY_FILE)) {
      const target = join(copy, relative(directory, path))
      mkdirSync(dirname(target), { recursive: true })
      cpSync(path, target)
    }
    writeFileSync(join(copy, POLICY_FILE), text)
    const loaded = loadPolicy({
      directory: copy,
      label: 'policies',
      nowMs: context.nowMs(),
      meantFor: directory,
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
  } finally {
    rmSync(copy, { recursive: true, force: true })
  }
}

/** Replaces a file as a whole: nobody reads half of it. Its mode stays, and so does a link that leads to it. */
function writeInPlace(file: string, text: string): void {
  const real = realpathSync(file)
  const { mode } = statSync(real)
  const next = `${real}.new`
  writeFileSync(next, text, { mode: mode & 0o777 })
  renameSync(next, real)
}
