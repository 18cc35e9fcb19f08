// Finds clients of products that hold two connections each when notifications come over TCP, and hold only one. Pure.

/** A single connection that lived for so long is no dial that was given up. */
export const LONE_MS = 60_000
/** A client is told of so often at most. */
export const TELL_MS = 24 * 3_600_000
/** Clients that are remembered; beyond it the longest known is forgotten. */
const MAX_CLIENTS = 10_000

type Client = { open: number; most: number; toldMs: number }

/**
 * Counts connections by client address. A client whose only connection was never joined by a second one waits for notifications
 * elsewhere. Several clients behind one address look like one with many connections, and are not found: a hint, no more.
 */
export class LoneSessions {
  readonly #clients = new Map<string, Client>()

  opened(client: string): void {
    const known = this.#clients.get(client)
    if (known === undefined) {
      if (this.#clients.size >= MAX_CLIENTS) {
        const [oldest] = this.#clients.keys()
        if (oldest !== undefined) this.#clients.delete(oldest)
      }
      this.#clients.set(client, { open: 1, most: 1, toldMs: -Infinity })
      return
    }
    known.open++
    known.most = known.open === 1 ? 1 : Math.max(known.most, known.open)
  }

  /**
   * A connection has ended.
   * @param durationMs how long it was open
   * @returns whether its client is to be told of
   */
  closed(client: string, durationMs: number, nowMs: number): boolean {
    const known = this.#clients.get(client)
    if (known === undefined) return false
    known.open = Math.max(0, known.open - 1)
    if (known.most > 1 || durationMs < LONE_MS || nowMs - known.toldMs < TELL_MS) return false
    known.toldMs = nowMs
    return true
  }
}
