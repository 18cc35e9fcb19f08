// Watches the connector behind a listener: whether the public port stays open, and what is worth a report. Pure.
import type { ConnectorTrouble, TunnelState } from '../../policy/running-state.ts'

/** A connector that is away for so long is not about to return: senders are better told than kept waiting. */
export const AWAY_MS = 15_000
/** Drops are reported together, so often at most. */
export const DROPS_MS = 60_000

/** Datagrams that were dropped since the last report. */
export type Drops = {
  readonly aged: number
  readonly overflow: number
  readonly away: number
  readonly forged: number
}

/** What is to be done. */
export type Look = {
  readonly port: 'close' | 'open' | 'leave'
  /** How long it was away. */
  readonly awayMs: number
  readonly drops: Drops | null
}

/** Watches one connector for one listener. */
export class ConnectorWatch {
  #awaySinceMs: number | null
  #isClosed = false
  #dropsMs = -Infinity
  #reported: Drops = { aged: 0, overflow: 0, away: 0, forged: 0 }

  /** Until the first look the connector counts as away: after a start it has the usual time to come. */
  constructor(nowMs: number) {
    this.#awaySinceMs = nowMs
  }

  /** Whether the port is closed because the connector is away. */
  get isClosed(): boolean {
    return this.#isClosed
  }

  /** To be called about once a second. */
  look(state: TunnelState | null, nowMs: number): Look {
    const drops = state === null ? null : this.#drops(state, nowMs)
    const awayMs = this.#awaySinceMs === null ? 0 : nowMs - this.#awaySinceMs
    if (state !== null && troubleOf(state) === null) {
      this.#awaySinceMs = null
      const wasClosed = this.#isClosed
      this.#isClosed = false
      return { port: wasClosed ? 'open' : 'leave', awayMs, drops }
    }
    this.#awaySinceMs ??= nowMs
    if (this.#isClosed || awayMs < AWAY_MS) return { port: 'leave', awayMs, drops }
    this.#isClosed = true
    return { port: 'close', awayMs, drops }
  }

  #drops(state: TunnelState, nowMs: number): Drops | null {
    if (nowMs - this.#dropsMs < DROPS_MS) return null
    const before = this.#reported
    const now: Drops = { ...state.dropped, forged: state.forged }
    const since: Drops = {
      aged: now.aged - before.aged,
      overflow: now.overflow - before.overflow,
      away: now.away - before.away,
      forged: now.forged - before.forged,
    }
    if (since.aged + since.overflow + since.away + since.forged <= 0) return null
    this.#reported = now
    this.#dropsMs = nowMs
    return since
  }
}

/** What is wrong with a connector. */
export function troubleOf({ connections, isOffered }: TunnelState): ConnectorTrouble {
  if (connections === 0) return 'away'
  return isOffered === false ? 'not-offered' : null
}
