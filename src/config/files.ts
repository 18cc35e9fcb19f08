// Reads policy files from disk whole or not at all: a file that changes while it is read is read again, then reported.
import { createHash } from 'node:crypto'
import { closeSync, fstatSync, openSync, readFileSync, readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'

/** Content of a file, or why it could not be had. */
export type FileResult =
  | { readonly ok: true; readonly bytes: Uint8Array }
  | {
      readonly ok: false
      readonly problem: string
      readonly hint: string | null
      readonly missing: boolean
    }

const ATTEMPTS = 3

/** Reads a file. Size and time of change must be the same before and after, and the path must still lead to it. */
export function readWhole(path: string, maxBytes: number): FileResult {
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const result = readOnce(path, maxBytes)
    if (result !== 'changed') return result
  }
  return {
    ok: false,
    problem: 'the file keeps changing while it is read',
    hint: 'wait until the editor or the copy is done',
    missing: false,
  }
}

function readOnce(path: string, maxBytes: number): FileResult | 'changed' {
  let descriptor: number | undefined
  try {
    // Opening a pipe would wait for a writer.
    if (!statSync(path).isFile()) return { ok: false, problem: 'not a file', hint: null, missing: false }
    descriptor = openSync(path, 'r')
    const before = fstatSync(descriptor, { bigint: true })
    if (before.size > BigInt(maxBytes)) {
      return {
        ok: false,
        problem: `the file has ${before.size} bytes; at most ${maxBytes} are read`,
        hint: null,
        missing: false,
      }
    }
    const bytes = readFileSync(descriptor)
    const after = fstatSync(descriptor, { bigint: true })
    const now = statSync(path, { bigint: true })
    const steady =
      BigInt(bytes.length) === before.size &&
      after.size === before.size &&
      after.mtimeNs === before.mtimeNs &&
      now.ino === before.ino &&
      now.dev === before.dev
    return steady ? { ok: true, bytes } : 'changed'
  } catch (error) {
    return { ok: false, ...explain(error) }
  } finally {
    if (descriptor !== undefined) closeSync(descriptor)
  }
}

function explain(error: unknown): { problem: string; hint: string | null; missing: boolean } {
  const code = error instanceof Error && 'code' in error ? String(error.code) : ''
  switch (code) {
    case 'ENOENT':
    case 'ENOTDIR':
      return { problem: 'no such file', hint: null, missing: true }
    case 'EACCES':
    case 'EPERM':
      return {
        problem: 'the file may not be read by the user of the gate',
        hint: 'change its owner or mode',
        missing: false,
      }
    case 'EISDIR':
      return { problem: 'a directory, not a file', hint: null, missing: false }
    default:
      return {
        problem: `the file cannot be read: ${code === '' ? String(error) : code}`,
        hint: null,
        missing: false,
      }
  }
}

/** Names of the YAML files in a directory, sorted; none when there is no such directory. Editors' own files are left out. */
export function yamlFiles(directory: string): readonly string[] {
  try {
    return readdirSync(directory, { withFileTypes: true })
      .filter(entry => !entry.isDirectory() && isPolicyFileName(entry.name))
      .map(entry => entry.name)
      .sort()
  } catch {
    return []
  }
}

/** Whether a name is that of a policy file rather than of an editor's swap or backup file. */
export function isPolicyFileName(name: string): boolean {
  return /^[^.#~][^~#]*\.ya?ml$/.test(name)
}

/** Digest over named contents: equal contents under equal names give equal digests. */
export function digestOf(files: readonly { readonly name: string; readonly bytes: Uint8Array }[]): string {
  const hash = createHash('sha256')
  for (const { name, bytes } of files.toSorted((a, b) => (a.name < b.name ? -1 : 1))) {
    hash.update(`${name}\n${bytes.length}\n`).update(bytes)
  }
  return hash.digest('hex').slice(0, 16)
}

/** Files of a policy directory that a load may read, absolute. */
export function policyFiles(directory: string, file: string): readonly string[] {
  return [
    join(directory, file),
    ...['profiles', 'streams', 'rules'].flatMap(folder =>
      yamlFiles(join(directory, folder)).map(name => join(directory, folder, name)),
    ),
    ...importFolders(directory).flatMap(folder =>
      ['', 'rules'].flatMap(inner =>
        namesIn(join(folder, inner), 'file').map(name => join(folder, inner, name)),
      ),
    ),
  ]
}

/** Folders of imported rule sets in a policy directory, absolute. Folders that an import is still writing are left out. */
export function importFolders(directory: string): readonly string[] {
  const parent = join(directory, 'rules/imported')
  return namesIn(parent, 'folder').map(name => join(parent, name))
}

function namesIn(directory: string, kind: 'file' | 'folder'): readonly string[] {
  try {
    return readdirSync(directory, { withFileTypes: true })
      .filter(entry => entry.isDirectory() === (kind === 'folder') && isImportName(entry.name))
      .map(entry => entry.name)
      .sort()
  } catch {
    return []
  }
}

/** Whether a name within an imported rule set is one of its own rather than one of an editor. */
export function isImportName(name: string): boolean {
  return /^[A-Za-z0-9][\w.-]*$/.test(name) && !name.endsWith('.new')
}
