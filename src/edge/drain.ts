// Shutdown: open connections finish what they do; what is left at the end of the time is cut.
import type { GateConnection } from './gate-connection.ts'

const LOOK_MS = 20

/**
 * Drains connections.
 * @returns how many had to be cut
 */
export async function drainConnections(
  connections: ReadonlySet<GateConnection>,
  ms: number,
): Promise<number> {
  for (const connection of connections) connection.drain()
  await untilEmpty(connections, ms)
  const left = [...connections]
  for (const connection of left) connection.cut()
  // Sockets report their close in the next turns of the event loop.
  if (left.length > 0) await untilEmpty(connections, 1_000)
  return left.length
}

function untilEmpty(connections: ReadonlySet<GateConnection>, ms: number): Promise<void> {
  if (connections.size === 0) return Promise.resolve()
  return new Promise(resolve => {
    const stop = (): void => {
      clearInterval(looking)
      clearTimeout(ending)
      resolve()
    }
    const looking = setInterval(() => {
      if (connections.size === 0) stop()
    }, LOOK_MS)
    const ending = setTimeout(stop, ms)
  })
}
