// How commands reach the file of keys and operators, and tell a running gate that it has changed.
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { ACCESS_FILE } from '../access/access-file.ts'
import type { Snapshot } from '../policy/snapshot.ts'
import type { CommandContext } from './command.ts'
import { askGate } from './gate-access.ts'

/** Full name of the file; its directory is made when it is missing. */
export function accessFile(snapshot: Snapshot): string {
  mkdirSync(snapshot.directories.state, { recursive: true, mode: 0o700 })
  return join(snapshot.directories.state, ACCESS_FILE)
}

/** Tells the gate to read the file again. @returns whether one runs */
export async function tellGate(snapshot: Snapshot): Promise<boolean> {
  return (await askGate(snapshot, 'POST', '/v1/access/reload')) !== undefined
}

/** Says when a change takes effect. */
export function sayWhen(running: boolean, { terminal }: CommandContext): void {
  const text = running
    ? '  The running gate has taken it up; nobody else was disturbed.'
    : '  No gate runs with this policy; it holds from the next start.'
  terminal.print(terminal.tone('dim', text))
}
