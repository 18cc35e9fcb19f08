// Limits how many lines and rows clients can cause: per address, and per event in all. Metrics and ledger count everything.

/** A token bucket. */
export type Rate = { readonly burst: number; readonly perSecond: number }

/** Limits of recording. */
export type FloodLimits = {
  readonly perAddress: Rate
  readonly perEvent: Rate
  /** Addresses that are remembered; beyond it the memory starts anew. */
  readonly addresses: number
}

/** Generous for people and agents, tight for floods. */
export const FLOOD_LIMITS: FloodLimits = {
  perAddress: { burst: 300, perSecond: 10 },
  perEvent: { burst: 3_000, perSecond: 500 },
  addresses: 20_000,
}

type Bucket = { tokens: number; atMs: number }

/** Says whether one more event of this name and address may be recorded. */
export type FloodLimiter = (name: string, address: string, nowMs: number) => boolean

/** Makes a limiter. */
export function createFloodLimiter(limits: FloodLimits = FLOOD_LIMITS): FloodLimiter {
  const events = new Map<string, Bucket>()
  const addresses = new Map<string, Bucket>()
  return (name, address, nowMs) => {
    if (addresses.size > limits.addresses) addresses.clear()
    return take(addresses, address, limits.perAddress, nowMs) && take(events, name, limits.perEvent, nowMs)
  }
}

function take(buckets: Map<string, Bucket>, key: string, rate: Rate, nowMs: number): boolean {
  let bucket = buckets.get(key)
  if (bucket === undefined) {
    bucket = { tokens: rate.burst, atMs: nowMs }
    buckets.set(key, bucket)
  } else {
    // A clock that was set back gives nothing and takes nothing.
    const gained = (Math.max(0, nowMs - bucket.atMs) / 1_000) * rate.perSecond
    bucket.tokens = Math.min(rate.burst, bucket.tokens + gained)
    bucket.atMs = nowMs
  }
  if (bucket.tokens < 1) return false
  bucket.tokens -= 1
  return true
}
