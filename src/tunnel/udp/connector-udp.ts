// The connector's side of UDP: the services of its file, and the connections to gates that carry them.
import type { Duplex } from 'node:stream'
import type { BindEnd } from './bind-connection.ts'
import { GOODBYE } from './capsules.ts'
import { ConnectorConnection } from './connector-connection.ts'
import { ServedUdp, type OpenServiceSocket, type UdpServiceSettings } from './connector-sockets.ts'

/** What the connector is told, for its own log. */
export type ConnectorUdpReports = {
  /** The system says something new of a service: `ECONNREFUSED` when nothing listens on its port; null: it answers again. */
  readonly onTrouble: (service: string, code: string | null) => void
  /** The first context that was refused since the last minute, because the service has as many as it may. */
  readonly onFull: (service: string, refused: number) => void
}

/** What one service does now. */
export type ConnectorUdpState = {
  readonly service: string
  readonly sources: number
  readonly datagramsIn: number
  readonly datagramsOut: number
  readonly refusedContexts: number
}

/** The connector's side. */
export type ConnectorUdp = {
  /**
   * Takes over a stream that a gate has joined (`101` to `connect-udp`).
   * @param onEnd told once why it ended; the caller dials again
   */
  readonly join: (
    stream: Duplex,
    early: Uint8Array,
    onEnd: (end: BindEnd) => void,
  ) => { readonly end: (why: string) => void }
  readonly states: () => readonly ConnectorUdpState[]
  /** Ends all connections and closes all sockets. */
  readonly close: (why: string) => void
}

const SWEEP_MS = 1_000
const FULL_EVERY_MS = 60_000

/**
 * Creates the connector's side.
 * @param nowMs a clock that never goes back
 * @param openSocket how sockets towards the services are opened; left out: by the system
 */
export function createConnectorUdp(
  settings: readonly UdpServiceSettings[],
  reports: ConnectorUdpReports,
  nowMs: () => number,
  openSocket?: OpenServiceSocket,
): ConnectorUdp {
  const services = new Map(
    settings.map(entry => [
      entry.name,
      new ServedUdp(entry, nowMs, code => reports.onTrouble(entry.name, code), openSocket),
    ]),
  )
  const connections = new Set<ConnectorConnection>()
  const reported = new Map<string, { count: number; atMs: number }>()
  const timer = setInterval(() => {
    const at = nowMs()
    for (const [name, service] of services) {
      service.sweep()
      const before = reported.get(name) ?? { count: 0, atMs: -Infinity }
      const refused = service.counts.refusedContexts - before.count
      if (refused === 0 || at - before.atMs < FULL_EVERY_MS) continue
      reported.set(name, { count: service.counts.refusedContexts, atMs: at })
      reports.onFull(name, refused)
    }
  }, SWEEP_MS)
  timer.unref()
  return {
    join: (stream, early, onEnd) => {
      if ('setNoDelay' in stream && typeof stream.setNoDelay === 'function') stream.setNoDelay(true)
      const connection = new ConnectorConnection(
        { stream, early },
        services,
        end => {
          connections.delete(connection)
          onEnd(end)
        },
        nowMs,
      )
      connections.add(connection)
      return { end: why => connection.bind.end(GOODBYE.done, why) }
    },
    states: () =>
      [...services].map(([service, { size, counts }]) => ({
        service,
        sources: size,
        datagramsIn: counts.datagramsIn,
        datagramsOut: counts.datagramsOut,
        refusedContexts: counts.refusedContexts,
      })),
    close: why => {
      clearInterval(timer)
      for (const connection of connections) connection.bind.end(GOODBYE.done, why)
      for (const service of services.values()) service.close()
    },
  }
}
