// Puts a database into the geoip directory safely: checked first, then written under another name, flushed and renamed.
import { randomUUID } from 'node:crypto'
import { open, rename, rm } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { promisify } from 'node:util'
import { gunzip } from 'node:zlib'
import { PortcullisError } from '../policy/error.ts'
import { CHOSEN_FIRST, CHOSEN_SECOND } from './choice.ts'
import { checkDatabase, MAX_DATABASE_BYTES, readWhole, type DatabaseFacts } from './database-file.ts'

const unzip = promisify(gunzip)

/** A database that was imported. */
export type ImportedDatabase = DatabaseFacts & { readonly file: string }

/**
 * Checks a database file and copies it into the directory in one step that a running gate sees as a whole.
 * A `.gz` of a single database (as DB-IP publishes it) is unpacked; an archive (`.tar.gz`) is not.
 * @param options.as `first` or `second` chooses the database by hand, whatever its maker or age
 * @throws PortcullisError `geo-import-refused` (the file is unfit) or `geo-import-failed` (it cannot be written)
 */
export async function importDatabase(
  file: string,
  options: { readonly directory: string; readonly nowMs: number; readonly as?: 'first' | 'second' },
): Promise<ImportedDatabase> {
  const content = await readWhole(file)
  if (content === 'same' || !content.ok)
    throw refused(file, content === 'same' ? 'unreadable' : content.problem)
  const bytes = await unpacked(file, content.bytes)
  const checked = await checkDatabase(file, bytes, { nowMs: options.nowMs })
  if (!checked.ok) throw refused(file, checked.problem)
  const { type, builtMs, nodeCount, ipVersion } = checked.database
  const target = join(options.directory, targetName(file, type, options.as))
  await writeAtomically(target, options.directory, bytes)
  return { file: target, type, builtMs, nodeCount, ipVersion }
}

async function unpacked(file: string, bytes: Buffer): Promise<Buffer> {
  if (bytes[0] !== 0x1f || bytes[1] !== 0x8b) return bytes
  try {
    return await unzip(bytes, { maxOutputLength: MAX_DATABASE_BYTES })
  } catch (error) {
    throw refused(file, `it cannot be unpacked (${error instanceof Error ? error.message : String(error)})`)
  }
}

function targetName(file: string, type: string, as: 'first' | 'second' | undefined): string {
  if (as !== undefined) return as === 'first' ? CHOSEN_FIRST : CHOSEN_SECOND
  const name = basename(file).replace(/\.gz$/i, '')
  if (/^[A-Za-z0-9][A-Za-z0-9._-]{0,100}\.mmdb$/.test(name)) return name
  return `${type.replaceAll(/[^A-Za-z0-9]+/g, '-').replaceAll(/^-|-$/g, '')}.mmdb`
}

async function writeAtomically(target: string, directory: string, bytes: Buffer): Promise<void> {
  // A leading dot and another ending: the watcher never takes it for a database.
  const temporary = join(directory, `.${randomUUID()}.tmp`)
  try {
    const handle = await open(temporary, 'wx', 0o644)
    try {
      await handle.writeFile(bytes)
      await handle.sync()
    } finally {
      await handle.close()
    }
    await rename(temporary, target)
    const parent = await open(directory, 'r')
    try {
      await parent.sync()
    } finally {
      await parent.close()
    }
  } catch (error) {
    await rm(temporary, { force: true })
    throw new PortcullisError(`${target} cannot be written`, {
      code: 'geo-import-failed',
      side: 'configuration',
      remedy: 'Check that the directory exists, has room, and may be written by you.',
      cause: error,
    })
  }
}

function refused(file: string, problem: string): PortcullisError {
  return new PortcullisError(`${file} is not imported: ${problem}`, {
    code: 'geo-import-refused',
    side: 'configuration',
    remedy: 'Download the database again (a Country or City .mmdb) and import the new file.',
  })
}
