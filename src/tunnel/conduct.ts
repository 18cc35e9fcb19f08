// PURE: who breaks the protocol of the tunnel again and again, and for how long nothing new of them is taken.

/** Remembers connections that were ended because the other side broke the protocol, by gateway key and address. */
export type Conduct = {
  readonly broke: (key: string, address: string, nowMs: number) => void
  /** Milliseconds until something new is taken; 0: now. */
  readonly heldMs: (key: string, address: string, nowMs: number) => number
}

/** So many within a minute are none that a faulty connector makes by itself: it waits longer between two. */
const BREAKS = 8
const HELD_MS = 60_000
/** Pairs that are remembered; the oldest go first. Each costs whoever makes it a good key. */
const REMEMBERED = 10_000

/** Makes a memory. What is attached already stays, whoever else stands behind the same address. */
export function createConduct(): Conduct {
  /** Times of the last breaks, oldest first. */
  const pairs = new Map<string, readonly number[]>()
  return {
    broke: (key, address, nowMs) => {
      const pair = `${key}\0${address}`
      const recent = (pairs.get(pair) ?? []).filter(atMs => nowMs - atMs < HELD_MS)
      pairs.delete(pair)
      pairs.set(pair, [...recent, nowMs].slice(-BREAKS))
      const [oldest] = pairs.keys()
      if (pairs.size > REMEMBERED && oldest !== undefined) pairs.delete(oldest)
    },
    heldMs: (key, address, nowMs) => {
      const recent = pairs.get(`${key}\0${address}`) ?? []
      const [first] = recent
      if (recent.length < BREAKS || first === undefined || nowMs - first >= HELD_MS) return 0
      return Math.max(0, first + HELD_MS - nowMs)
    },
  }
}
