// What one operator may see. Every page asks through here, so that limits to sites and keys are enforced in one place.
import type { Operator } from '../../access/access.ts'
import type { EventQuery, EventSearch, StoredEvent } from '../../journal/store-events.ts'
import type { GateStatus } from '../status.ts'

/** Where the data of pages comes from, whole and unlimited. */
export type ViewSources = {
  readonly status: () => GateStatus
  readonly findEvents: (query: EventQuery) => Promise<readonly StoredEvent[]>
  /** The same, within a time that a person waits. */
  readonly searchEvents: (query: EventQuery) => Promise<EventSearch>
  readonly eventsByReference: (reference: string) => Promise<readonly StoredEvent[]>
}

/** The data of the gate as far as one operator may see it. */
export type View = {
  readonly operator: Operator
  /** Whether the operator is limited to sites or keys. */
  readonly isLimited: boolean
  /** Whether data of this site may be shown. @param site null: what belongs to no site */
  readonly sees: (site: string | null) => boolean
  /** Whether clients of this gateway key may be shown. */
  readonly reaches: (key: string) => boolean
  readonly status: () => GateStatus
  /** Newest first. */
  readonly findEvents: (query: EventQuery) => Promise<readonly StoredEvent[]>
  /** The same, within a time that a person waits. */
  readonly searchEvents: (query: EventQuery) => Promise<EventSearch>
  readonly eventsByReference: (reference: string) => Promise<readonly StoredEvent[]>
}

/** The view of an operator. */
export function viewOf(operator: Operator, sources: ViewSources): View {
  const sites = operator.sites === null ? null : new Set(operator.sites)
  const keys = operator.keys === null ? null : new Set(operator.keys)
  const sees: View['sees'] = site => sites === null || (site !== null && sites.has(site))
  const reaches: View['reaches'] = key => keys === null || keys.has(key)
  const scoped = (query: EventQuery): EventQuery =>
    operator.sites === null ? query : { ...query, sites: operator.sites }
  const isLimited = sites !== null || keys !== null
  return {
    operator,
    isLimited,
    sees,
    reaches,
    status: () => {
      const status = sources.status()
      return isLimited ? limitedStatus(status, sees, reaches) : status
    },
    findEvents: query => sources.findEvents(scoped(query)),
    searchEvents: query => sources.searchEvents(scoped(query)),
    eventsByReference: async reference =>
      (await sources.eventsByReference(reference)).filter(event => sees(event.site)),
  }
}

/** The status without what belongs to other sites, and without what only whoever runs the gate may read. */
function limitedStatus(status: GateStatus, sees: View['sees'], reaches: View['reaches']): GateStatus {
  const connections = status.connections.filter(entry => sees(entry.site))
  const clients = status.clients.filter(({ site, key }) => sees(site) && reaches(key))
  const shown = new Set(clients.map(({ name, key }) => `${key} ${name}`))
  return {
    ...status,
    pid: 0,
    policy: {
      ...status.policy,
      id: '',
      directory: '',
      sites: 0,
      warnings: [],
      rejected: null,
      ...seenTrials(status, sees),
    },
    listeners: [],
    open: {
      ...status.open,
      connections: connections.length,
      webSockets: connections.filter(entry => entry.state.startsWith('websocket')).length,
    },
    connections,
    upstreams: status.upstreams.map(member => ({
      ...member,
      origin: '',
      lastProblem: null,
      openRequests: 0,
    })),
    heartbeats: status.heartbeats.map(entry => {
      const sites = entry.sites.filter(({ site }) => sees(site))
      return {
        ...entry,
        upstream: '',
        flows: 0,
        connector:
          entry.connector === null ? null : { ...entry.connector, connections: 0, contexts: 0, forged: 0 },
        sources: 0,
        heartbeats: sum(sites.map(({ heartbeats }) => heartbeats)),
        replies: sum(sites.map(({ replies }) => replies)),
        lastHeartbeatMs: newest(sites.map(({ lastHeartbeatMs }) => lastHeartbeatMs)),
        lastReplyMs: newest(sites.map(({ lastReplyMs }) => lastReplyMs)),
        sites,
      }
    }),
    // Whose PC is helped, and on which port, is for whoever runs the gate.
    invitations: [],
    clients,
    sessions: status.sessions.filter(({ client, key }) => shown.has(`${key} ${client}`)),
    certificates: [],
    openings: status.openings.filter(({ range }) => range.startsWith('site:') && sees(range.slice(5))),
    memory: { rssBytes: 0, heapBytes: 0 },
  }
}

/** Trials that hold at some site that may be seen, without the others' names. */
function seenTrials(
  { policy: { trials } }: GateStatus,
  sees: View['sees'],
): Pick<GateStatus['policy'], 'trials'> {
  if (trials === undefined) return {}
  const shown = trials
    .map(trial => ({ ...trial, sites: trial.sites?.filter(site => sees(site)) ?? null, line: '' }))
    .filter(({ sites }) => sites === null || sites.length > 0)
  return { trials: shown }
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0)
}

function newest(times: readonly (number | null)[]): number | null {
  return times.reduce<number | null>(
    (latest, time) => (time === null ? latest : Math.max(latest ?? 0, time)),
    null,
  )
}
