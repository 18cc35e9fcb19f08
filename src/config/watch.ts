// Watches the policy directory and reports each settled change once: by events on directories, so that editors' renames count.
import { statSync, watch, type FSWatcher } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { digestOf, importFolders, isImportName, isPolicyFileName, policyFiles, readWhole } from './files.ts'
import { MAX_FILE_BYTES } from './read.ts'

/** What is watched and how changes are reported. */
export type WatchOptions = {
  /** Absolute path of the policy directory. */
  readonly directory: string
  /** The policy file in it. */
  readonly file: string
  /** Further files that the policy names, absolute (private authorities); asked again at every change. */
  readonly extraFiles?: () => readonly string[]
  /** Quiet time after which a change counts as settled. */
  readonly settleMs?: number
  /** One call per settled change of content. */
  readonly onChange: () => void
  /** The directory cannot be watched (any more); changes then need a signal or a command. */
  readonly onProblem: (problem: string) => void
}

/** A running watch. */
export type PolicyWatch = {
  /** Looks for further files that a policy just loaded names; their directories are watched from then on. */
  readonly refresh: () => void
  readonly close: () => void
}

const DEFAULT_SETTLE_MS = 300
const FOLDERS = ['profiles', 'streams', 'rules']
const IMPORTED = 'imported'

type Watched = { readonly watcher: FSWatcher; readonly inode: bigint }

/** Starts to watch. The content at this moment counts as known. */
export function watchPolicy(options: WatchOptions): PolicyWatch {
  const { directory, settleMs = DEFAULT_SETTLE_MS } = options
  const watched = new Map<string, Watched>()
  let timer: NodeJS.Timeout | undefined
  let closed = false
  let known = contentOf(options)

  const touched = (): void => {
    if (closed) return
    clearTimeout(timer)
    timer = setTimeout(settled, settleMs)
  }

  const settled = (): void => {
    arm()
    const now = contentOf(options)
    // Null: a file is being written at this moment. Its next event brings us back; the timer is for writers that give none.
    if (now === null) {
      touched()
      return
    }
    if (now === known) return
    known = now
    options.onChange()
  }

  // A directory that was replaced (git checkout, a new mount, a renamed folder) has a new inode and needs a new watcher.
  const arm = (): void => {
    for (const [path, wanted] of watchedDirectories(options)) {
      const inode = inodeOf(path)
      const old = watched.get(path)
      if (old !== undefined && old.inode === inode) continue
      old?.watcher.close()
      watched.delete(path)
      if (inode === null) continue
      try {
        const watcher = watch(path, (_, name) => {
          if (name === null || wanted(name)) touched()
        })
        watcher.on('error', error => {
          options.onProblem(`${path} cannot be watched: ${error.message}`)
        })
        watched.set(path, { watcher, inode })
      } catch (error) {
        options.onProblem(
          `${path} cannot be watched: ${error instanceof Error ? error.message : String(error)}`,
        )
      }
    }
  }

  arm()
  if (!watched.has(directory)) options.onProblem(`${directory} cannot be watched: there is no such directory`)
  let extras = extraNames(options)
  return {
    refresh() {
      const now = extraNames(options)
      if (now === extras) return
      extras = now
      touched()
    },
    close() {
      closed = true
      clearTimeout(timer)
      for (const { watcher } of watched.values()) watcher.close()
      watched.clear()
    },
  }
}

// Directories with the names in them that matter. The parent tells when the policy directory itself is replaced.
function watchedDirectories(options: WatchOptions): ReadonlyMap<string, (name: string) => boolean> {
  const { directory, file } = options
  const out = new Map<string, (name: string) => boolean>()
  const add = (path: string, wanted: (name: string) => boolean): void => {
    const before = out.get(path)
    out.set(path, before === undefined ? wanted : name => before(name) || wanted(name))
  }
  add(dirname(directory), name => name === basename(directory))
  // `..data` is the link that Kubernetes swaps when a mounted configuration changes.
  add(directory, name => FOLDERS.includes(name) || name === '..data' || name === basename(directory))
  const main = join(directory, file)
  add(dirname(main), name => name === basename(main))
  for (const folder of FOLDERS) {
    add(
      join(directory, folder),
      name => isPolicyFileName(name) || name === folder || name === '..data' || name === IMPORTED,
    )
  }
  add(join(directory, 'rules', IMPORTED), isImportName)
  for (const path of importFolders(directory)) {
    add(path, isImportName)
    add(join(path, 'rules'), isImportName)
  }
  for (const extra of options.extraFiles?.() ?? []) add(dirname(extra), name => name === basename(extra))
  return out
}

// A digest of everything that a load may read; null while a file is being written. A missing file counts as content, too.
function contentOf(options: WatchOptions): string | null {
  const files: { readonly name: string; readonly bytes: Uint8Array }[] = []
  const names = new Set([...policyFiles(options.directory, options.file), ...(options.extraFiles?.() ?? [])])
  for (const name of names) {
    const result = readWhole(name, MAX_FILE_BYTES)
    if (result.ok) files.push({ name, bytes: result.bytes })
    else if (result.problem.includes('keeps changing')) return null
    else files.push({ name: `${name} ${result.problem}`, bytes: new Uint8Array() })
  }
  return digestOf(files)
}

function extraNames({ extraFiles }: WatchOptions): string {
  return [...(extraFiles?.() ?? [])].sort().join('\n')
}

function inodeOf(path: string): bigint | null {
  try {
    return statSync(path, { bigint: true }).ino
  } catch {
    return null
  }
}
