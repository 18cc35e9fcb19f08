// The way from a flow to its server: an own socket, or a context in the tunnel of a connector. The flow table knows neither.
import type { Address } from '../../net/address.ts'
import { connectorUrlText } from '../../policy/connector-url.ts'
import type { ConnectorVia } from '../../policy/gateway-policy.ts'
import type { TunnelState } from '../../policy/running-state.ts'
import type { HeartbeatListener } from '../../policy/snapshot.ts'
import { openUpstream, type UpstreamSocket } from './sockets.ts'

/** Where heartbeats of a listener go. */
export type HeartbeatUpstream = HeartbeatListener['upstream']

/** The tunnels of connectors, as far as heartbeats need them. */
export type HeartbeatTunnels = {
  readonly open: (
    target: ConnectorVia,
    peer: { readonly address: Address; readonly port: number },
    handlers: {
      readonly onDatagram: (payload: Uint8Array) => void
      readonly onRefused: () => void
      readonly onDisplaced: () => void
      readonly onTrouble: (code: number) => void
    },
  ) => UpstreamSocket
  readonly state: (target: ConnectorVia) => TunnelState
}

/** What the owner of a flow is told. */
export type WayHandlers = {
  readonly onDatagram: (message: Uint8Array) => void
  /** The machine of the server says that nothing listens on the port. */
  readonly onPortClosed: () => void
  /** What else the system said; `unusable`: the way does not exist and never will. */
  readonly onProblem: (code: string, unusable: boolean) => void
  /** The connector does not take this source: it has as many as it may. */
  readonly onRefused: () => void
  /** The same address and port sends through another listener to the same service now. */
  readonly onDisplaced: () => void
}

/** The connector's code for a closed port. */
const PORT_CLOSED = 1

/** Opens the way of one flow. */
export function openWay(
  upstream: HeartbeatUpstream,
  tunnels: HeartbeatTunnels | null,
  peer: { readonly address: Address; readonly port: number },
  handlers: WayHandlers,
): UpstreamSocket {
  const { onDatagram, onPortClosed, onProblem } = handlers
  if (!('connector' in upstream)) {
    return openUpstream(upstream, onDatagram, (code, unusable) => {
      if (code === 'ECONNREFUSED') onPortClosed()
      else onProblem(code, unusable)
    })
  }
  if (tunnels === null) return NOWHERE
  return tunnels.open(upstream, peer, {
    onDatagram,
    onRefused: handlers.onRefused,
    onDisplaced: handlers.onDisplaced,
    onTrouble: code => {
      if (code === PORT_CLOSED) onPortClosed()
      else onProblem('the connector cannot reach the service', false)
    },
  })
}

/** A gate without tunnels: connectors are away for ever. */
const NOWHERE: UpstreamSocket = { send: () => undefined, close: () => undefined }

/** Whether flows to one are of use for the other. */
export function isSameUpstream(a: HeartbeatUpstream, b: HeartbeatUpstream): boolean {
  if (!('connector' in a) || !('connector' in b)) return upstreamText(a) === upstreamText(b)
  return a.key === b.key && a.client === b.client && a.service === b.service
}

/** `10.0.0.5:75`, `[::1]:75`, or `connector://rmm/heartbeat`. */
export function upstreamText(upstream: HeartbeatUpstream): string {
  if ('connector' in upstream) return connectorUrlText({ ...upstream, tls: false })
  const { host, port } = upstream
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}
