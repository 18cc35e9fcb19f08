// The history of the running gate: writes down each policy that comes into force and puts an older one back.
import { relative } from 'node:path'
import { policyFiles } from './config/files.ts'
import { POLICY_FILE } from './config/load.ts'
import {
  listVersions,
  recordVersion,
  replacePolicyFiles,
  versionFiles,
  type PolicyVersion,
} from './plan/history.ts'
import type { Snapshot } from './policy/snapshot.ts'

/** What was recorded; null where the disk did not take it. */
export type Recorded = { readonly version: PolicyVersion | null; readonly previous: PolicyVersion | null }

/** The history of one gate. */
export type PolicyHistory = {
  /** Never throws: a full disk must not keep a good policy from coming into force. */
  readonly record: (
    snapshot: Snapshot,
    about: Pick<PolicyVersion, 'atMs' | 'who' | 'why' | 'changes'>,
  ) => Recorded
  /** Makes the policy directory what it was in that version. @throws what the disk throws */
  readonly restore: (version: PolicyVersion) => void
}

/** Opens the history beside the store. */
export function createPolicyHistory(
  stateDir: string,
  policyDir: string,
  onProblem: (where: string, cause: unknown) => void,
): PolicyHistory {
  return {
    record: (snapshot, about) => {
      try {
        const before = listVersions(stateDir).at(-1) ?? null
        const version = recordVersion(stateDir, policyDir, {
          ...about,
          id: snapshot.id,
          paths: snapshot.files,
        })
        return { version, previous: before?.number === version.number ? null : before }
      } catch (cause) {
        onProblem('policy history', cause)
        return { version: null, previous: null }
      }
    },
    restore: version =>
      replacePolicyFiles(
        policyDir,
        versionFiles(stateDir, version.number),
        version.files,
        policyFiles(policyDir, POLICY_FILE).map(path => relative(policyDir, path)),
      ),
  }
}
