// How commands reach things: the policy in its directory, the store beside the gate, and the running gate itself.
import { existsSync } from 'node:fs'
import { join, relative, resolve } from 'node:path'
import { callAdmin, type AdminTarget } from '../admin/client.ts'
import type { ReloadOptions, ReloadResult } from '../admin/reload-result.ts'
import { loadPolicy } from '../config/load.ts'
import { renderProblem, type Problem } from '../config/problems.ts'
import { openStoreReader, type StoreReader } from '../journal/store-core.ts'
import { storeFile } from '../journal/store-file.ts'
import { listVersions, versionFiles } from '../plan/history.ts'
import { PortcullisError } from '../policy/error.ts'
import type { Snapshot } from '../policy/snapshot.ts'
import type { CommandArguments, CommandContext } from './command.ts'
import { shellWord } from './format.ts'

/** The policy directory that a command works on: `--policy`, else PORTCULLIS_POLICY, else policies/ of the checkout. */
export function policyDirectory(args: CommandArguments, context: CommandContext): string {
  const given = args.text('policy') ?? context.env['PORTCULLIS_POLICY']
  return given === undefined ? join(context.root, 'policies') : resolve(context.cwd, given)
}

/** What a suggested command needs besides, so that it works on the same policy: empty, or ` --policy <dir>`. */
export function commandOptions(args: CommandArguments): string {
  const given = args.text('policy')
  return given === undefined ? '' : ` --policy ${shellWord(given)}`
}

/** A policy that could be loaded, with its warnings. */
export type LoadedPolicy = { readonly snapshot: Snapshot; readonly warnings: readonly Problem[] }

/** Loads the policy to look something up in it. @throws PortcullisError `policy-invalid` with every problem in its message */
export function requirePolicy(args: CommandArguments, context: CommandContext): LoadedPolicy {
  const directory = policyDirectory(args, context)
  const result = loadPolicy({
    directory,
    label: shownDirectory(directory, context.cwd),
    nowMs: context.nowMs(),
    forReading: true,
  })
  if (result.ok) return result
  throw new PortcullisError(
    `the policy in ${directory} has ${result.problems.length === 1 ? 'a problem' : `${result.problems.length} problems`}\n\n${result.problems.map(renderProblem).join('\n\n')}\n`,
    {
      code: 'policy-invalid',
      side: 'configuration',
      remedy: 'Correct the lines above; `portcullis check` says when it is right.',
    },
  )
}

/**
 * The policy of the files, or, when they have a mistake, the one that was last in force: a running gate is still reached by it.
 * @throws PortcullisError `policy-invalid` when there is neither
 */
export function lastGoodPolicy(args: CommandArguments, context: CommandContext): Snapshot {
  const meantFor = policyDirectory(args, context)
  const nowMs = context.nowMs()
  const loaded = loadPolicy({ directory: meantFor, nowMs })
  if (loaded.ok) return loaded.snapshot
  const stateDir = resolve(meantFor, '../var')
  const newest = listVersions(stateDir).at(-1)
  if (newest !== undefined) {
    const directory = versionFiles(stateDir, newest.number)
    const last = loadPolicy({ directory, meantFor, stateDir, nowMs })
    if (last.ok) return last.snapshot
  }
  return requirePolicy(args, context).snapshot
}

/** The admin address of the gate that runs with this policy. */
function adminTarget(snapshot: Snapshot): AdminTarget {
  return { endpoint: snapshot.admin.endpoint, stateDir: snapshot.directories.state }
}

/** Calls the running gate; undefined when none runs. */
export function askGate(
  snapshot: Snapshot,
  method: 'GET' | 'POST' | 'DELETE',
  path: string,
  body?: unknown,
): Promise<unknown> {
  return callAdmin(adminTarget(snapshot), method, path, body)
}

/** Has the running gate take the policy files as they are; undefined when none runs. */
export function reloadOf(snapshot: Snapshot): (options: ReloadOptions) => Promise<ReloadResult | undefined> {
  return async options => (await askGate(snapshot, 'POST', '/v1/reload', options)) as ReloadResult | undefined
}

/** Calls the running gate. @throws PortcullisError `not-running` */
export async function requireGate(
  snapshot: Snapshot,
  method: 'GET' | 'POST' | 'DELETE',
  path: string,
  body?: unknown,
): Promise<unknown> {
  const answer = await askGate(snapshot, method, path, body)
  if (answer !== undefined) return answer
  const { host, port } = snapshot.admin.endpoint
  throw new PortcullisError(`no gate runs with this policy (nothing answers at ${host}:${port})`, {
    code: 'not-running',
    side: 'configuration',
    remedy: 'Start it with `portcullis run`, or name the policy directory of the running one with --policy.',
  })
}

/** Opens the store for reading, with or without a running gate; undefined when no gate has ever run with this state directory. */
export function openStore(snapshot: Snapshot): StoreReader | undefined {
  const file = storeFile(snapshot.directories.state)
  return existsSync(file) ? openStoreReader(file) : undefined
}

/** A directory as a person at this place would write it. */
export function shownDirectory(directory: string, cwd: string): string {
  const short = relative(cwd, directory)
  return short === '' ? '.' : short.startsWith('..') ? directory : short
}

/** How a gate names its policy directory: short for the one of the checkout, in full for any other. */
export function policyLabel(directory: string, root: string): string {
  return directory === join(root, 'policies') ? 'policies' : directory
}
