// Holds the databases in use: decides after every inspection which one serves each role, and swaps only to checked ones.
import type { Reporter } from '../journal/events.ts'
import { readInstalled } from './checked-before.ts'
import { CHOSEN_FIRST, CHOSEN_SECOND, isDbIp, rankCandidates } from './choice.ts'
import type { DatabaseState } from './country-lookup.ts'
import { checkDatabase, readWhole, type Database } from './database-file.ts'
import { createInspector, type Inspected } from './inspection.ts'

/** Paths of the databases that were installed with the program; null where there is none. */
export type BundledFiles = { readonly first: string | null; readonly second: string | null }

/** A database in its role. */
type Held = { readonly database: Database; readonly state: DatabaseState }

/** A file that lies in the directory. */
export type DroppedFile = {
  readonly file: string
  /** Role of the database that was loaded from this file; null for a file that is not used. */
  readonly role: 'first' | 'second' | null
  /** Why the file as it lies there now cannot be used; null when it could. */
  readonly problem: string | null
}

/** What the holder's owner gives it. */
export type HolderOptions = {
  readonly directory: string
  readonly bundled: BundledFiles
  readonly reporter: Reporter
  readonly nowMs: () => number
  /** Called after a swap, before any further look-up. */
  readonly swapped: () => void
}

/** The databases in use. */
export type Holder = {
  readonly first: () => Held | null
  readonly second: () => Held | null
  readonly files: () => readonly DroppedFile[]
  /**
   * Looks at the directory and swaps what has to be swapped. `asked`: somebody wants an answer now (start, signal, command), so that
   * problems are reported at once instead of after a second look.
   * @returns true when a second look is due because a file is bad or gone that may only be in the middle of a copy
   */
  readonly refresh: (asked: boolean) => Promise<boolean>
}

type Usable = Extract<Inspected, { ok: true }>

