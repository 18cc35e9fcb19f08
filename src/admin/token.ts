// The token of the admin API: made at start, readable by the gate's own user only.
import { randomBytes } from 'node:crypto'
import { chmodSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

const FILE = 'admin.token'

/** Reads the token of a state directory, or makes one. */
export function ensureAdminToken(stateDir: string): string {
  const known = readAdminToken(stateDir)
  if (known !== undefined) return known
  mkdirSync(stateDir, { recursive: true, mode: 0o700 })
  const token = randomBytes(32).toString('base64url')
  const path = join(stateDir, FILE)
  writeFileSync(`${path}.tmp`, `${token}\n`, { mode: 0o600 })
  chmodSync(`${path}.tmp`, 0o600)
  renameSync(`${path}.tmp`, path)
  return token
}

/** The token of a state directory; undefined when the gate has never run there. */
export function readAdminToken(stateDir: string): string | undefined {
  try {
    const token = readFileSync(join(stateDir, FILE), 'utf8').trim()
    return token.length >= 32 ? token : undefined
  } catch {
    return undefined
  }
}
