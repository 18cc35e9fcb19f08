// A change of the policy, from a candidate to what is in force: what was looked at is what is written, nobody's edit meanwhile is undone.
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, relative } from 'node:path'
import type { ReloadOptions, ReloadResult } from './admin/reload-result.ts'
import { mergePatch } from './config/edit-policy.ts'
import { digestOf, policyFiles } from './config/files.ts'
import { POLICY_FILE } from './config/load.ts'
import { decodeText } from './config/read.ts'
import { replacePolicyFiles } from './plan/history.ts'
import { PortcullisError } from './policy/error.ts'

/** A candidate in a directory of its own, and what the policy directory held when it was made. */
export type PolicyDraft = {
  readonly policyDir: string
  /** A copy that nobody else writes to: what is planned is what is put in force. */
  readonly directory: string
  /** Relative to the directory. */
  readonly files: readonly string[]
  /** Digest of the files of the policy directory. */
  readonly base: string
  /** Takes the copy away. */
  readonly remove: () => void
}

/** Where the files of a draft come from. */
export type DraftSource =
  /** A directory with a policy. `files`: the only ones to take; all policy files when left out. */
  | { readonly directory: string; readonly files?: readonly string[] }
  /** Another text of the main file; the other files are those of the policy directory. */
  | { readonly text: string }
  /** YAML to be merged into the main file, comments kept. */
  | { readonly patch: string }

/** Files that differ, by name; null: not there. */
export type DraftFile = {
  readonly name: string
  readonly before: string | null
  readonly after: string | null
}

/** Makes a draft. @throws PortcullisError `policy-edit` when the main file cannot be edited safely; and what the disk throws */
export function makeDraft(policyDir: string, source: DraftSource): PolicyDraft {
  const base = digestOfPolicy(policyDir)
  const from = 'directory' in source ? source.directory : policyDir
  const files = ('files' in source ? source.files : undefined) ?? namesOf(from)
  const text =
    'directory' in source
      ? null
      : 'text' in source
        ? source.text
        : patched(join(policyDir, POLICY_FILE), source.patch)
  const directory = mkdtempSync(join(tmpdir(), 'portcullis-draft-'))
  const remove = (): void => rmSync(directory, { recursive: true, force: true })
  try {
    copyFiles(from, directory, files)
    if (text !== null) writeFileSync(join(directory, POLICY_FILE), text)
  } catch (cause) {
    remove()
    throw cause
  }
  return { policyDir, directory, files, base, remove }
}

/** What a draft changes in files. */
export function draftFiles({ policyDir, directory, files }: PolicyDraft): readonly DraftFile[] {
  const names = [...new Set([...namesOf(policyDir), ...files])].toSorted()
  return names.flatMap(name => {
    const before = textOf(join(policyDir, name))
    const after = files.includes(name) ? textOf(join(directory, name)) : null
    return before === after ? [] : [{ name, before, after }]
  })
}

/**
 * Writes a draft into the policy directory and has the gate take it. When the gate refuses it, the files of before come back.
 * @param reload undefined: no gate runs
 * @throws PortcullisError `policy-edit` when the policy files were changed since the draft was made
 */
export async function putInForce(
  draft: PolicyDraft,
  options: ReloadOptions,
  reload: (options: ReloadOptions) => Promise<ReloadResult | undefined>,
): Promise<ReloadResult | undefined> {
  const { policyDir, directory, files, base } = draft
  if (digestOfPolicy(policyDir) !== base)
    throw editError('the files were changed by somebody else meanwhile: look at the change again')
  const before = namesOf(policyDir)
  const kept = mkdtempSync(join(tmpdir(), 'portcullis-before-'))
  try {
    copyFiles(policyDir, kept, before)
    replacePolicyFiles(policyDir, directory, files, before)
    const written = digestOfPolicy(policyDir)
    const result = await reload(options)
    // Only what was written here goes: whoever has edited a file meanwhile keeps the edit.
    if (result?.ok === false && digestOfPolicy(policyDir) === written)
      replacePolicyFiles(policyDir, kept, before, namesOf(policyDir))
    return result
  } finally {
    rmSync(kept, { recursive: true, force: true })
  }
}

function editError(problem: string): PortcullisError {
  return new PortcullisError(`the policy was not changed: ${problem}`, {
    code: 'policy-edit',
    side: 'configuration',
    remedy: 'Look again, or add the lines by hand.',
  })
}

function patched(file: string, patch: string): string {
  const decoded = decodeText(readFileSync(file))
  if ('problem' in decoded) throw editError(decoded.problem)
  const edit = mergePatch(POLICY_FILE, decoded.text, patch)
  if (!edit.ok) throw editError(edit.problem)
  return edit.text
}

function namesOf(directory: string): readonly string[] {
  return policyFiles(directory, POLICY_FILE).map(path => relative(directory, path))
}

function copyFiles(from: string, to: string, files: readonly string[]): void {
  for (const file of files) {
    const target = join(to, file)
    mkdirSync(dirname(target), { recursive: true })
    cpSync(join(from, file), target, { dereference: true })
  }
}

function digestOfPolicy(directory: string): string {
  return digestOf(
    namesOf(directory).map(name => ({ name, bytes: bytesOf(join(directory, name)) ?? new Uint8Array() })),
  )
}

function textOf(file: string): string | null {
  const bytes = bytesOf(file)
  return bytes === null ? null : bytes.toString('utf8')
}

function bytesOf(file: string): Buffer | null {
  try {
    return readFileSync(file)
  } catch {
    return null
  }
}
