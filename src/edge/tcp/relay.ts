// The stream relay: listening sockets for raw TCP that follow the policy, the servers behind them, and the streams that are open.
import { hash } from 'node:crypto'
import type { TLSSocket } from 'node:tls'
import type { OpenThrough } from '../../forward/upstream-socket.ts'
import type { Ending, Reporter } from '../../journal/events.ts'
import type { Address } from '../../net/address.ts'
import type { GeoFacts } from '../../policy/facts.ts'
import type { StreamState } from '../../policy/running-state.ts'
import type { Snapshot } from '../../policy/snapshot.ts'
import type { StreamListener, StreamService } from '../../policy/streams.ts'
import type { Admission } from '../accept.ts'
import type { Certificates } from '../certificates.ts'
import type { CurrentPolicy } from '../connection.ts'
import { drainConnections } from '../drain.ts'
import { tupleOf } from '../gate-context.ts'
import { Deadlines, type HttpClock } from '../http/deadlines.ts'
import { createJa4 } from '../ja4.ts'
import { keepListening, type ListeningAddress } from '../listening.ts'
import type { LiveConnection } from '../live-connection.ts'
import { tcpServers } from '../tcp-servers.ts'
import { createTlsServers } from '../tls-profiles.ts'
import { TrialNotes } from '../trial-notes.ts'
import { isStillAdmitted } from './admit-stream.ts'
import { liveStream } from './live-stream.ts'
import { StreamConnection } from './stream-connection.ts'
import type { AdoptClient, StreamContext } from './stream-context.ts'
import { StreamCounters } from './stream-counts.ts'
import { StreamGroup } from './stream-group.ts'

/** What the relay needs from outside. */
export type StreamRelayOptions = {
  readonly current: CurrentPolicy
  readonly lookup: (address: Address) => GeoFacts
  readonly reporter: Reporter
  readonly certificates: Pick<Certificates, 'forHost'>
  /** Counts connections together with the HTTPS edge. */
  readonly admission: Admission
  readonly adopt: AdoptClient
  readonly openThrough: OpenThrough
  readonly ticketSecret: Buffer
  readonly newReference: () => string
  readonly clock: HttpClock
}

/** The running relay. */
export type StreamRelay = {
  /** Opens, changes and closes listeners; open streams stay. Returns how many addresses were opened. */
  readonly apply: (snapshot: Snapshot) => Promise<number>
  readonly addresses: () => readonly ListeningAddress[]
  readonly connections: () => readonly LiveConnection[]
  readonly states: () => readonly StreamState[]
  /** A client of a gateway key has attached, or is gone: servers behind it are there at once, or not. */
  readonly clientChanged: (key: string, client: string, isAttached: boolean) => void
  /** Ends open streams that the policy in force would not let in any more. Only ever on request. */
  readonly cutRefused: () => number
  /** Resets every stream of a listener, open or beginning, and returns how many that were. */
  readonly cutListener: (id: string, ending: Ending) => number
  /** Streams that a source has open on a listener: each has proven its address by a TCP handshake. */
  readonly openFrom: (listener: string, address: Address) => number
  /** Takes no new streams, lets open ones go on for up to `ms`, resets the rest and returns how many that were. */
  readonly drain: (ms: number) => Promise<number>
  readonly close: () => Promise<void>
}

type Group = { readonly group: StreamGroup; readonly settings: string }

const TICK_MS = 1_000
/** Streams last for days: the ledger hears of them so often. */
const COUNT_MS = 3_600_000
const REMEMBERED_HELLOS = 1_000

