// Keeps every policy that was in force: its files, when, by whom, why and what changed; and puts one of them back.
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { dirname, isAbsolute, join, relative } from 'node:path'
import { PortcullisError } from '../policy/error.ts'

/** A policy that was in force. */
export type PolicyVersion = {
  /** Counts from 1. */
  readonly number: number
  /** Digest of its files. */
  readonly id: string
  readonly atMs: number
  readonly who: string
  readonly why: string
  /** In sentences; empty for the first. */
  readonly changes: readonly string[]
  /** Relative to the policy directory. */
  readonly files: readonly string[]
}

/** Older ones are forgotten. */
const MAX_VERSIONS = 200
const FILES = 'files'
const META = 'version.json'

/** Records a policy that came into force. Returns the version; the last one when nothing has changed since. */
export function recordVersion(
  stateDir: string,
  policyDir: string,
  policy: Omit<PolicyVersion, 'number' | 'files'> & { readonly paths: readonly string[] },
): PolicyVersion {
  const last = listVersions(stateDir).at(-1)
  if (last?.id === policy.id) return last
  const number = (last?.number ?? 0) + 1
  const files = policy.paths
    .map(path => relative(policyDir, path))
    .filter(path => path !== '' && !path.startsWith('..') && !isAbsolute(path))
  const { id, atMs, who, why, changes } = policy
  const version: PolicyVersion = { number, id, atMs, who, why, changes, files }
  const target = versionDirectory(stateDir, number)
  const unfinished = `${target}.new`
  rmSync(unfinished, { recursive: true, force: true })
  mkdirSync(unfinished, { recursive: true, mode: 0o700 })
  for (const file of files) cpSync(join(policyDir, file), join(unfinished, FILES, file))
  writeFileSync(join(unfinished, META), `${JSON.stringify(version, null, 2)}\n`, { mode: 0o600 })
  // A version is there as a whole or not at all.
  renameSync(unfinished, target)
  for (const old of numbers(stateDir).slice(0, -MAX_VERSIONS))
    rmSync(versionDirectory(stateDir, old), { recursive: true, force: true })
  return version
}

/** Writes down who changed a version, and why, when that is known only afterwards. Returns it as it is now. */
export function claimVersion(
  stateDir: string,
  version: PolicyVersion,
  { who, why }: Pick<PolicyVersion, 'who' | 'why'>,
): PolicyVersion {
  const claimed = { ...version, who, why }
  const meta = join(versionDirectory(stateDir, version.number), META)
  writeFileSync(`${meta}.new`, `${JSON.stringify(claimed, null, 2)}\n`, { mode: 0o600 })
  renameSync(`${meta}.new`, meta)
  return claimed
}

/** All versions that are kept, oldest first. What cannot be read is left out. */
export function listVersions(stateDir: string): readonly PolicyVersion[] {
  return numbers(stateDir).flatMap(number => {
    try {
      const text = readFileSync(join(versionDirectory(stateDir, number), META), 'utf8')
      return [JSON.parse(text) as PolicyVersion]
    } catch {
      return []
    }
  })
}

/** Directory with the files of a version: a policy directory that can be loaded. @throws PortcullisError `no-version` */
export function versionFiles(stateDir: string, number: number): string {
  const directory = join(versionDirectory(stateDir, number), FILES)
  if (existsSync(directory)) return directory
  throw new PortcullisError(`there is no version ${number} of the policy`, {
    code: 'no-version',
    side: 'configuration',
    remedy: 'See which there are: portcullis history',
  })
}

/**
 * Makes the policy directory hold exactly the given files of another directory, each replaced as a whole; `existing` names
 * the policy files that are there now, and those that the other directory lacks are removed. All names are relative. An
 * imported rule set that the other policy does not use stays: it is no part of any policy until one names it.
 */
export function replacePolicyFiles(
  policyDir: string,
  from: string,
  files: readonly string[],
  existing: readonly string[],
): void {
  // The policy file comes last: it is the one that names the others.
  const ordered = files.toSorted((a, b) => b.split('/').length - a.split('/').length || (a < b ? -1 : 1))
  for (const file of ordered) {
    const target = join(policyDir, file)
    const bytes = readFileSync(join(from, file))
    if (existsSync(target) && readFileSync(target).equals(bytes)) continue
    mkdirSync(dirname(target), { recursive: true })
    replaceFile(target, bytes)
  }
  const imports = new Set(files.map(importOf))
  for (const file of existing) {
    if (!files.includes(file) && imports.has(importOf(file))) rmSync(join(policyDir, file), { force: true })
  }
}

/** Replaces a file as a whole: nobody reads half of it. Its mode stays, and so does a link that leads to it. */
function replaceFile(target: string, bytes: Uint8Array): void {
  const isThere = existsSync(target)
  const real = isThere ? realpathSync(target) : target
  const mode = isThere ? { mode: statSync(real).mode & 0o777 } : {}
  rmSync(`${real}.new`, { force: true })
  writeFileSync(`${real}.new`, bytes, mode)
  renameSync(`${real}.new`, real)
}

/** Name of the imported rule set that a file belongs to; empty: to none. */
function importOf(file: string): string {
  return /^rules\/imported\/([^/]+)\//.exec(file)?.[1] ?? ''
}

function versionDirectory(stateDir: string, number: number): string {
  return join(stateDir, 'history', String(number).padStart(6, '0'))
}

function numbers(stateDir: string): readonly number[] {
  const directory = join(stateDir, 'history')
  if (!existsSync(directory)) return []
  return readdirSync(directory)
    .filter(name => /^\d{6,}$/.test(name))
    .map(Number)
    .sort((a, b) => a - b)
}
