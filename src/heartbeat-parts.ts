// What the gate puts together for heartbeats over UDP: the relay, and the tunnels of connectors that it may send through.
import type { CurrentPolicy } from './edge/connection.ts'
import { createHeartbeatRelay, type HeartbeatRelay } from './edge/udp/relay.ts'
import type { Reporter } from './journal/events.ts'
import type { Address } from './net/address.ts'
import type { GeoFacts } from './policy/facts.ts'
import { createUdpTunnels } from './tunnel/udp/gate-tunnels.ts'
import type { AttachUdp } from './tunnel/udp-attach.ts'

/** The parts. */
export type HeartbeatParts = {
  readonly heartbeats: HeartbeatRelay
  /** Takes over a `connect-udp` connection of a connector. */
  readonly attachUdp: AttachUdp
}

/** Puts them together. */
export function createHeartbeatParts(options: {
  readonly current: CurrentPolicy
  readonly lookup: (address: Address) => GeoFacts
  readonly reporter: Reporter
  /** Milliseconds since the epoch. */
  readonly clock: () => number
}): HeartbeatParts {
  const tunnels = createUdpTunnels(
    options.clock,
    () => performance.now(),
    problem => options.reporter.report('gate.internal-error', { where: 'UDP tunnel', problem, stack: '' }),
  )
  return { heartbeats: createHeartbeatRelay({ ...options, tunnels }), attachUdp: tunnels.attach }
}
