// The forwarder of the product: an HTTP/1.1 client of its own over node:net and node:tls (ADR 0001 says why).
import type { UpstreamMember } from '../policy/snapshot.ts'
import type { Exchange, ExchangeHandler, Forwarder, UpgradeHandler, UpstreamRequest } from './forwarder.ts'
import { formatRequestHead } from './request-head.ts'
import { TurnEnd } from './turn-end.ts'
import { closing, misuse } from './upstream-error.ts'
import { NO_CONNECTORS, type OpenThrough } from './upstream-socket.ts'
import { WireExchange } from './wire-exchange.ts'
import { WirePool, type PoolLimits } from './wire-pool.ts'

/** Settings of the forwarder; the defaults are those of the product. */
export type ForwarderOptions = Partial<PoolLimits> & {
  /** Monotonic clock, milliseconds. */
  readonly clock?: () => number
  /** Carries connections to members behind a connector. */
  readonly through?: OpenThrough
}

const DEFAULTS: PoolLimits = {
  maxConnections: 16_384,
  maxWaiting: 4_096,
  idleMs: 4_000,
  maxHeadBytes: 65_536,
  maxHeaders: 256,
}

/** How often waits are checked against their limits: their precision, and the price of having no timer per request. */
const SWEEP_MS = 100

/** Makes the forwarder. Methods of an `Exchange` are called as methods; after `onEnd` what is still written is dropped. */
export function createForwarder(options: ForwarderOptions = {}): Forwarder {
  const { clock = () => performance.now(), through = NO_CONNECTORS, ...overrides } = options
  const limits: PoolLimits = { ...DEFAULTS, ...overrides }
  const pools = new Map<string, WirePool>()
  const poolOf = new WeakMap<UpstreamMember, WirePool>()
  const turnEnd = new TurnEnd()
  let now = clock()
  let timer: NodeJS.Timeout | null = null
  let closed = false
  let stalled = false

  const sweep = (): void => {
    const late = clock() - now
    now += late
    // After a stall the answers may be here, only not read yet: they are read before anything is called late.
    stalled = late > SWEEP_MS * 5 && !stalled
    if (!stalled) for (const pool of pools.values()) pool.sweep()
    if ([...pools.values()].every(pool => pool.isEmpty)) stopSweeping()
  }

  const stopSweeping = (): void => {
    if (timer !== null) clearInterval(timer)
    timer = null
  }

  const poolFor = (member: UpstreamMember): WirePool => {
    const known = poolOf.get(member)
    if (known !== undefined) return known
    const key = poolKey(member)
    const pool = pools.get(key) ?? new WirePool(limits, () => now, turnEnd, through)
    pool.revive()
    pools.set(key, pool)
    poolOf.set(member, pool)
    return pool
  }

  const begin = (
    member: UpstreamMember,
    request: UpstreamRequest,
    handler: ExchangeHandler,
    upgradeHandler: UpgradeHandler | null,
  ): Exchange => {
    const head = formatRequestHead(request, upgradeHandler !== null)
    const exchange = new WireExchange(member, request, handler, upgradeHandler, head ?? '')
    if (closed || head === null) {
      const error = closed ? closing() : misuse('its head holds characters that must not be sent')
      // The caller has no exchange in hand yet, so it hears of this a moment later.
      queueMicrotask(() => exchange.fail(error))
      return exchange
    }
    if (timer === null) {
      now = clock()
      timer = setInterval(sweep, SWEEP_MS)
      timer.unref()
    }
    poolFor(member).start(exchange)
    return exchange
  }

  return {
    exchange: (member, request, handler) => begin(member, request, handler, null),
    upgrade: (member, request, handler) => begin(member, request, handler, handler),
    open: member => pools.get(poolKey(member))?.open ?? 0,
    retain: members => {
      const named = new Set(members.map(poolKey))
      for (const [key, pool] of pools) {
        if (named.has(key)) pool.revive()
        else pool.retire()
      }
    },
    close: () => {
      closed = true
      stopSweeping()
      for (const pool of pools.values()) pool.close()
      return Promise.resolve()
    },
  }
}

/** Members with the same key may share connections: same place, same way to prove it. */
function poolKey(member: UpstreamMember): string {
  const { origin, tls, via } = member
  return JSON.stringify([member.id, origin, tls, via])
}
