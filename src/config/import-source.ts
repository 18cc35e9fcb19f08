// Reads the rule files of a directory or an archive that an admin wants to import, within limits, and their digest.
import { createHash } from 'node:crypto'
import { lstatSync, readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { readWhole } from './files.ts'
import { readTar } from './tar.ts'

/** Limits of an import. */
const IMPORT_LIMITS = {
  archiveBytes: 50_000_000,
  unpackedBytes: 200_000_000,
  files: 500,
  fileBytes: 4_000_000,
  totalBytes: 20_000_000,
} as const

/** The files that rules are made of, by path, and the digest that the admin has to state. */
export type ImportSource = {
  readonly kind: 'directory' | 'archive'
  /** SHA-256 in hexadecimal: of the archive, or of the sorted list of files with their digests. */
  readonly sha256: string
  readonly files: ReadonlyMap<string, Uint8Array>
}

/** SHA-256 in hexadecimal. */
export function sha256(bytes: Uint8Array | string): string {
  return createHash('sha256').update(bytes).digest('hex')
}

/** Whether a path is one of a rule set: its settings, rules, data and licence. */
export function isRuleSetFile(path: string): boolean {
  return /^(?:crs-setup\.conf(?:\.example)?|LICENSE|rules\/[A-Za-z0-9][A-Za-z0-9._-]{0,120}\.(?:conf|data))$/.test(
    path,
  )
}

/** Reads what is to be imported; a text: why it is not. */
export function readImportSource(path: string): ImportSource | string {
  let isDirectory: boolean
  try {
    isDirectory = statSync(path).isDirectory()
  } catch {
    return 'there is no such file or directory'
  }
  return isDirectory ? fromDirectory(path) : fromArchive(path)
}

function fromDirectory(path: string): ImportSource | string {
  const files = new Map<string, Uint8Array>()
  for (const folder of ['', 'rules']) {
    let names: readonly string[]
    try {
      // A link could lead anywhere, to the gate's own keys for one.
      if (folder !== '' && !lstatSync(join(path, folder)).isDirectory()) return `${folder}/ is not a folder`
      names = readdirSync(join(path, folder)).sort()
    } catch {
      if (folder === 'rules') return 'it has no folder rules/: is it a rule set?'
      return 'it cannot be read'
    }
    for (const name of names) {
      const inner = folder === '' ? name : `${folder}/${name}`
      if (!isRuleSetFile(inner)) continue
      if (!lstatSync(join(path, inner)).isFile()) return `${inner} is not a regular file`
      const read = readWhole(join(path, inner), IMPORT_LIMITS.fileBytes)
      if (!read.ok) return `${inner}: ${read.problem}`
      files.set(inner, read.bytes)
    }
  }
  const list = [...files]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, bytes]) => `${sha256(bytes)}  ${name}\n`)
  return checked({ kind: 'directory', sha256: sha256(list.join('')), files })
}

function fromArchive(path: string): ImportSource | string {
  const read = readWhole(path, IMPORT_LIMITS.archiveBytes)
  if (!read.ok) return read.problem
  let unpacked: Uint8Array
  try {
    const isPacked = read.bytes[0] === 0x1f && read.bytes[1] === 0x8b
    unpacked = isPacked
      ? gunzipSync(read.bytes, { maxOutputLength: IMPORT_LIMITS.unpackedBytes })
      : read.bytes
  } catch (error) {
    return `it cannot be unpacked (${error instanceof Error ? error.message : String(error)})`
  }
  const entries = readTar(unpacked)
  if (typeof entries === 'string') return `it is no tar archive that can be read: ${entries}`
  const files = new Map<string, Uint8Array>()
  for (const { path: full, bytes } of entries) {
    // Releases stand in one folder, named after the version.
    const plain = full.replace(/^\.\//, '')
    const inner = isRuleSetFile(plain) ? plain : plain.slice(plain.indexOf('/') + 1)
    if (!isRuleSetFile(inner)) continue
    if (files.has(inner)) return `${inner} is in it twice`
    if (bytes.length > IMPORT_LIMITS.fileBytes)
      return `${inner} is larger than ${IMPORT_LIMITS.fileBytes} bytes`
    files.set(inner, Uint8Array.from(bytes))
  }
  return checked({ kind: 'archive', sha256: sha256(read.bytes), files })
}

function checked(source: ImportSource): ImportSource | string {
  const { files } = source
  const total = [...files.values()].reduce((sum, bytes) => sum + bytes.length, 0)
  if (files.size > IMPORT_LIMITS.files) return `it has more than ${IMPORT_LIMITS.files} rule files`
  if (total > IMPORT_LIMITS.totalBytes)
    return `its rule files are larger than ${IMPORT_LIMITS.totalBytes} bytes together`
  return [...files.keys()].some(name => name.endsWith('.conf') && name.startsWith('rules/'))
    ? source
    : 'there is no file rules/*.conf in it: is it a rule set?'
}
