// What the composed parts say of themselves, put together for `GET /v1/status` and for the gauges of the metrics.
import { originText } from './config/describe.ts'
import type { GateFacts } from './admin/health.ts'
import type { CertificateState, GateStatus, RejectedPolicy } from './admin/status.ts'
import type { Certificates } from './edge/certificates.ts'
import type { CurrentPolicy } from './edge/connection.ts'
import type { Gate } from './edge/gate.ts'
import type { StreamRelay } from './edge/tcp/relay.ts'
import type { HeartbeatRelay } from './edge/udp/relay.ts'
import type { Upstreams } from './forward/upstreams.ts'
import type { CountryLookup } from './geo/country-lookup.ts'
import type { Ledger } from './journal/ledger.ts'
import type { GaugeSources } from './journal/metrics.ts'
import type { Store } from './journal/store.ts'
import { openingRange } from './journal/store-openings.ts'
import type { Overlay, Snapshot, UpstreamMember } from './policy/snapshot.ts'
import { liveTrials } from './policy/trial.ts'
import { formatSourceLine } from './policy/source-line.ts'
import type { InvitationParts } from './invitation-parts.ts'
import { isLive } from './policy/who.ts'

/** The parts that are asked. */
export type StatusParts = {
  readonly gate: Gate
  readonly heartbeats: HeartbeatRelay
  readonly streams: StreamRelay
  readonly invitations: Pick<InvitationParts, 'list' | 'addresses' | 'connections'>
  readonly upstreams: Upstreams
  readonly certificates: Certificates
  readonly countries: CountryLookup
  readonly store: Store
  readonly ledger: Ledger
}

/** Everything else that a status needs. */
export type StatusFacts = StatusParts & {
  readonly current: CurrentPolicy
  readonly clock: () => number
  readonly startedMs: number
  readonly warnings: readonly string[]
  readonly rejected: RejectedPolicy | null
  readonly version: string
  readonly pid: number
  readonly memory: () => GateStatus['memory']
  readonly clients: GateStatus['clients']
  readonly sessions: GateStatus['sessions']
  /** Whether a member answers far more slowly than usual. */
  readonly slowness: (member: string) => NonNullable<GateStatus['upstreams'][number]['slow']> | null
}

const MAX_LISTED = 2_000

/** The status of a running gate. */
export function gateStatus(facts: StatusFacts): GateStatus {
  const { gate, current } = facts
  const { snapshot } = current()
  const { streams, invitations } = facts
  const connections = [...gate.connections(), ...streams.connections(), ...invitations.connections()]
  return {
    version: facts.version,
    pid: facts.pid,
    startedMs: facts.startedMs,
    nowMs: facts.clock(),
    policy: {
      id: snapshot.id,
      directory: snapshot.directories.policy,
      loadedMs: snapshot.loadedMs,
      model: snapshot.model.value,
      home: [...snapshot.home.value],
      rules: snapshot.rules.size,
      sites: snapshot.sites.length,
      warnings: facts.warnings,
      ...trialStates(snapshot, facts.clock()),
      rejected: facts.rejected,
    },
    listeners: [
      ...gate.addresses(),
      ...streams.addresses(),
      ...facts.heartbeats.addresses(),
      ...invitations.addresses(),
    ],
    open: {
      connections: gate.counts().open,
      webSockets: connections.filter(isWebSocket).length,
      max: snapshot.limits.connections,
    },
    connections: connections.slice(0, MAX_LISTED).map(connection => ({
      id: connection.id,
      address: connection.address,
      port: connection.port,
      listener: connection.listener,
      site: connection.site,
      country: connection.country,
      name: connection.name,
      tls: connection.tls?.version ?? null,
      openedMs: connection.openedMs,
      requests: connection.requests,
      bytesIn: connection.bytesIn,
      bytesOut: connection.bytesOut,
      state: connection.state,
    })),
    upstreams: facts.upstreams
      .health()
      .map(({ group, member, state, sinceMs, lastProblem, serving, openRequests }) => ({
        group,
        member,
        origin: originOf(snapshot.upstreams.get(group)?.members ?? [], member),
        state,
        sinceMs,
        lastProblem,
        serving,
        openRequests,
        slow: facts.slowness(member),
      })),
    streams: streams.states(),
    heartbeats: facts.heartbeats.states(),
    invitations: invitations.list(),
    clients: facts.clients,
    sessions: facts.sessions,
    openings: openingStates(current().overlay, facts.clock()),
    certificates: certificateStates(facts.certificates),
    databases: facts.countries
      .databases()
      .map(({ role, file, type, builtMs }) => ({ role, file, type, builtMs })),
    memory: facts.memory(),
  }
}

