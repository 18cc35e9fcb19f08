// One heartbeat listener with its sockets and flows: datagrams go in and out, and events are reported.
import type { RemoteInfo, Socket } from 'node:dgram'
import type { Reporter } from '../../journal/events.ts'
import type { DatagramFields } from '../../journal/events-heartbeat.ts'
import { parseAddress, type Address } from '../../net/address.ts'
import { decideHeartbeat } from '../../policy/decide-heartbeat.ts'
import type { GeoFacts } from '../../policy/facts.ts'
import type { HeartbeatState, TunnelState } from '../../policy/running-state.ts'
import type { HeartbeatListener } from '../../policy/snapshot.ts'
import type { Standing } from '../../policy/standing.ts'
import { countryWord } from '../../policy/who.ts'
import type { CurrentPolicy } from '../connection.ts'
import { EndpointSet, type ListeningAddress, type Place } from '../listening.ts'
import { TrialNotes } from '../trial-notes.ts'
import type { EndedFlow, Flow, FlowCount, FlowEnd } from './flow.ts'
import { FlowTable } from './flow-table.ts'
import { Presence } from './presence.ts'
import { reportPresence } from './presence-report.ts'
import { RefusedHeartbeats } from './refused.ts'
import { SiteCounts } from './site-counts.ts'
import { openListening, sendBack, type UpstreamSocket } from './sockets.ts'
import { ConnectorWatch, troubleOf } from './connector-watch.ts'
import { isSameUpstream, openWay, upstreamText, type HeartbeatTunnels } from './way.ts'
import { explainUdpBind } from './bind-failure.ts'

/** What listeners share. */
export type ServiceContext = {
  readonly current: CurrentPolicy
  readonly lookup: (address: Address) => GeoFacts
  readonly reporter: Reporter
  readonly nowMs: () => number
  /** Whether a source of a listener is known not to be forged; absent: never. */
  readonly isProven?: (listener: string, address: Address) => boolean
  /** Null: this gate has none, so connectors are always away. */
  readonly tunnels: HeartbeatTunnels | null
}

type Bound = { readonly socket: Socket; readonly number: number }
type Upstream = { readonly bound: Bound; readonly socket: UpstreamSocket }

const PROBLEM_MS = 60_000
const NO_TUNNEL: TunnelState = {
  connections: 0,
  sinceMs: 0,
  isOffered: null,
  contexts: 0,
  queuedBytes: 0,
  roundTripMs: null,
  dropped: { aged: 0, overflow: 0, away: 0 },
  forged: 0,
}

/** A heartbeat listener. It opens its addresses in `open`, and again when one was not to be had. */
export class HeartbeatService {
  readonly #context: ServiceContext
  readonly #trials: TrialNotes
  #settings: HeartbeatListener
  readonly #table: FlowTable<Upstream>
  readonly #refused: RefusedHeartbeats
  readonly #endpoints: EndpointSet<HeartbeatListener, Bound>
  readonly #counts = { heartbeats: 0, replies: 0 }
  #lastHeartbeatMs: number | null = null
  #lastReplyMs: number | null = null
  #portClosedMs = -Infinity
  #problemMs = -Infinity
  #lastNumber = 0
  readonly #sites = new SiteCounts()
  readonly #presence = new Presence()
  #watch: ConnectorWatch
  #refusedContexts = 0
  #refusedContextsMs = -Infinity

