// The connections to one upstream member: the last used is used first, idle ones close early, waiting is bounded.
import type { UpstreamMember } from '../policy/snapshot.ts'
import type { ParserLimits } from './response-parser.ts'
import type { TurnEnd } from './turn-end.ts'
import type { OpenThrough } from './upstream-socket.ts'
import { busy, closing } from './upstream-error.ts'
import { WireConnection, type ConnectionOwner } from './wire-connection.ts'
import type { WireExchange } from './wire-exchange.ts'

/** Bounds of a pool. */
export type PoolLimits = ParserLimits & {
  /** Connections to one member at once. */
  readonly maxConnections: number
  /** Exchanges that wait for a connection at once. */
  readonly maxWaiting: number
  /** A connection that was idle this long is closed: below the shortest keep-alive of common servers (5 s). */
  readonly idleMs: number
}

/** The pool of one member. */
export class WirePool implements ConnectionOwner {
  readonly now: () => number
  readonly turnEnd: TurnEnd
  readonly through: OpenThrough
  readonly #limits: PoolLimits
  readonly #all = new Set<WireConnection>()
  readonly #idle: WireConnection[] = []
  readonly #waiting = new Set<WireExchange>()
  #retired = false

  constructor(limits: PoolLimits, now: () => number, turnEnd: TurnEnd, through: OpenThrough) {
    this.through = through
    this.#limits = limits
    this.now = now
    this.turnEnd = turnEnd
  }

  /** Gives the exchange a connection: a kept one, a new one, or the next that becomes free. */
  start(exchange: WireExchange): void {
    const kept = exchange.repeated || exchange.upgradeHandler !== null ? undefined : this.#idle.pop()
    if (kept !== undefined) return kept.run(exchange)
    if (this.#all.size < this.#limits.maxConnections) return this.#open(exchange.member).run(exchange)
    if (this.#waiting.size >= this.#limits.maxWaiting) {
      // The caller has no exchange in hand yet, so it hears of this in the next turn.
      queueMicrotask(() => exchange.fail(busy(exchange.member, 'too many requests wait for a connection')))
      return
    }
    this.#waiting.add(exchange)
    exchange.wait(this.now() + exchange.request.connectMs, () => this.#waiting.delete(exchange))
  }

  free(connection: WireConnection, keepAliveMs: number | null): void {
    const next = this.#nextWaiting(exchange => exchange.upgradeHandler === null)
    if (next !== undefined) return connection.run(next)
    const idleMs = Math.min(this.#limits.idleMs, (keepAliveMs ?? Infinity) - 1000)
    if (this.#retired || idleMs <= 0) return connection.drop()
    connection.deadlineMs = this.now() + idleMs
    this.#idle.push(connection)
  }

  gone(connection: WireConnection): void {
    this.#all.delete(connection)
    const place = this.#idle.lastIndexOf(connection)
    if (place >= 0) this.#idle.splice(place, 1)
    if (this.#waiting.size === 0 || this.#all.size >= this.#limits.maxConnections) return
    const next = this.#nextWaiting(() => true)
    if (next !== undefined) this.#open(next.member).run(next)
  }

  repeat(exchange: WireExchange): void {
    this.start(exchange)
  }

  /** Ends waits that are over their limit. */
  sweep(): void {
    const now = this.now()
    for (const connection of this.#all) if (connection.deadlineMs <= now) connection.expire()
    for (const exchange of this.#waiting) {
      if (exchange.waitsUntil > now) continue
      this.#waiting.delete(exchange)
      exchange.fail(busy(exchange.member, 'no connection became free in time'))
    }
  }

  /** No snapshot names the member any more: running exchanges finish, nothing is kept. */
  retire(): void {
    this.#retired = true
    for (const connection of this.#idle.splice(0)) connection.drop()
  }

  /** Serves again. */
  revive(): void {
    this.#retired = false
  }

  /** Ends everything at once. */
  close(): void {
    this.retire()
    for (const exchange of this.#waiting) exchange.fail(closing())
    this.#waiting.clear()
    for (const connection of this.#all) connection.close()
  }

  /** Exchanges that run or wait. */
  get open(): number {
    return this.#all.size - this.#idle.length + this.#waiting.size
  }

  /** Nothing is open and nothing waits. */
  get isEmpty(): boolean {
    return this.#all.size === 0 && this.#waiting.size === 0
  }

  #open(member: UpstreamMember): WireConnection {
    const connection = new WireConnection(member, this, this.#limits)
    this.#all.add(connection)
    return connection
  }

  #nextWaiting(fits: (exchange: WireExchange) => boolean): WireExchange | undefined {
    for (const exchange of this.#waiting) {
      if (!fits(exchange)) continue
      this.#waiting.delete(exchange)
      return exchange
    }
    return undefined
  }
}
