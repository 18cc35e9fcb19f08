// The forwards for invitations that are open, and which public port is next: in turn, so that an old ticket meets nobody new.
import type { InvitationForward, PortRange } from './invitations.ts'

/** How long a port rests after a forward: whoever still has the old ticket must not reach the next PC. */
export const REST_MS = 600_000

/** What outlives the gate. */
export type SavedForwards = {
  readonly forwards: readonly InvitationForward[]
  /** The port that was given last; 0: none yet. */
  readonly lastPort: number
  /** Ports that rest, and since when. */
  readonly ended: readonly { readonly port: number; readonly atMs: number }[]
}

/** Nothing was ever open. */
export const NO_FORWARDS: SavedForwards = { forwards: [], lastPort: 0, ended: [] }

/** A port, or when the first one is free again; null: never, as far as is known. */
export type PortChoice = { readonly port: number } | { readonly port: null; readonly freeMs: number | null }

/** The forwards by their public port. */
export class ForwardTable {
  readonly #forwards = new Map<number, InvitationForward>()
  readonly #endedMs = new Map<number, number>()
  #lastPort: number

  constructor({ forwards, lastPort, ended }: SavedForwards) {
    this.#lastPort = lastPort
    for (const forward of forwards) this.#forwards.set(forward.port, forward)
    for (const { port, atMs } of ended) this.#endedMs.set(port, atMs)
  }

  /** In the order of their ports. */
  list(): readonly InvitationForward[] {
    return [...this.#forwards.values()].toSorted((a, b) => a.port - b.port)
  }

  get(port: number): InvitationForward | undefined {
    return this.#forwards.get(port)
  }

  get size(): number {
    return this.#forwards.size
  }

  /**
   * The next port in turn that is neither taken nor resting.
   * @param unusable ports that could not be opened
   */
  choose({ first, last }: PortRange, nowMs: number, unusable: ReadonlySet<number>): PortChoice {
    const count = last - first + 1
    const start = this.#lastPort >= first && this.#lastPort < last ? this.#lastPort + 1 : first
    let freeMs: number | null = null
    for (let step = 0; step < count; step++) {
      const port = first + ((start - first + step) % count)
      if (unusable.has(port)) continue
      const busyMs = this.busyUntil(port, nowMs)
      if (busyMs === null) return { port }
      freeMs = freeMs === null ? busyMs : Math.min(freeMs, busyMs)
    }
    return { port: null, freeMs }
  }

  /** Until when a port is taken or rests; null: it is free. */
  busyUntil(port: number, nowMs: number): number | null {
    const forward = this.#forwards.get(port)
    if (forward !== undefined) return forward.expiresMs + REST_MS
    const endedMs = this.#endedMs.get(port)
    return endedMs === undefined || nowMs >= endedMs + REST_MS ? null : endedMs + REST_MS
  }

  /** Puts a forward in, or a changed one in its place. */
  put(forward: InvitationForward): void {
    if (!this.#forwards.has(forward.port)) this.#lastPort = forward.port
    this.#forwards.set(forward.port, forward)
  }

  /** Takes a forward out; its port rests from now on. */
  end(port: number, nowMs: number): void {
    if (!this.#forwards.delete(port)) return
    this.#endedMs.set(port, nowMs)
    for (const [other, atMs] of this.#endedMs) if (nowMs >= atMs + REST_MS) this.#endedMs.delete(other)
  }

  /** Takes a forward out that never was: its port need not rest. */
  drop(port: number): void {
    this.#forwards.delete(port)
  }

  /**
   * To be called before it is asked what is over. A forward that opens only in the future was opened before the clock was set back:
   * it begins anew now, or it would outlive its time by as much as the clock was set back.
   * @returns whether there was one
   */
  meetClock(nowMs: number): boolean {
    let met = false
    for (const forward of this.#forwards.values()) {
      const { openedMs, expiresMs } = forward
      if (openedMs <= nowMs) continue
      this.put({ ...forward, openedMs: nowMs, expiresMs: nowMs + Math.max(0, expiresMs - openedMs) })
      met = true
    }
    return met
  }

  /** Those whose time is over. */
  expired(nowMs: number): readonly InvitationForward[] {
    return this.list().filter(forward => forward.expiresMs <= nowMs)
  }

  saved(): SavedForwards {
    return {
      forwards: this.list(),
      lastPort: this.#lastPort,
      ended: [...this.#endedMs].map(([port, atMs]) => ({ port, atMs })),
    }
  }
}
