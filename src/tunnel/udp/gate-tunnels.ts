// The gate's side of all UDP tunnels: which connector is there, the flows towards its services, and what waits while it is away.
import type { Client, TunnelState } from '../../policy/running-state.ts'
import type { Address } from '../../net/address.ts'
import type { ConnectorVia } from '../../policy/gateway-policy.ts'
import type { AttachUdp } from '../udp-attach.ts'
import { GOODBYE } from './capsules.ts'
import { GateConnection } from './gate-connection.ts'
import { GateFlow, type FlowHandlers } from './gate-flow.ts'
import { MAX_AGE_MS } from './outbox.ts'

/** A UDP service of a client: only the holder of this key can be it. */
export type UdpTarget = Pick<ConnectorVia, 'client' | 'key' | 'service'>

/** The way of one source to a service. */
export type UdpContext = {
  readonly send: (payload: Uint8Array) => void
  readonly close: () => void
}

/** All UDP tunnels. */
export type UdpTunnels = {
  /** Takes over a connection that `connect-udp` has joined. */
  readonly attach: AttachUdp
  readonly open: (
    target: UdpTarget,
    peer: { readonly address: Address; readonly port: number },
    handlers: FlowHandlers,
  ) => UdpContext
  readonly state: (target: UdpTarget) => TunnelState
  readonly close: (why: string) => void
}

/** More connections of one connector than this are refused. */
const MAX_CONNECTIONS = 8
/** What waits for a connector that is away; beyond it the oldest is dropped. */
const MAX_WAITING_BYTES = 262_144
const SWEEP_MS = 1_000

type Waiting = { readonly flow: GateFlow; readonly payload: Uint8Array; readonly atMs: number }

/** One connector by key and name, there or away. */
type Connector = {
  connections: GateConnection[]
  /** Id of the attached client that the connections belong to. */
  clientId: string | null
  offered: ReadonlySet<string>
  sinceMs: number
  readonly flows: Map<string, GateFlow>
  waiting: Waiting[]
  waitingBytes: number
  readonly dropped: { aged: number; overflow: number; away: number }
  forged: number
  /** The policy names it: then it is remembered while it is away. */
  isNamed: boolean
}

/**
 * Creates the gate's side.
 * @param wallMs milliseconds since the epoch, for what people read
 * @param nowMs a clock that never goes back
 * @param onDefect is told of a defect of the gate that has ended a connection
 */
