// What the practice server remembers: its agents and what it has counted. Bounded, in memory, gone with the process.
import type { CheckIn } from './check-in.ts'

/** Agents that are remembered; later ones are counted but not listed. */
const MAX_AGENTS = 50_000
/** An agent counts as online for this long after its last check-in: two periods of a normal agent. */
const ONLINE_MS = 600_000

/** One agent as the server sees it. */
export type PracticeAgent = {
  readonly id: string
  readonly name: string
  /** Source address: from X-Forwarded-For when the peer is trusted, else the peer's. */
  readonly source: string
  /** Address of the other end of the connection: the gate's, when there is one. */
  readonly peer: string
  readonly checkIns: number
  readonly lastCheckInMs: number
  readonly heartbeats: number
  readonly lastHeartbeatMs: number | null
}

/** Counters since the start. */
export type PracticeStats = {
  readonly requests: number
  readonly checkIns: number
  readonly badCheckIns: number
  readonly agents: number
  readonly agentsOnline: number
  readonly deployments: number
  readonly deploymentsRefused: number
  readonly uploads: number
  readonly uploadedBytes: number
  readonly uploadsAborted: number
  readonly downloads: number
  readonly downloadsAborted: number
  readonly webSocketsOpen: number
  readonly webSockets: number
  readonly heartbeats: number
  readonly heartbeatReplies: number
  readonly connectionsOpen: number
}

/** Names of plain counters. */
export type Counter = Exclude<keyof PracticeStats, 'agents' | 'agentsOnline'>

/** The memory of one practice server. */
export type PracticeState = {
  readonly count: (counter: Counter, by?: number) => void
  readonly checkIn: (what: CheckIn, source: string, peer: string) => PracticeAgent
  readonly heartbeat: (id: string) => void
  /** Asks that the agent's next heartbeat be answered with "check in now". */
  readonly wantCheckIn: (id: string) => void
  /** Whether a check-in of the agent is wanted; asking once satisfies it. */
  readonly takeWanted: (id: string) => boolean
  readonly agents: () => readonly PracticeAgent[]
  readonly isOnline: (agent: PracticeAgent) => boolean
  readonly stats: () => PracticeStats
  /** Calls back at the next check-in; returns the function that stops waiting. */
  readonly onCheckIn: (listener: (agent: PracticeAgent) => void) => () => void
}

/** Makes an empty memory. */
export function createState(clock: () => number): PracticeState {
  const agents = new Map<string, PracticeAgent>()
  const wanted = new Set<string>()
  const listeners = new Set<(agent: PracticeAgent) => void>()
  const counters: Record<Counter, number> = {
    requests: 0,
    checkIns: 0,
    badCheckIns: 0,
    deployments: 0,
    deploymentsRefused: 0,
    uploads: 0,
    uploadedBytes: 0,
    uploadsAborted: 0,
    downloads: 0,
    downloadsAborted: 0,
    webSocketsOpen: 0,
    webSockets: 0,
    heartbeats: 0,
    heartbeatReplies: 0,
    connectionsOpen: 0,
  }
  const isOnline = (agent: PracticeAgent): boolean => clock() - agent.lastCheckInMs < ONLINE_MS

  return {
    count(counter, by = 1) {
      counters[counter] += by
    },
    checkIn({ id, name }, source, peer) {
      counters.checkIns++
      const before = agents.get(id)
      const agent: PracticeAgent = {
        id,
        name,
        source,
        peer,
        checkIns: (before?.checkIns ?? 0) + 1,
        lastCheckInMs: clock(),
        heartbeats: before?.heartbeats ?? 0,
        lastHeartbeatMs: before?.lastHeartbeatMs ?? null,
      }
      if (before !== undefined || agents.size < MAX_AGENTS) agents.set(id, agent)
      for (const listener of listeners) listener(agent)
      return agent
    },
    heartbeat(id) {
      const agent = agents.get(id)
      if (agent === undefined) return
      agents.set(id, { ...agent, heartbeats: agent.heartbeats + 1, lastHeartbeatMs: clock() })
    },
    wantCheckIn(id) {
      if (agents.has(id)) wanted.add(id)
    },
    takeWanted: id => wanted.delete(id),
    agents: () => [...agents.values()],
    isOnline,
    stats: () => ({
      ...counters,
      agents: agents.size,
      agentsOnline: [...agents.values()].filter(isOnline).length,
    }),
    onCheckIn(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
  }
}
