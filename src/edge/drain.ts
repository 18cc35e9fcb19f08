// Shutdown: open connections finish what they do; what is left at the end of the time is cut.

const LOOK_MS = 20

/** What can be drained. */
export type Drainable = {
  /** Finish what runs, then close. */
  readonly drain: () => void
  /** Close at once. */
  readonly cut: () => void
}

/**
 * Drains connections.
 * @returns how many had to be cut
 */
export async function drainConnections(connections: ReadonlySet<Drainable>, ms: number): Promise<number> {
  for (const connection of connections) connection.drain()
  await untilEmpty(connections, ms)
  const left = [...connections]
  for (const connection of left) connection.cut()
  // Sockets report their close in the next turns of the event loop.
  if (left.length > 0) await untilEmpty(connections, 1_000)
  return left.length
}

/** Drains several takers of connections at the same time. @returns how many connections had to be cut */
export async function drainAll(
  takers: readonly { readonly drain: (ms: number) => Promise<number> }[],
  ms: number,
): Promise<number> {
  const cut = await Promise.all(takers.map(taker => taker.drain(ms)))
  return cut.reduce((sum, count) => sum + count, 0)
}

function untilEmpty(connections: ReadonlySet<unknown>, ms: number): Promise<void> {
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
