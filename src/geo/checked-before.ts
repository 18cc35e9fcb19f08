// Remembers which databases this process has checked already, so that a second look-up in it does not check the same bytes again.
import { checkDatabase, readWhole, type Checked, type Database, type Fingerprint } from './database-file.ts'

type Remembered = { readonly fingerprint: Fingerprint; readonly database: WeakRef<Database> }

// Two databases come with the program. Held weakly: whoever uses one keeps it, and nobody else needs its memory.
const remembered = new Map<string, Remembered>()

/**
 * Reads and checks a database that came with the program, unless this process holds it already and the file is unchanged.
 * Its build date is not compared with the clock: a gate whose clock is wrong keeps what it was installed with.
 */
export async function readInstalled(file: string): Promise<Checked> {
  const known = remembered.get(file)
  const database = known?.database.deref()
  const content = await readWhole(file, database === undefined ? undefined : known?.fingerprint)
  if (content === 'same')
    return database === undefined ? { ok: false, problem: 'it cannot be read' } : { ok: true, database }
  if (!content.ok) return content
  const checked = await checkDatabase(file, content.bytes, { nowMs: null })
  if (checked.ok)
    remembered.set(file, { fingerprint: content.fingerprint, database: new WeakRef(checked.database) })
  return checked
}
