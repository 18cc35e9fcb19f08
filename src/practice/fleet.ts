// A fleet of simulated agents: many sources, mixed TLS versions, failover, and figures of how they fare. The same seed gives the same fleet.
import type { TlsVersion } from '../net/tls-version.ts'
import {
  createAgent,
  type AgentOptions,
  type CheckInResult,
  type Place,
  type SimulatedAgent,
} from './agent.ts'
import type { AttemptFailure } from './agent-failure.ts'

/** A part of the fleet that differs from the rest. */
export type FleetGroup = {
  readonly name: string
  /** Share of the fleet, 0 to 1; the first group gets what rounding leaves. */
  readonly share: number
  readonly tls?: { readonly min: TlsVersion; readonly max: TlsVersion }
  /** Source address of the n-th agent of the group (from 0); by default every agent has its own loopback address. */
  readonly source?: (index: number) => string
  /** Client address in a PROXY header instead of a real source address. */
  readonly proxySource?: (index: number) => string
}

/** What makes a fleet. */
export type FleetOptions = Omit<AgentOptions, 'id' | 'name' | 'sourceAddress' | 'proxySource' | 'tls'> & {
  readonly agents: number
  readonly seed: number
  readonly groups?: readonly FleetGroup[]
  /** Time between check-ins of one agent while the fleet runs. Field: 30 s for master agents, 300 s for others. */
  readonly checkInMs?: number
  /** Time between heartbeats while the fleet runs; they need `heartbeat`. Field: 5 s. */
  readonly heartbeatMs?: number
  /** Told after every check-in. */
  readonly checkedIn?: (agent: FleetAgent, result: CheckInResult) => void
}

/** An agent of a fleet. */
export type FleetAgent = SimulatedAgent & { readonly group: string }

/** Figures since the start. */
export type FleetStats = {
  readonly agents: number
  readonly checkIns: number
  readonly ok: number
  readonly failed: number
  /** Successful check-ins by the server that took them. */
  readonly okAt: Readonly<Record<Place, number>>
  /** Failed attempts by reason, those that a later attempt made good included. */
  readonly failures: ReadonlyMap<AttemptFailure, number>
  /** Successful check-ins by negotiated TLS version. */
  readonly tls: ReadonlyMap<string, number>
  readonly heartbeats: number
  readonly heartbeatReplies: number
  /** Milliseconds of the most recent successful attempts. */
  readonly latencyMs: { readonly p50: number; readonly p95: number; readonly max: number }
}

/** A fleet. */
export type Fleet = {
  readonly agents: readonly FleetAgent[]
  /** Every agent checks in once, at most `concurrency` at a time. */
  readonly checkInAll: (concurrency?: number) => Promise<void>
  /** Every agent sends one heartbeat. */
  readonly heartbeatAll: (timeoutMs: number) => Promise<void>
  /** Checks in and sends heartbeats by the clock until it is stopped. */
  readonly start: () => void
  /** Ends timers and connections. A check-in that runs ends as failed and is not counted. */
  readonly stop: () => void
  readonly stats: () => FleetStats
}

const LATENCIES_KEPT = 10_000
const HEARTBEAT_WAIT_MS = 2_000
const WHOLE: readonly FleetGroup[] = [{ name: 'all', share: 1 }]

