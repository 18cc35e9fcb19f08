// Bounded memories: the newest entries of a map, and a set whose members may be used at a pace.

/** A map that forgets what was set longest ago when it is full. */
export type Recent<T> = {
  readonly get: (key: string) => T | undefined
  readonly set: (key: string, value: T) => void
  readonly clear: () => void
}

/** Makes a map of at most `limit` entries. */
export function createRecent<T>(limit: number): Recent<T> {
  const entries = new Map<string, T>()
  return {
    get: key => entries.get(key),
    set: (key, value) => {
      entries.delete(key)
      entries.set(key, value)
      dropOldest(entries, limit)
    },
    clear: () => entries.clear(),
  }
}

/** Makes room in a full map: an eighth of it at once, because a map that loses its first entry again and again is slow to walk. */
export function dropOldest(entries: Map<string, unknown>, limit: number): void {
  if (entries.size <= limit) return
  let excess = Math.ceil(limit / 8)
  for (const oldest of entries.keys()) {
    entries.delete(oldest)
    if (--excess <= 0) return
  }
}

/** A set whose members may each be taken a few times at once, and then once a second. */
export type PacedSet = {
  readonly add: (key: string) => void
  /** Whether the key is in the set and may be taken now. */
  readonly take: (key: string) => boolean
}

const BURST = 50
const PER_SECOND = 1

/** Makes a set of at most `limit` members. */
export function createPacedSet(limit: number, clock: () => number): PacedSet {
  const members = createRecent<{ left: number; atMs: number }>(limit)
  return {
    add: key => {
      if (members.get(key) === undefined) members.set(key, { left: BURST, atMs: clock() })
    },
    take: key => {
      const member = members.get(key)
      if (member === undefined) return false
      const nowMs = clock()
      member.left = Math.min(BURST, member.left + (Math.max(0, nowMs - member.atMs) / 1_000) * PER_SECOND)
      member.atMs = nowMs
      if (member.left < 1) return false
      member.left--
      return true
    },
  }
}
