// What the system dropped because nobody took it from a socket in time: Linux counts it, and Node does not tell.
import { readFile } from 'node:fs/promises'

const FILES = ['/proc/self/net/udp', '/proc/self/net/udp6']
const COLUMNS = { local: 1, drops: 12 }

/**
 * Sums up what was dropped on UDP sockets by local port. Text: `/proc/net/udp`, a head and a line for each socket (proc(5)); ports
 * are hexadecimal, the last column counts. Lines of other ports are passed over unread: there is one for each client.
 */
export function dropsByPort(text: string, ports: Iterable<number>): ReadonlyMap<number, number> {
  const out = new Map<number, number>()
  for (const port of ports) {
    const mark = `:${port.toString(16).toUpperCase().padStart(4, '0')} `
    for (let at = text.indexOf(mark); at !== -1; at = text.indexOf(mark, at + 1)) {
      const end = text.indexOf('\n', at)
      const line = text.slice(text.lastIndexOf('\n', at) + 1, end === -1 ? undefined : end)
      const columns = line.trim().split(/\s+/)
      const drops = Number(columns[COLUMNS.drops])
      // The same digits may be the port of the other end.
      if (columns[COLUMNS.local]?.endsWith(mark.trim()) === true && drops > 0)
        out.set(port, (out.get(port) ?? 0) + drops)
    }
  }
  return out
}

/** Reads it for the sockets of this machine. Empty where the system does not count (not Linux). */
async function readDrops(ports: readonly number[]): Promise<ReadonlyMap<number, number>> {
  const all = new Map<number, number>()
  for (const file of FILES) {
    const text = await readFile(file, 'utf8').catch(() => '')
    for (const [port, drops] of dropsByPort(text, ports)) all.set(port, (all.get(port) ?? 0) + drops)
  }
  return all
}

/** Tells what has been dropped since the last look, port by port. */
export class ReceiveLosses {
  #before: ReadonlyMap<number, number> = new Map()

  async look(ports: readonly number[]): Promise<ReadonlyMap<number, number>> {
    const now = await readDrops(ports)
    const out = new Map<number, number>()
    for (const [port, drops] of now) {
      const before = this.#before.get(port) ?? 0
      // A socket that was opened anew counts anew.
      const lost = drops < before ? drops : drops - before
      if (lost > 0) out.set(port, lost)
    }
    this.#before = now
    return out
  }
}
