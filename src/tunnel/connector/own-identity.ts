// The identity file of a connector: read when it is there, made when it is not, and no reason to stay away when neither works.
import { lstatSync, readFileSync, writeFileSync } from 'node:fs'
import { newIdentityPem, readIdentityPem, type HeldIdentity } from '../client-identity.ts'

/** What became of the file. */
export type OwnIdentity =
  | { readonly held: HeldIdentity; readonly made: boolean; readonly problem: string | null }
  | { readonly held: null; readonly problem: string }

const MAX_BYTES = 4_096

/** Reads the file, or makes it: readable by its owner alone. */
export function openOwnIdentity(file: string): OwnIdentity {
  const before = read(file)
  if (before !== null) return before
  const pem = newIdentityPem()
  try {
    writeFileSync(file, pem, { mode: 0o600, flag: 'wx', flush: true })
  } catch (cause) {
    // Another connector of this directory may have been quicker.
    if ((cause as NodeJS.ErrnoException).code === 'EEXIST')
      return read(file) ?? { held: null, problem: 'it comes and goes' }
    return { held: null, problem: `it cannot be made: ${wordsOf(cause)}` }
  }
  const held = readIdentityPem(pem, false)
  return held === null ? { held, problem: 'it cannot be used' } : { held, made: true, problem: null }
}

/** Null: there is no such file. */
function read(file: string): OwnIdentity | null {
  try {
    const { mode, size } = lstatSync(file)
    if (size > MAX_BYTES) return { held: null, problem: 'it holds no identity' }
    const held = readIdentityPem(readFileSync(file, 'utf8'), true)
    if (held === null) return { held, problem: 'it holds no identity' }
    // On Windows the mode says nothing.
    const isOpen = (mode & 0o077) !== 0 && !/^[A-Za-z]:/.test(file)
    return { held, made: false, problem: isOpen ? `it can be read by others: chmod 600 ${file}` : null }
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return null
    return { held: null, problem: `it cannot be read: ${wordsOf(cause)}` }
  }
}

function wordsOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause)
}
