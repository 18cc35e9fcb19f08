// Reads what a process and all its descendants have used: CPU nanoseconds, run-queue wait and resident memory.
import { readdirSync, readFileSync } from 'node:fs'

/** CPU time since start, summed over all threads. */
export type CpuUse = {
  readonly runNs: number
  /** Time that runnable threads waited for the core. */
  readonly waitNs: number
}

/** The process and its descendants. */
export function processTree(root: number): number[] {
  const children = new Map<number, number[]>()
  for (const entry of readdirSync('/proc')) {
    const pid = Number(entry)
    if (!Number.isInteger(pid)) continue
    const parent = parentOf(pid)
    if (parent === undefined) continue
    const list = children.get(parent)
    if (list === undefined) children.set(parent, [pid])
    else list.push(pid)
  }
  const tree = [root]
  for (const pid of tree) tree.push(...(children.get(pid) ?? []))
  return tree
}

/** CPU use of a process tree, from schedstat (nanoseconds; /proc/pid/stat only has ticks of 10 ms). */
export function cpuUse(root: number): CpuUse {
  let runNs = 0
  let waitNs = 0
  for (const pid of processTree(root)) {
    for (const task of list(`/proc/${pid}/task`)) {
      const fields = read(`/proc/${pid}/task/${task}/schedstat`)?.split(' ')
      runNs += Number(fields?.[0] ?? 0)
      waitNs += Number(fields?.[1] ?? 0)
    }
  }
  return { runNs, waitNs }
}

/** CPU nanoseconds of each thread of one process, by name and thread id. */
export function threadUse(pid: number): ReadonlyMap<string, number> {
  return new Map(
    list(`/proc/${pid}/task`).map(task => [
      `${read(`/proc/${pid}/task/${task}/comm`)?.trim() ?? ''} ${task}`,
      Number(read(`/proc/${pid}/task/${task}/schedstat`)?.split(' ')[0] ?? 0),
    ]),
  )
}

/** Memory of a process tree in bytes: proportional set size, so that pages shared by master and worker count once. */
export function residentBytes(root: number): number {
  let kib = 0
  for (const pid of processTree(root)) {
    kib += Number(/^Pss:\s+(\d+) kB/m.exec(read(`/proc/${pid}/smaps_rollup`) ?? '')?.[1] ?? 0)
  }
  return kib * 1024
}

/** Open file descriptors of a process tree. */
export function openHandles(root: number): number {
  return processTree(root).reduce((sum, pid) => sum + list(`/proc/${pid}/fd`).length, 0)
}

function parentOf(pid: number): number | undefined {
  const stat = read(`/proc/${pid}/stat`)
  // The command name may hold spaces and parentheses; the fields start after the last one.
  const parent = stat?.slice(stat.lastIndexOf(')') + 2).split(' ')[1]
  return parent === undefined ? undefined : Number(parent)
}

function read(file: string): string | undefined {
  try {
    return readFileSync(file, 'latin1')
  } catch {
    return undefined // The process ended between listing and reading.
  }
}

function list(dir: string): string[] {
  try {
    return readdirSync(dir)
  } catch {
    return []
  }
}