/** Makes a holder with nothing loaded yet. */
export function createHolder(options: HolderOptions): Holder {
  const { directory, bundled, reporter, nowMs } = options
  const inspector = createInspector(directory, nowMs)
  const roles: { first: Held | null; second: Held | null } = { first: null, second: null }
  /** Problems that the refresh before this one found, by file: they are not reported again unless asked. */
  let reported: ReadonlyMap<string, string> = new Map()
  let found = new Map<string, string>()
  /** Bundled databases read during the refresh that runs: each is needed for its age and perhaps for a role. */
  const justRead = new Map<string, Database>()
  let seen: readonly { readonly file: string; readonly problem: string | null }[] = []
  let goneTimes = 0
  let started = false

  function reject(file: string, problem: string, again: boolean): void {
    const isKnown = found.get(file) === problem || (!again && reported.get(file) === problem)
    found.set(file, problem)
    if (isKnown) return
    reporter.report('geo.rejected', { file, problem, kept: roles.first?.database.file ?? null })
  }

  function put(role: 'first' | 'second', database: Database | null): void {
    if (roles[role]?.database === database || (roles[role] === null && database === null)) return
    if (database === null) {
      roles[role] = null
      options.swapped()
      return
    }
    const { file, type, builtMs, nodeCount } = database
    roles[role] = { database, state: { role, file, type, builtMs, nodeCount, loadedMs: nowMs() } }
    options.swapped()
    reporter.report('geo.loaded', { file, type, builtMs, role })
  }

  /** The database of a path, from memory where it is in use, else read and checked again. */
  async function obtain(file: string, asked: boolean): Promise<Database | null> {
    for (const held of [roles.first, roles.second]) if (held?.database.file === file) return held.database
    const read = justRead.get(file)
    if (read !== undefined) return read
    const checked = await readInstalled(file)
    if (checked.ok) {
      justRead.set(file, checked.database)
      return checked.database
    }
    reject(file, checked.problem, asked)
    return null
  }

  /** Reports why a usable file may not be used, if so. */
  function tooOld(file: Usable, oldestMs: number): string | undefined {
    if (file.name === CHOSEN_FIRST || file.name === CHOSEN_SECOND) return undefined
    const inUse = roles.first?.database
    const isOlder = inUse?.file === file.path && file.database !== inUse && file.facts.builtMs < inUse.builtMs
    const floorMs = isOlder ? inUse.builtMs : oldestMs
    if (file.facts.builtMs >= floorMs) return undefined
    return (
      `it was built on ${day(file.facts.builtMs)}, before the ${isOlder ? 'loaded' : 'bundled'} database ` +
      `(${day(floorMs)}); to use it all the same, name it ${CHOSEN_FIRST}`
    )
  }

  async function refresh(asked: boolean): Promise<boolean> {
    const inspection = await inspector.inspect()
    let secondLook = false
    const usable: Usable[] = []
    const oldestMs = await bundledBuiltMs(asked)
    if (inspection === undefined) {
      reject(directory, 'the directory cannot be listed; databases cannot be dropped there', asked)
    }
    for (const name of inspection?.leftOut ?? []) {
      reject(`${directory}/${name}`, 'too many databases lie in the directory: remove some', asked)
    }
    const looked: { file: string; problem: string | null }[] = []
    for (const file of inspection?.files ?? []) {
      const problem = file.ok ? (tooOld(file, oldestMs) ?? null) : file.problem
      looked.push({ file: file.path, problem })
      if (!file.ok) {
        if (asked || file.times > 1) reject(file.path, file.problem, asked)
        else secondLook = true
        continue
      }
      if (problem === null) usable.push(file)
      else {
        file.database = null
        reject(file.path, problem, asked)
      }
    }
    if (inspection !== undefined) seen = looked

    const listed = new Set(inspection?.files.map(file => file.path))
    const held = [roles.first, roles.second].map(role => role?.database.file ?? '')
    const gone = held.some(file => isDropped(file) && !listed.has(file))
    goneTimes = gone && inspection !== undefined ? goneTimes + 1 : 0
    // A file that is replaced by "remove, then move" is gone for an instant; an unmounted directory is no order to change countries.
    const keepGone = gone && (inspection === undefined || (!asked && goneTimes < 2))
    if (keepGone && inspection !== undefined) secondLook = true
    const keep = (file: string): boolean =>
      isDropped(file) &&
      (keepGone || inspection?.files.some(entry => entry.path === file && !isIn(entry)) === true)
    const isIn = (entry: Inspected): boolean => entry.ok && usable.includes(entry)

    await fillFirst(usable, keep, asked)
    await fillSecond(usable, keep, asked)
    for (const file of usable) file.database = null
    justRead.clear()
    reported = found
    found = new Map()
    started = true
    return secondLook
  }

  async function fillFirst(
    usable: readonly Usable[],
    keep: (file: string) => boolean,
    asked: boolean,
  ): Promise<void> {
    const ranked = rankCandidates(usable.map(file => ({ ...file.facts, name: file.name, file })))
    const inUse = roles.first?.database
    const best = ranked[0]
    if (inUse !== undefined && keep(inUse.file)) {
      // The file of the loaded database is bad now: only a better one takes over, else the last good one stays.
      const name = inUse.file.slice(directory.length + 1)
      if (best === undefined || rankCandidates([{ ...inUse, name }, best])[0] !== best) return
    }
    for (const candidate of ranked) {
      const database =
        unchanged(inUse, candidate.file) ?? candidate.file.database ?? (await again(candidate.file))
      if (database === null) continue
      put('first', database)
      if (started) reportUnused(ranked, candidate.name, database)
      return
    }
    for (const file of [bundled.first, bundled.second]) {
      const database = file === null ? null : await obtain(file, asked)
      if (database !== null) return put('first', database)
    }
  }

  async function fillSecond(
    usable: readonly Usable[],
    keep: (file: string) => boolean,
    asked: boolean,
  ): Promise<void> {
    const inUse = roles.second?.database
    if (inUse !== undefined && keep(inUse.file)) return
    const chosen = usable.find(file => file.name === CHOSEN_SECOND)
    if (chosen !== undefined) {
      const database = unchanged(inUse, chosen) ?? chosen.database ?? (await again(chosen))
      if (database !== null) return put('second', database)
    }
    const first = roles.first?.database
    const order = isDbIp(first?.type ?? '')
      ? [bundled.first, bundled.second]
      : [bundled.second, bundled.first]
    for (const file of order) {
      if (file === null || file === first?.file) continue
      const database = await obtain(file, asked)
      if (database !== null) return put('second', database)
    }
    put('second', null)
  }

  function reportUnused(ranked: readonly { name: string; file: Usable }[], used: string, by: Database): void {
    for (const { name, file } of ranked) {
      if (name === used || file.database === null) continue
      reject(
        file.path,
        `${by.file} (${by.type}, built ${day(by.builtMs)}) comes before it; to use it, name it ${CHOSEN_FIRST}`,
        false,
      )
    }
  }

  /** The database in use, when the file still has the content that it was loaded from. */
  function unchanged(inUse: Database | undefined, file: Usable): Database | null {
    return inUse?.file === file.path && file.database === null ? inUse : null
  }

  async function again(file: Usable): Promise<Database | null> {
    const content = await readWhole(file.path)
    if (content === 'same' || !content.ok || content.fingerprint !== file.fingerprint) return null
    const checked = await checkDatabase(file.path, content.bytes, { nowMs: nowMs() })
    return checked.ok ? checked.database : null
  }

  let bundledBuilt: number | null = null
  async function bundledBuiltMs(asked: boolean): Promise<number> {
    if (bundledBuilt === null && bundled.first !== null) {
      const database = await obtain(bundled.first, asked)
      if (database === null) return 0
      bundledBuilt = database.builtMs
    }
    return bundledBuilt ?? 0
  }

  function isDropped(file: string): boolean {
    return file.startsWith(`${directory}/`)
  }

  function files(): readonly DroppedFile[] {
    return seen.map(({ file, problem }) => ({
      file,
      role: roles.first?.state.file === file ? 'first' : roles.second?.state.file === file ? 'second' : null,
      problem,
    }))
  }

  return { first: () => roles.first, second: () => roles.second, files, refresh }
}

function day(ms: number): string {
  return new Date(ms).toISOString().slice(0, 10)
}