/** Creates a relay that listens nowhere until `apply`. */
export function createStreamRelay(options: StreamRelayOptions): StreamRelay {
  const { reporter, clock, admission } = options
  const groups = new Map<string, Group>()
  const counters = new StreamCounters(admission)
  let stopTicking: (() => void) | null = null
  let lastId = 0

  const ownerOf = (socket: TLSSocket): StreamConnection | undefined => context.handshakes.get(tupleOf(socket))
  const context: StreamContext = {
    current: options.current,
    lookup: options.lookup,
    reporter,
    nowMs: clock.nowMs,
    newReference: options.newReference,
    newId: () => `s${(++lastId).toString(36)}`,
    admission,
    counters,
    deadlines: new Deadlines(clock),
    servers: createTlsServers({
      certificates: options.certificates,
      ticketSecret: options.ticketSecret,
      nowMs: clock.nowMs,
      raw: true,
      onSecure: socket => {
        const owner = ownerOf(socket)
        if (owner === undefined) socket.destroy()
        else owner.secured(socket)
      },
      onFailed: (error: NodeJS.ErrnoException, socket) =>
        ownerOf(socket)?.report.handshakeFailed(error.code ?? 'handshake-error', error.message.slice(0, 200)),
    }),
    ja4: createJa4(text => hash('sha256', text), REMEMBERED_HELLOS),
    adopt: options.adopt,
    groupOf: (listener, service) => groups.get(groupKey(listener, service))?.group,
    connections: new Set(),
    handshakes: new Map(),
    isDraining: () => listening.isStopped(),
    trials: new TrialNotes(options.reporter),
  }

  const listening = keepListening({
    ...tcpServers<StreamListener>({
      reporter,
      kind: 'stream',
      keepAliveMs: listener => listener.keepAliveMs,
      accept: (raw, peer, { listener }) => new StreamConnection(context, listener, raw, peer).start(),
    }),
    connectionsKept: ({ id }) => {
      let kept = 0
      for (const stream of context.connections) if (stream.listener.id === id) kept++
      return kept
    },
  })

  const tick = (): void => {
    const nowMs = clock.nowMs()
    for (const { group } of groups.values()) group.tick(nowMs)
    for (const { report, link } of context.connections) {
      if (link?.isOpen === true && nowMs - report.countedMs >= COUNT_MS)
        report.counted(link.bytesIn, link.bytesOut)
    }
  }

  const applyGroups = ({ streams }: Snapshot): void => {
    const keys = new Set<string>()
    for (const listener of streams) {
      for (const service of listener.services) {
        const { action } = service
        if (action.kind !== 'forward') continue
        const key = groupKey(listener.id, service)
        const probePort = listener.endpoints[0]?.port ?? 0
        const members = action.members.map(({ at: _at, ...member }) => member)
        const { probes = true } = listener
        const settings = JSON.stringify([
          members,
          action.proxyProtocol,
          action.returnAfterMs,
          probePort,
          probes,
        ])
        keys.add(key)
        const known = groups.get(key)
        // The same servers keep their health, and clients keep to theirs.
        if (known?.settings === settings) continue
        known?.group.close()
        const group = new StreamGroup({
          id: `stream/${key}`,
          members: action.members,
          proxyProtocol: action.proxyProtocol,
          returnAfterMs: action.returnAfterMs,
          probePort,
          probes,
          reporter,
          nowMs: clock.nowMs,
          openThrough: options.openThrough,
        })
        groups.set(key, { group, settings })
      }
    }
    for (const [key, { group }] of groups) {
      if (keys.has(key)) continue
      group.close()
      groups.delete(key)
    }
  }

  return {
    apply: async snapshot => {
      const { opened } = await listening.apply(snapshot.streams, () => {
        applyGroups(snapshot)
        context.servers.retain(snapshot)
        for (const stream of context.connections) stream.policyChanged()
        if (snapshot.streams.length > 0) stopTicking ??= clock.every(TICK_MS, tick)
      })
      return opened
    },
    addresses: listening.addresses,
    connections: () => [...context.connections].map(liveStream),
    states: () =>
      options.current().snapshot.streams.map(({ id, kind, product, services }) => {
        const streams = [...context.connections].filter(({ listener }) => listener.id === id)
        const { opened, refused, bytesIn, bytesOut } = counters.totals(id)
        return {
          listener: id,
          kind,
          product,
          open: streams.filter(stream => stream.isOpen).length,
          opened,
          refused,
          bytesIn: streams.reduce((sum, { link }) => sum + (link?.bytesIn ?? 0), bytesIn),
          bytesOut: streams.reduce((sum, { link }) => sum + (link?.bytesOut ?? 0), bytesOut),
          members: services.flatMap(service => context.groupOf(id, service)?.states() ?? []),
        }
      }),
    clientChanged: (key, client, isAttached) => {
      for (const { group } of groups.values()) group.clientChanged(key, client, isAttached)
    },
    cutRefused: () => {
      let cut = 0
      for (const stream of context.connections) {
        const { isOpen, listener, localPort, report } = stream
        if (!isOpen || isStillAdmitted(listener.id, localPort, report, context)) continue
        stream.cut('refused')
        cut++
      }
      return cut
    },
    cutListener: (id, ending) => {
      let cut = 0
      for (const stream of context.connections) {
        if (stream.listener.id !== id) continue
        // Those that were refused are on their way out already.
        if (stream.state !== 'ending') cut++
        stream.cut(ending)
      }
      return cut
    },
    openFrom: (listener, address) => counters.of(listener, address).fromSource,
    drain: async ms => {
      listening.stop()
      return await drainConnections(context.connections, ms)
    },
    close: async () => {
      listening.stop()
      await drainConnections(context.connections, 0)
      stopTicking?.()
      stopTicking = null
      for (const { group } of groups.values()) group.close()
      groups.clear()
    },
  }
}

/** Services are told apart by the id of their first server, which carries listener and number. */
function groupKey(listener: string, { action }: StreamService): string {
  return action.kind === 'forward' ? (action.members[0]?.id.replace(/\/primary$/, '') ?? listener) : listener
}
