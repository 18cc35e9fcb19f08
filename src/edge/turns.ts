// Work on the same state, one piece after the other. Pure.

/** Runs work when all that was given before is done. */
export type InTurn = <T>(work: () => Promise<T>) => Promise<T>

/** Creates a queue of its own. Work that fails rejects its own promise; what waits behind it runs all the same. */
export function createTurns(): InTurn {
  let queue: Promise<unknown> = Promise.resolve()
  return work => {
    const done = queue.then(work)
    queue = done.catch(() => undefined)
    return done
  }
}
