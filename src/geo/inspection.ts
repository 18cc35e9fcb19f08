// Looks at the files of the geoip directory and remembers what each one is, so that only changed files are read again.
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import {
  checkDatabase,
  readWhole,
  type Database,
  type DatabaseFacts,
  type Fingerprint,
} from './database-file.ts'

/** Files that are looked at, in order of name; more than this is a mistake. */
const MAX_FILES = 32

/** What is known of one file. */
export type Inspected = {
  readonly name: string
  readonly path: string
  readonly fingerprint: Fingerprint | null
} & (
  | {
      readonly ok: true
      readonly facts: DatabaseFacts
      /** The database itself; dropped when another one is used, because each holds the whole file in memory. */
      database: Database | null
    }
  | {
      readonly ok: false
      readonly problem: string
      /** How often this very content was found bad. */
      readonly times: number
    }
)

/** What lies in the directory; `undefined` when the directory cannot be listed. */
export type Inspection = {
  readonly files: readonly Inspected[]
  readonly leftOut: readonly string[]
}

/** Inspects a directory again and again. */
export function createInspector(
  directory: string,
  nowMs: () => number,
): { readonly inspect: () => Promise<Inspection | undefined> } {
  let known = new Map<string, Inspected>()

  async function inspectFile(name: string): Promise<Inspected> {
    const path = join(directory, name)
    const before = known.get(name)
    const content = await readWhole(path, before?.fingerprint ?? undefined)
    if (content === 'same' && before !== undefined) {
      return before.ok ? before : { ...before, times: before.times + 1 }
    }
    const file = { name, path }
    if (content === 'same' || !content.ok) {
      const { problem, fingerprint } = content === 'same' ? { problem: '', fingerprint: null } : content
      const again = before !== undefined && !before.ok && before.fingerprint === fingerprint
      return { ...file, fingerprint, ok: false, problem, times: again ? before.times + 1 : 1 }
    }
    const { fingerprint } = content
    const checked = await checkDatabase(path, content.bytes, { nowMs: nowMs() })
    if (!checked.ok) return { ...file, fingerprint, ok: false, problem: checked.problem, times: 1 }
    const { type, builtMs, nodeCount, ipVersion } = checked.database
    return {
      ...file,
      fingerprint,
      ok: true,
      facts: { type, builtMs, nodeCount, ipVersion },
      database: checked.database,
    }
  }

  async function inspect(): Promise<Inspection | undefined> {
    let names: string[]
    try {
      names = (await readdir(directory)).filter(name => /^[^.].*\.mmdb$/i.test(name)).sort()
    } catch {
      return undefined
    }
    const files: Inspected[] = []
    for (const name of names.slice(0, MAX_FILES)) files.push(await inspectFile(name))
    known = new Map(files.map(file => [file.name, file]))
    return { files, leftOut: names.slice(MAX_FILES) }
  }

  return { inspect }
}