/** What health is judged by. */
export function gateFacts(
  status: GateStatus,
  { listeners, heartbeats, streams, names }: Snapshot,
  store: Pick<Store, 'state'>,
  guard: GateFacts['guard'],
): GateFacts {
  const wanted = [...listeners, ...heartbeats, ...streams].flatMap(({ id, endpoints }) =>
    endpoints.map(endpoint => ({ listener: id, ...endpoint })),
  )
  const { usable, droppedRows, usedBytes } = store.state()
  return {
    status,
    listeners: wanted,
    names: names.map(({ host }) => host),
    journal: { usable, droppedRows, usedBytes },
    guard,
  }
}

/** Gauges that are read when metrics are asked for. */
export function connectionGauges(parts: StatusParts, current: CurrentPolicy): GaugeSources {
  const { gate, heartbeats, streams, upstreams, certificates, countries, store, ledger } = parts
  return {
    connectionsOpen: () => {
      const counts = new Map(current().snapshot.listeners.map(listener => [listener.id, 0]))
      for (const { listener } of gate.connections()) counts.set(listener, (counts.get(listener) ?? 0) + 1)
      return counts
    },
    streamsOpen: () => new Map(streams.states().map(({ listener, open }) => [listener, open])),
    heartbeatFlows: () => new Map(heartbeats.states().map(({ listener, flows }) => [listener, flows])),
    webSocketsOpen: () => gate.connections().filter(isWebSocket).length,
    upstreams: () =>
      upstreams.health().map(({ group, member, state, openRequests }) => ({
        group,
        member,
        up: state === 'up' || state === 'returning',
        openRequests,
      })),
    certificates: () => certificateStates(certificates),
    trials: () =>
      current().snapshot.trials.map(({ at, expiresMs }) => ({
        line: formatSourceLine(at),
        expiresMs,
      })),
    geoDatabases: () => countries.databases(),
    policyLoadedMs: () => current().snapshot.loadedMs,
    overlay: () => ({ bans: current().overlay.ban.size, allows: current().overlay.allow.size }),
    store: () => store.state(),
    ledger: () => ledger.state(),
  }
}

function trialStates(snapshot: Snapshot, nowMs: number): Pick<GateStatus['policy'], 'trials'> {
  const live = liveTrials(snapshot, nowMs)
  if (live.length === 0) return {}
  return {
    trials: live.map(({ stages, sites, listeners, expiresMs, at }) => ({
      stages: [...stages],
      sites: sites === null ? null : [...sites],
      listeners: listeners === null ? null : [...listeners],
      expiresMs,
      line: formatSourceLine(at),
    })),
  }
}

function openingStates({ openings }: Overlay, nowMs: number): GateStatus['openings'] {
  if (openings === undefined) return []
  const all = [...openings.bySite.values()].flat().concat(openings.byRange.values())
  return all
    .filter(({ expiresMs }) => isLive(expiresMs, nowMs))
    .map(({ scope, classes, reason, owner, expiresMs }) => ({
      range: openingRange('site' in scope ? scope : { range: scope.range.text }),
      classes: [...classes],
      reason,
      owner,
      expiresMs,
    }))
}

function certificateStates(certificates: Certificates): readonly CertificateState[] {
  return certificates.states().flatMap(({ name, set }) =>
    (set?.certificates ?? []).map(certificate => ({
      name,
      subject: certificate.subject,
      keyType: certificate.keyType,
      validToMs: certificate.validToMs,
      sha256: certificate.fingerprint,
      file: certificate.certFile,
      development: set?.origin === 'development',
    })),
  )
}

function isWebSocket({ state }: { readonly state: string }): boolean {
  return state.startsWith('websocket')
}

function originOf(members: readonly UpstreamMember[], id: string): string {
  const member = members.find(entry => entry.id === id)
  return member === undefined ? '' : originText(member)
}