/** Makes a fleet; nothing is sent before `checkInAll`, `heartbeatAll` or `start`. */
export function createFleet(options: FleetOptions): Fleet {
  const random = seededRandom(options.seed)
  const agents = makeAgents(options)
  const failures = new Map<AttemptFailure, number>()
  const tls = new Map<string, number>()
  const okAt: Record<Place, number> = { primary: 0, secondary: 0 }
  const latencies: number[] = []
  const timers = new Set<NodeJS.Timeout>()
  let checkIns = 0
  let heartbeats = 0
  let heartbeatReplies = 0
  let stopped = false

  async function checkIn(agent: FleetAgent): Promise<void> {
    const result = await agent.checkIn()
    if (stopped) return
    const last = result.attempts.at(-1)
    for (const { failure } of result.attempts) if (failure !== null) increase(failures, failure)
    if (result.ok && last !== undefined) {
      okAt[last.place]++
      if (last.tls !== null) increase(tls, last.tls)
      latencies[(okAt.primary + okAt.secondary - 1) % LATENCIES_KEPT] = last.durationMs
    }
    checkIns++
    options.checkedIn?.(agent, result)
  }

  async function heartbeat(agent: FleetAgent, timeoutMs: number): Promise<boolean> {
    const { replied, checkInNow } = await agent.heartbeat(timeoutMs)
    if (stopped) return false
    heartbeats++
    if (replied) heartbeatReplies++
    return checkInNow
  }

  function repeat(periodMs: number, work: () => Promise<void>): void {
    // The first turn comes at a random moment of the period: a fleet never acts in step.
    const schedule = (delayMs: number): void => {
      const timer = setTimeout(() => {
        timers.delete(timer)
        void work().then(() => {
          if (!stopped) schedule(periodMs * (0.9 + random() * 0.2))
        })
      }, delayMs)
      timers.add(timer)
    }
    schedule(periodMs * random())
  }

  return {
    agents,
    async checkInAll(concurrency = 64) {
      const queue = agents.values()
      const worker = async (): Promise<void> => {
        for (const agent of queue) await checkIn(agent)
      }
      await Promise.all(Array.from({ length: Math.min(concurrency, agents.length) }, worker))
    },
    async heartbeatAll(timeoutMs) {
      await Promise.all(agents.map(agent => heartbeat(agent, timeoutMs)))
    },
    start() {
      for (const agent of agents) {
        repeat(options.checkInMs ?? 30_000, () => checkIn(agent))
        if (options.heartbeat === undefined) continue
        repeat(options.heartbeatMs ?? 5_000, async () => {
          if (await heartbeat(agent, HEARTBEAT_WAIT_MS)) await checkIn(agent)
        })
      }
    },
    stop() {
      stopped = true
      for (const timer of timers) clearTimeout(timer)
      timers.clear()
      for (const agent of agents) agent.close()
    },
    stats() {
      const ok = okAt.primary + okAt.secondary
      const sorted = [...latencies].sort((a, b) => a - b)
      const at = (share: number): number => sorted[Math.floor((sorted.length - 1) * share)] ?? 0
      return {
        agents: agents.length,
        checkIns,
        ok,
        failed: checkIns - ok,
        okAt: { ...okAt },
        failures: new Map(failures),
        tls: new Map(tls),
        heartbeats,
        heartbeatReplies,
        latencyMs: { p50: at(0.5), p95: at(0.95), max: at(1) },
      }
    },
  }
}

/** Loopback address number `index` of a simulated site: 127.20.0.1 onwards. Linux answers on all of 127.0.0.0/8. */
function loopbackSource(index: number): string {
  const host = index % 250
  return `127.${20 + Math.floor(index / 62_500)}.${Math.floor(index / 250) % 250}.${host + 1}`
}

function makeAgents(options: FleetOptions): readonly FleetAgent[] {
  const groups = options.groups ?? WHOLE
  const sizes = groups.map(({ share }) => Math.floor(options.agents * share))
  sizes[0] = options.agents - sizes.slice(1).reduce((sum, size) => sum + size, 0)
  const agents: FleetAgent[] = []
  for (const [at, group] of groups.entries()) {
    for (let index = 0; index < (sizes[at] ?? 0); index++) {
      const id = `practice-${options.seed}-${String(agents.length + 1).padStart(5, '0')}`
      const real =
        group.source?.(index) ?? (group.proxySource === undefined ? loopbackSource(agents.length) : undefined)
      const agent = createAgent({
        ...options,
        id,
        name: `${group.name.toUpperCase()}-PC${String(index + 1).padStart(4, '0')}`,
        ...(real === undefined ? {} : { sourceAddress: real }),
        ...(group.proxySource === undefined ? {} : { proxySource: group.proxySource(index) }),
        ...(group.tls === undefined ? {} : { tls: group.tls }),
      })
      agents.push({ ...agent, group: group.name })
    }
  }
  return agents
}

function increase<K>(counts: Map<K, number>, key: K): void {
  counts.set(key, (counts.get(key) ?? 0) + 1)
}

/** The mulberry32 generator: small, fast, and the same on every machine. */
function seededRandom(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}