  constructor(context: ServiceContext, settings: HeartbeatListener) {
    this.#context = context
    this.#trials = new TrialNotes(context.reporter)
    this.#settings = settings
    this.#refused = new RefusedHeartbeats(context.reporter)
    this.#watch = new ConnectorWatch(context.nowMs())
    this.#endpoints = new EndpointSet({
      reporter: context.reporter,
      open: (place, ipv6Only) => this.#openSocket(place, ipv6Only),
      portOf: ({ socket }) => socket.address().port,
      shut: ({ socket }) => socket.close(),
      explain: explainUdpBind,
      mayOpen: () => !this.#watch.isClosed,
    })
    this.#endpoints.want([settings])
    this.#table = new FlowTable({
      settings,
      policy: context.current,
      isProven: address => context.isProven?.(settings.id, address) === true,
      judge: (address, nowMs) => {
        const { snapshot, overlay } = context.current()
        const source = { address, geo: context.lookup(address) }
        return decideHeartbeat(snapshot, overlay, source, settings.id, nowMs, this.#settings)
      },
    })
  }

  /** Takes other settings. Addresses that are gone are closed; new ones wait for `open`. */
  reconfigure(settings: HeartbeatListener): void {
    const isOther = !isSameUpstream(settings.upstream, this.#settings.upstream)
    this.#settings = settings
    this.#table.reconfigure(settings)
    if (isOther) {
      this.#endAll('reload')
      this.#watch = new ConnectorWatch(this.#context.nowMs())
    }
    this.#endpoints.want([settings], bound => this.#leave(bound, 'reload'))
  }

  /** Opens what is not open yet. A failure is reported once; it may be called again at any time. */
  async open(isV4Wanted: (port: number) => boolean): Promise<void> {
    await this.#endpoints.openMissing(isV4Wanted)
  }

  /** Whether every address listens that should. */
  isComplete(): boolean {
    return this.#watch.isClosed || this.#endpoints.missing === 0
  }

  addresses(): readonly ListeningAddress[] {
    return this.#endpoints.addresses()
  }

  state(): HeartbeatState {
    return {
      listener: this.#settings.id,
      upstream: upstreamText(this.#settings.upstream),
      flows: this.#table.size,
      sources: this.#table.sources(),
      ...this.#counts,
      lastHeartbeatMs: this.#lastHeartbeatMs,
      lastReplyMs: this.#lastReplyMs,
      silent: this.#table.silent,
      connector: this.#connectorState(),
      sites: this.#siteStates(),
      allGone: this.#presence.areAllGone,
    }
  }

  /** To be called about once a second. Returns whether `open` is to be called at once: the connector is back. */
  tick(nowMs: number): boolean {
    const { ended, counted, silent } = this.#table.tick(nowMs)
    for (const count of counted) this.#reportCount(count)
    for (const entry of ended) this.#ended(entry)
    if (silent !== null) {
      this.#context.reporter.report('heartbeat.unanswered', {
        listener: this.#settings.id,
        upstream: upstreamText(this.#settings.upstream),
        ...silent,
        portClosed: this.#portClosedMs >= silent.sinceMs,
        connector: this.#connectorState()?.trouble ?? null,
      })
    }
    this.#lookAtPresence(nowMs)
    this.#refused.report(nowMs, this.#settings, this.#table.size)
    return this.#lookAtConnector(nowMs)
  }

  /** Closes sockets and flows. */
  close(end: FlowEnd): void {
    this.#endAll(end)
    this.#endpoints.closeAll(bound => this.#leave(bound, end))
    this.#refused.flush(this.#context.nowMs())
  }

  async #openSocket({ endpoint }: Place<HeartbeatListener>, ipv6Only: boolean): Promise<Bound> {
    const number = ++this.#lastNumber
    const socket = await openListening(endpoint, ipv6Only, (message, from) => {
      this.#received(bound, message, from)
    })
    const bound: Bound = { socket, number }
    return bound
  }

  #received(bound: Bound, message: Buffer, from: RemoteInfo): void {
    // A sender with port 0 cannot be answered: nobody sends so by honest means.
    if (from.port === 0) return
    const nowMs = this.#context.nowMs()
    // A link-local peer carries the interface as a zone, which is no part of its address.
    const address = (): Address | undefined => parseAddress(from.address.split('%', 1)[0] ?? '')
    const key = `${bound.number} ${from.port} ${from.address}`
    const result = this.#table.received(key, address, from.port, message.length, nowMs)
    if (result === null) return
    if (result.kind !== 'forward' && result.ended !== null) this.#ended(result.ended)
    if (result.kind === 'refuse') {
      const source = address()
      if (source !== undefined)
        this.#refused.note(this.#clientOf(source, from.port, result.standing), result.refusal)
      return
    }
    const { flow } = result
    this.#counts.heartbeats++
    this.#lastHeartbeatMs = nowMs
    if (result.kind === 'open') {
      this.#context.reporter.report('heartbeat.opened', this.#client(flow))
      this.#noteTrial(flow)
      flow.upstream = { bound, socket: this.#openUpstream(flow, bound, from) }
    }
    flow.upstream?.socket.send(message)
  }

  #openUpstream(flow: Flow<Upstream>, bound: Bound, from: RemoteInfo): UpstreamSocket {
    const { upstream } = this.#settings
    return openWay(upstream, this.#context.tunnels, flow, {
      onDatagram: message => this.#replied(flow, bound, from, message),
      onPortClosed: () => {
        this.#portClosedMs = this.#context.nowMs()
      },
      onProblem: (code, unusable) => {
        this.#problem(`upstream ${upstreamText(upstream)}`, code, this.#context.nowMs())
        if (unusable) this.#endFlow(flow, 'failed')
      },
      onRefused: () => {
        this.#refusedContexts++
        this.#endFlow(flow, 'failed')
      },
      onDisplaced: () => this.#endFlow(flow, 'displaced'),
    })
  }

  #endFlow(flow: Flow<Upstream>, end: FlowEnd): void {
    const ended = this.#table.end(flow, end)
    if (ended !== null) this.#ended(ended)
  }

  #siteStates(): HeartbeatState['sites'] {
    const isWatched = this.#settings.expectedEveryMs !== null
    const bySite = this.#presence.bySite()
    const none = { present: 0, late: 0, gone: 0 }
    return this.#sites
      .list()
      .map(entry => ({ ...entry, senders: isWatched ? (bySite.get(entry.site) ?? none) : null }))
  }

  #lookAtPresence(nowMs: number): void {
    const { id: listener, expectedEveryMs: everyMs } = this.#settings
    if (everyMs === null) return
    for (const report of this.#presence.tick(this.#table.flows(), everyMs, nowMs))
      reportPresence(this.#context.reporter, listener, everyMs, report)
  }

  #connectorState(): HeartbeatState['connector'] {
    const { upstream } = this.#settings
    if (!('connector' in upstream)) return null
    const state = this.#context.tunnels?.state(upstream) ?? NO_TUNNEL
    return { ...state, trouble: troubleOf(state), portClosed: this.#watch.isClosed }
  }

  #lookAtConnector(nowMs: number): boolean {
    const state = this.#connectorState()
    if (state === null) return false
    const { reporter } = this.#context
    const place = { listener: this.#settings.id, upstream: upstreamText(this.#settings.upstream) }
    const { port, awayMs, drops } = this.#watch.look(state, nowMs)
    if (drops !== null) reporter.report('heartbeat.dropped', { ...place, ...drops })
    if (this.#refusedContexts > 0 && nowMs - this.#refusedContextsMs >= PROBLEM_MS) {
      reporter.report('heartbeat.context-refused', { ...place, count: this.#refusedContexts })
      this.#refusedContexts = 0
      this.#refusedContextsMs = nowMs
    }
    if (port === 'close') {
      reporter.report('heartbeat.port-closed', { ...place, awayMs, connector: state.trouble ?? 'away' })
      this.#endpoints.closeAll(bound => this.#leave(bound, 'connector-away'))
    } else if (port === 'open') reporter.report('heartbeat.port-opened', { ...place, awayMs })
    return port === 'open'
  }

  #replied(flow: Flow<Upstream>, bound: Bound, from: RemoteInfo, message: Uint8Array): void {
    const nowMs = this.#context.nowMs()
    if (message.length > this.#settings.datagramBytes || !this.#table.replied(flow, message.length, nowMs))
      return
    this.#counts.replies++
    this.#lastReplyMs = nowMs
    sendBack(bound.socket, message, from.port, from.address)
    if (this.#table.takeRecovery()) {
      const upstream = upstreamText(this.#settings.upstream)
      this.#context.reporter.report('heartbeat.answered', { listener: this.#settings.id, upstream })
    }
  }

  #endAll(end: FlowEnd, fits?: (flow: Flow<Upstream>) => boolean): void {
    for (const entry of this.#table.endAll(end, fits)) this.#ended(entry)
  }

  #ended({ flow, end }: EndedFlow<Upstream>): void {
    flow.upstream?.socket.close()
    // Silence is what the watch is about; every other end is our own doing.
    if (end !== 'idle') this.#presence.forget(flow.key)
    const nowMs = this.#context.nowMs()
    const { fresh, total, withheld, lastHeartbeatMs, lastReplyMs } = flow
    if (fresh.heartbeats > 0 || fresh.replies > 0) this.#reportCount(this.#table.take(flow, nowMs))
    this.#context.reporter.report('heartbeat.closed', {
      ...this.#client(flow),
      ...total,
      withheld,
      durationMs: nowMs - flow.openedMs,
      lastHeartbeatMs,
      lastReplyMs,
      ending: end,
    })
  }

  #reportCount({ flow, ...count }: FlowCount<Upstream>): void {
    const client = this.#client(flow)
    this.#context.reporter.report('heartbeat.counted', { ...client, ...count })
    this.#sites.add(client.site, { flow, ...count })
    this.#noteTrial(flow)
  }

  #noteTrial({ wouldBe, standing, port }: Flow<Upstream>): void {
    if (wouldBe === null) return
    const { id: listener, class: trafficClass = 'heartbeat' } = this.#settings
    const tried = { standing, port, listener, class: trafficClass, host: '' }
    this.#trials.note(wouldBe, tried, this.#context.nowMs())
  }

  /** What goes with a socket that is about to close. */
  #leave(bound: Bound, end: FlowEnd): void {
    this.#endAll(end, flow => flow.upstream?.bound === bound)
    // Nobody can reach a closed port: who was gone, and who is, starts anew.
    this.#presence.clear()
  }

  #problem(where: string, problem: string, nowMs: number): void {
    if (nowMs - this.#problemMs < PROBLEM_MS) return
    this.#problemMs = nowMs
    this.#context.reporter.report('gate.internal-error', {
      where: `heartbeats ${this.#settings.id}, ${where}`,
      problem,
      stack: '',
    })
  }

  #client(flow: Flow<Upstream>): DatagramFields {
    return this.#clientOf(flow.address, flow.port, flow.standing)
  }

  #clientOf(address: Address, port: number, { site, country }: Standing): DatagramFields {
    const { class: trafficClass } = this.#settings
    return {
      ...(trafficClass === undefined ? {} : { class: trafficClass }),
      address: address.text,
      port,
      listener: this.#settings.id,
      site: site?.id ?? null,
      country: countryWord(country),
    }
  }
}
