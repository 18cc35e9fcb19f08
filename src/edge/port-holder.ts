// Finds out which process holds a port, so that "address in use" comes with the name of the culprit. Linux only; best effort.
import { readdir, readFile, readlink } from 'node:fs/promises'

/** A process that listens on a port. */
export type PortHolder = { readonly pid: number; readonly command: string }

const MAX_PROCESSES = 10_000

/** The process that listens on the TCP port; undefined when there is none or it cannot be seen. */
export async function findPortHolder(port: number): Promise<PortHolder | undefined> {
  const inodes = new Set<string>()
  for (const table of ['/proc/net/tcp', '/proc/net/tcp6']) {
    for (const line of (await readText(table)).split('\n')) {
      const fields = line.trim().split(/\s+/)
      const isListening = fields[3] === '0A'
      const localPort = Number.parseInt(fields[1]?.split(':')[1] ?? '', 16)
      if (isListening && localPort === port && fields[9] !== undefined) inodes.add(`socket:[${fields[9]}]`)
    }
  }
  if (inodes.size === 0) return undefined
  const processes = (await listing('/proc')).filter(name => /^[0-9]+$/.test(name)).slice(0, MAX_PROCESSES)
  for (const pid of processes) {
    for (const descriptor of await listing(`/proc/${pid}/fd`)) {
      const target = await readlink(`/proc/${pid}/fd/${descriptor}`).catch(() => '')
      if (!inodes.has(target)) continue
      return { pid: Number(pid), command: (await readText(`/proc/${pid}/comm`)).trim() }
    }
  }
  return undefined
}

function listing(path: string): Promise<string[]> {
  return readdir(path).catch(() => [])
}

function readText(path: string): Promise<string> {
  return readFile(path, 'latin1').catch(() => '')
}
