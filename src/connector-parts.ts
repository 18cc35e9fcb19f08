// Puts the connector program together: its file, its services, its lines to the gates, and its log.
import type { LoadedConnector } from './config/connector-file.ts'
import { startConnector, type Connector, type JoinUdp } from './tunnel/connector/connector.ts'
import { placeOf } from './tunnel/connector/gate-place.ts'
import type { ConnectorEvent } from './tunnel/connector/events.ts'
import { openOwnIdentity } from './tunnel/connector/own-identity.ts'
import { createConnectorUdp } from './tunnel/udp/connector-udp.ts'
import { createReach } from './tunnel/connector/reach.ts'

/** What the program gives. */
export type ConnectorProgram = {
  readonly loaded: LoadedConnector
  readonly version: string
  /** Random per process, 16 characters or more. */
  readonly instance: string
  readonly report: (event: ConnectorEvent) => void
  readonly random: () => number
}

/** Starts the connector that a file describes. */
export function runConnector({ loaded, version, instance, report, random }: ConnectorProgram): Connector {
  const monotonicMs = (): number => performance.now()
  const reach = createReach(loaded.tcp, (service, problem, all) => {
    if (problem === null) return report({ event: 'service.reached', service })
    report({ event: 'service.unreachable', service, problem })
    if (all && loaded.tcp.length > 1) report({ event: 'services.silent', problem })
  })
  const served =
    loaded.udp.length === 0
      ? null
      : createConnectorUdp(
          loaded.udp,
          {
            onTrouble: (service, code) => {
              if (code === null) report({ event: 'service.reached', service })
              else report({ event: 'service.unreachable', service, problem: `its UDP port: ${code}` })
            },
            onFull: (service, sources) => report({ event: 'service.full', service, sources }),
          },
          monotonicMs,
        )
  const udp: JoinUdp | null =
    served === null ? null : (socket, early, onEnd) => served.join(socket, early, ({ text }) => onEnd(text))
  const own = openOwnIdentity(loaded.identityFile)
  report({ event: 'connector.started', name: loaded.name, gates: loaded.gates.map(placeOf) })
  const file = loaded.identityFile
  if (own.problem !== null)
    report({ event: 'identity.trouble', file, problem: own.problem, used: own.held !== null })
  else if (own.held !== null && own.made) report({ event: 'identity.made', file, identity: own.held.text })
  const connector = startConnector(
    {
      name: loaded.name,
      gates: loaded.gates,
      choice: { mode: loaded.use, returnAfterMs: loaded.returnAfter, moveAfterMs: loaded.moveAfter },
      proxy: loaded.proxy,
      realAddress: loaded.realAddress ?? null,
      version,
      services: [
        ...loaded.tcp.map(({ name }) => ({ name, kind: 'tcp' as const })),
        ...loaded.udp.map(({ name }) => ({ name, kind: 'udp' as const })),
      ],
      udpConnections: loaded.udp.length === 0 ? 0 : loaded.udpConnections,
    },
    { key: loaded.key, held: own.held, instance, monotonicMs, random, report, reach, udp },
  )
  return {
    ...connector,
    stop: () => {
      connector.stop()
      served?.close('the connector stops')
    },
  }
}
