// The bounded memory of rate rules: counters by domain (an address or a site) and member (a rule and a user of it).
import { SlidingWindow } from './window.ts'

/** One counter. */
export class Counter {
  readonly window = new SlidingWindow()
  readonly ruleKey: string
  /** End of the hold; 0: none. */
  heldUntilMs = 0
  /** Requests that were let through and whose outcome is not known yet. */
  pending = 0

  constructor(ruleKey: string) {
    this.ruleKey = ruleKey
  }
}

/** All that is counted of one address or site. */
export class Domain {
  readonly name: string
  readonly counters = new Map<string, Counter>()
  /** Users who logged in from here, and when last. */
  readonly users = new Map<string, number>()
  /** Asked again since it was last passed over for removal. */
  seen = false
  /** End of its longest hold; 0: none. */
  heldUntilMs = 0

  constructor(name: string) {
    this.name = name
  }
}

/** Limits of the memory. */
export type CounterLimits = {
  readonly domains: number
  readonly counters: number
  readonly countersPerDomain: number
  readonly usersPerDomain: number
}

/** Enough for every site of a large partner and a botnet; about 60 MB if all of it were in use. */
export const COUNTER_LIMITS: CounterLimits = {
  domains: 50_000,
  counters: 100_000,
  countersPerDomain: 256,
  usersPerDomain: 32,
}

/** What the memory holds, and what it had to let go. */
export type CounterSizes = {
  readonly domains: number
  readonly held: number
  readonly counters: number
  /** Domains forgotten to make room. */
  readonly evicted: number
  /** Questions that could not be counted because everything in memory is held. */
  readonly uncounted: number
}

/**
 * Domains with and without holds. What is held is never removed for something new, so that nobody can free an address by
 * coming from many others; of the rest the least used goes first (second chance).
 */
export class Counters {
  readonly #limits: CounterLimits
  readonly #free = new Map<string, Domain>()
  readonly #held = new Map<string, Domain>()
  #counters = 0
  #evicted = 0
  #uncounted = 0
  #sweptMs = -Infinity

  constructor(limits: CounterLimits) {
    this.#limits = limits
  }

  get sizes(): CounterSizes {
    return {
      domains: this.#free.size + this.#held.size,
      held: this.#held.size,
      counters: this.#counters,
      evicted: this.#evicted,
      uncounted: this.#uncounted,
    }
  }

  /** The domain of a name, made when it is new; null: no room, everything is held. */
  domain(name: string, nowMs: number): Domain | null {
    const known = this.find(name, nowMs)
    if (known !== null) {
      known.seen = true
      return known
    }
    if (this.#free.size + this.#held.size >= this.#limits.domains && !this.#makeRoom(nowMs, null)) {
      this.#uncounted++
      return null
    }
    const domain = new Domain(name)
    this.#free.set(name, domain)
    return domain
  }

  /** The domain of a name, if it is known. */
  find(name: string, nowMs: number): Domain | null {
    const held = this.#held.get(name)
    if (held !== undefined && held.heldUntilMs <= nowMs) this.#release(held)
    return held ?? this.#free.get(name) ?? null
  }

  /**
   * The counter of a member, made when it is new.
   * When every member of the domain is held, those that are new share one counter, lest the next one be free.
   * @returns null when there is no room: everything in memory is held
   */
  counter(domain: Domain, member: string, ruleKey: string, nowMs: number): Counter | null {
    const known = domain.counters.get(member)
    if (known !== undefined) {
      // The order of a map is that of its keys' arrival: the one that was asked last goes to the end.
      domain.counters.delete(member)
      domain.counters.set(member, known)
      return known
    }
    const shared = `${ruleKey}${SHARED}`
    if (
      member !== shared &&
      domain.counters.size >= this.#limits.countersPerDomain &&
      !this.#dropMember(domain, nowMs)
    ) {
      return this.counter(domain, shared, ruleKey, nowMs)
    }
    if (this.#counters >= this.#limits.counters && !this.#makeRoom(nowMs, domain)) {
      this.#uncounted++
      return null
    }
    const counter = new Counter(ruleKey)
    domain.counters.set(member, counter)
    this.#counters++
    return counter
  }

  /** Begins a hold. */
  hold(domain: Domain, counter: Counter, untilMs: number): void {
    counter.heldUntilMs = untilMs
    counter.window.clear()
    domain.heldUntilMs = Math.max(domain.heldUntilMs, untilMs)
    this.#free.delete(domain.name)
    this.#held.set(domain.name, domain)
  }

  /** Notes that a user logged in; the one who did so longest ago gives way. */
  welcome(domain: Domain, user: string, nowMs: number): void {
    domain.users.delete(user)
    if (domain.users.size >= this.#limits.usersPerDomain) {
      const [oldest] = domain.users.keys()
      if (oldest !== undefined) domain.users.delete(oldest)
    }
    domain.users.set(user, nowMs)
  }

  /** Forgets the counters of rules that are gone. Knowledge of who logged in stays. */
  retain(ruleKeys: ReadonlySet<string>): void {
    for (const domains of [this.#free, this.#held]) {
      for (const domain of domains.values()) {
        for (const [member, counter] of domain.counters) {
          if (ruleKeys.has(counter.ruleKey)) continue
          domain.counters.delete(member)
          this.#counters--
        }
        domain.heldUntilMs = longestHold(domain)
        if (domains === this.#held && domain.heldUntilMs === 0) this.#release(domain)
      }
    }
  }

  #release(domain: Domain): void {
    domain.heldUntilMs = 0
    this.#held.delete(domain.name)
    this.#free.set(domain.name, domain)
  }

  /** Removes a domain without a hold, never `keep`. Returns false when there is none. */
  #makeRoom(nowMs: number, keep: Domain | null): boolean {
    if (this.#free.size <= 1) this.#sweep(nowMs)
    // Each domain is passed over once at most, for having been asked again; then the first of them goes.
    for (let left = 2 * this.#free.size; left > 0; left--) {
      const [domain] = this.#free.values()
      if (domain === undefined) return false
      if (domain !== keep && !domain.seen) {
        this.#free.delete(domain.name)
        this.#counters -= domain.counters.size
        this.#evicted++
        return true
      }
      domain.seen = false
      this.#free.delete(domain.name)
      this.#free.set(domain.name, domain)
    }
    return false
  }

  /** Finds holds that have ended; at most once a second, because it looks at all of them. */
  #sweep(nowMs: number): void {
    if (nowMs - this.#sweptMs < 1000) return
    this.#sweptMs = nowMs
    for (const domain of this.#held.values()) if (domain.heldUntilMs <= nowMs) this.#release(domain)
  }

  #dropMember(domain: Domain, nowMs: number): boolean {
    for (const [member, counter] of domain.counters) {
      if (counter.heldUntilMs > nowMs || member.endsWith(SHARED)) continue
      domain.counters.delete(member)
      this.#counters--
      return true
    }
    return false
  }
}

// Between the key of a rule and what follows stands a line feed, which no key has.
const SHARED = '\n\n'

function longestHold(domain: Domain): number {
  let longest = 0
  for (const counter of domain.counters.values()) longest = Math.max(longest, counter.heldUntilMs)
  return longest
}