export function createUdpTunnels(
  wallMs: () => number,
  nowMs: () => number,
  onDefect: (problem: string) => void,
): UdpTunnels {
  const connectors = new Map<string, Connector>()
  const of = (key: string, client: string): Connector => {
    const id = idOf(key, client)
    const known = connectors.get(id)
    if (known !== undefined) return known
    const made: Connector = {
      connections: [],
      clientId: null,
      offered: new Set(),
      sinceMs: wallMs(),
      flows: new Map(),
      waiting: [],
      waitingBytes: 0,
      dropped: { aged: 0, overflow: 0, away: 0 },
      forged: 0,
      isNamed: false,
    }
    connectors.set(id, made)
    return made
  }

  const named = ({ key, client }: UdpTarget): Connector => {
    const connector = of(key, client)
    connector.isNamed = true
    return connector
  }

  const sweeping = setInterval(() => {
    for (const { flows } of connectors.values()) for (const flow of flows.values()) flow.sweep()
  }, SWEEP_MS)
  sweeping.unref()

  return {
    attach: ({ client, socket, early }) => {
      const connector = of(client.key, client.name)
      welcome(connector, client)
      if ('setNoDelay' in socket && typeof socket.setNoDelay === 'function') socket.setNoDelay(true)
      const taken = new Set(connector.connections.map(({ slot }) => slot))
      let slot = 0
      while (taken.has(slot)) slot++
      const connection = new GateConnection(
        { stream: socket, early, slot },
        {
          onReady: () => {
            const ready = readyOf(connector)
            if (ready === 1) connector.sinceMs = wallMs()
            settleAll(connector)
            sendWaiting(connector, nowMs())
          },
          onEnd: (ended, end) => {
            if (end.by === 'self' && end.code === GOODBYE.defect) onDefect(end.text)
            keepCounts(connector, ended)
            connector.connections = connector.connections.filter(entry => entry !== ended)
            const ready = readyOf(connector)
            if (ready === 0 && ended.hasBeenReady) connector.sinceMs = wallMs()
            settleAll(connector)
            if (!connector.isNamed && connector.connections.length === 0)
              connectors.delete(idOf(client.key, client.name))
          },
          find: ({ address, port }) => {
            const end = ` ${port} ${address.text}`
            for (const service of connector.offered) {
              const flow = connector.flows.get(service + end)
              if (flow !== undefined) return flow
            }
            return undefined
          },
        },
        nowMs,
      )
      connector.connections.push(connection)
      if (connector.connections.length > MAX_CONNECTIONS)
        connection.bind.end(GOODBYE.excess, `more than ${MAX_CONNECTIONS} connections of one connector`)
      return { detach: why => connection.bind.end(GOODBYE.done, why) }
    },
    open: (target, peer, handlers) => {
      const connector = named(target)
      const key = `${target.service} ${peer.port} ${peer.address.text}`
      // A context stands for one address and port: who comes second through another port of the gate takes over.
      const before = connector.flows.get(key)
      const flow = new GateFlow(target.service, peer, handlers, nowMs)
      connector.flows.set(key, flow)
      if (before !== undefined) {
        before.close()
        before.handlers.onDisplaced()
      }
      return {
        send: payload => {
          if (!flow.isPlaced && connector.offered.has(target.service)) flow.settle(connector.connections)
          if (!flow.send(payload)) wait(connector, { flow, payload, atMs: nowMs() })
        },
        close: () => {
          flow.close()
          if (connector.flows.get(key) === flow) connector.flows.delete(key)
        },
      }
    },
    state: target => {
      const connector = named(target)
      const dropped = { ...connector.dropped }
      let { forged } = connector
      let contexts = 0
      let queuedBytes = connector.waitingBytes
      let roundTripMs: number | null = null
      for (const { bind, contexts: open } of connector.connections) {
        contexts += open
        queuedBytes += bind.queuedBytes
        dropped.aged += bind.dropped.aged
        dropped.overflow += bind.dropped.overflow
        forged += bind.counts.forged
        if (bind.roundTripMs !== null) roundTripMs = Math.max(roundTripMs ?? 0, bind.roundTripMs)
      }
      const connections = readyOf(connector)
      const { sinceMs, offered } = connector
      const isOffered = connections === 0 ? null : offered.has(target.service)
      return { connections, sinceMs, isOffered, contexts, queuedBytes, roundTripMs, dropped, forged }
    },
    close: why => {
      clearInterval(sweeping)
      for (const { connections } of connectors.values())
        for (const { bind } of connections) bind.end(GOODBYE.done, why)
    },
  }
}

// A connector that has come back takes over at once; what it left behind is dead or soon will be (trap 32).
function welcome(connector: Connector, client: Client): void {
  if (connector.clientId !== client.id) {
    for (const { bind } of connector.connections) bind.end(GOODBYE.done, 'the connector has attached again')
    connector.clientId = client.id
  }
  connector.offered = new Set(client.services.filter(({ kind }) => kind === 'udp').map(({ name }) => name))
}

function idOf(key: string, client: string): string {
  return `${key}\n${client}`
}

function readyOf({ connections }: Connector): number {
  let ready = 0
  for (const connection of connections) if (connection.isReady) ready++
  return ready
}

function keepCounts(connector: Connector, { bind }: GateConnection): void {
  connector.dropped.aged += bind.dropped.aged
  connector.dropped.overflow += bind.dropped.overflow
  connector.forged += bind.counts.forged
}

function settleAll({ flows, connections, offered }: Connector): void {
  for (const flow of flows.values()) if (offered.has(flow.service)) flow.settle(connections)
}

// A connector that comes back within two seconds gets what was sent to it meanwhile.
function wait(connector: Connector, waiting: Waiting): void {
  connector.waiting.push(waiting)
  connector.waitingBytes += costOf(waiting)
  while (connector.waitingBytes > MAX_WAITING_BYTES || isOld(connector.waiting[0], waiting.atMs)) {
    const oldest = connector.waiting.shift()
    if (oldest === undefined) return
    connector.waitingBytes -= costOf(oldest)
    connector.dropped.away++
  }
}

function sendWaiting(connector: Connector, nowMs: number): void {
  const { waiting } = connector
  connector.waiting = []
  connector.waitingBytes = 0
  for (const entry of waiting) {
    if (isOld(entry, nowMs) || !entry.flow.send(entry.payload)) connector.dropped.away++
  }
}

// An entry is more than its payload: tiny datagrams must not fill the memory either.
function costOf({ payload }: Waiting): number {
  return payload.length + 128
}

function isOld(entry: Waiting | undefined, nowMs: number): boolean {
  return entry !== undefined && nowMs - entry.atMs > MAX_AGE_MS
}
