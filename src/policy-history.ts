// The history of the running gate: writes down each policy that comes into force and puts an older one back.
import { relative } from 'node:path'
import { policyFiles } from './config/files.ts'
import { POLICY_FILE } from './config/load.ts'
import {
  claimVersion,
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

/** A command asks for what it has written; later than this, it was somebody else's change. */
const CLAIM_MS = 10_000

function isClaim(
  { atMs }: PolicyVersion,
  about: { readonly atMs: number; readonly who: string; readonly why: string },
) {
  return about.who !== 'file' && about.why !== '' && about.atMs - atMs <= CLAIM_MS
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
        const [earlier = null, before = null] = [null, null, ...listVersions(stateDir)].slice(-2)
        // The watcher of the files may have been faster than the command that wrote them.
        if (before?.id === snapshot.id && before.who === 'file' && isClaim(before, about))
          return { version: claimVersion(stateDir, before, about), previous: earlier }
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
