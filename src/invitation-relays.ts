// The sockets of forwards for invitations: a TCP and a UDP relay of their own, on the policy in force with these listeners in it.
import type { CurrentPolicy, PolicyInForce } from './edge/connection.ts'
import type { Gate } from './edge/gate.ts'
import type { StreamRelay } from './edge/tcp/relay.ts'
import { createHeartbeatRelay } from './edge/udp/relay.ts'
import {
  datagramId,
  forwardDatagrams,
  forwardId,
  forwardStream,
  type InvitationForward,
} from './policy/invitations.ts'
import type { ForwardState } from './policy/running-state.ts'
import type { HeartbeatListener } from './policy/snapshot.ts'
import type { StreamListener } from './policy/streams.ts'
import { createStreamParts, type StreamPartsOptions } from './stream-parts.ts'

/** The sockets. */
export type InvitationRelays = {
  /**
   * Opens and closes until exactly these forwards are open; whoever is connected to one that is no more is cut off.
   * @returns how many connections and flows were cut, by port
   */
  readonly apply: (forwards: readonly InvitationForward[]) => Promise<ReadonlyMap<number, number>>
  /** By public port. */
  readonly states: () => ReadonlyMap<number, ForwardState>
  /** Everything that listens, as status lists it. */
  readonly addresses: StreamRelay['addresses']
  readonly connections: StreamRelay['connections']
  readonly cutRefused: () => number
  readonly drain: StreamRelay['drain']
  readonly close: () => Promise<void>
}

type Derived = { readonly base: PolicyInForce | null; readonly policy: PolicyInForce }

/** Makes the sockets; nothing listens until `apply`. */
export function createInvitationRelays(
  options: StreamPartsOptions & { readonly gate: Gate },
): InvitationRelays {
  const { current, lookup, reporter, clock } = options
  let forwards: readonly InvitationForward[] = []
  let derived: Derived | null = null
  // A port is used again by and by, and the totals of the relay go on counting.
  const before = new Map<number, Pick<ForwardState, 'bytesIn' | 'bytesOut'>>()

  // The same object as long as nothing has changed: flows are judged again when the policy is another one.
  const own: CurrentPolicy = () => {
    const base = current()
    if (derived?.base === base) return derived.policy
    const { snapshot } = base
    const streams: StreamListener[] = []
    const heartbeats: HeartbeatListener[] = []
    const { invitations } = snapshot
    if (invitations !== null) {
      streams.push(...forwards.map(forward => forwardStream(forward, invitations)))
      heartbeats.push(...forwards.map(forward => forwardDatagrams(forward, invitations)))
    }
    const policy = { ...base, snapshot: { ...snapshot, listeners: [], streams, heartbeats } }
    derived = { base, policy }
    return policy
  }

  const streams = createStreamParts({ ...options, current: own })
  const datagrams = createHeartbeatRelay({
    current: own,
    lookup,
    reporter,
    clock,
    isProven: (listener, address) => streams.openFrom(listener.replace(/\/udp$/, ''), address) > 0,
  })
  const flowsOf = (port: number): number =>
    datagrams.states().find(({ listener }) => listener === datagramId(port))?.flows ?? 0

  const streamOf = (port: number): ReturnType<StreamRelay['states']>[number] | undefined =>
    streams.states().find(({ listener }) => listener === forwardId(port))

  return {
    apply: async next => {
      const gone = forwards.filter(forward => !next.some(({ port }) => port === forward.port))
      forwards = next
      derived = null
      const cut = new Map(gone.map(({ port }) => [port, flowsOf(port)]))
      const { snapshot } = own()
      // First nobody new gets in, then those who are in are cut off.
      await Promise.all([streams.apply(snapshot), datagrams.apply(snapshot, 'over')])
      for (const [port, flows] of cut) cut.set(port, flows + streams.cutListener(forwardId(port), 'over'))
      for (const { port } of gone) before.delete(port)
      for (const { port } of next) {
        if (before.has(port)) continue
        const { bytesIn = 0, bytesOut = 0 } = streamOf(port) ?? {}
        before.set(port, { bytesIn, bytesOut })
      }
      return cut
    },
    states: () => {
      const listening = new Set([...streams.addresses(), ...datagrams.addresses()].map(at => at.listener))
      const byId = new Map(streams.states().map(stream => [stream.listener, stream]))
      const flows = new Map(datagrams.states().map(entry => [entry.listener, entry.flows]))
      const stateOf = ({ port }: InvitationForward): ForwardState => {
        const stream = byId.get(forwardId(port))
        const { bytesIn = 0, bytesOut = 0 } = before.get(port) ?? {}
        return {
          tcp: listening.has(forwardId(port)),
          udp: listening.has(datagramId(port)),
          connections: stream?.open ?? 0,
          flows: flows.get(datagramId(port)) ?? 0,
          bytesIn: (stream?.bytesIn ?? bytesIn) - bytesIn,
          bytesOut: (stream?.bytesOut ?? bytesOut) - bytesOut,
        }
      }
      return new Map(forwards.map(forward => [forward.port, stateOf(forward)]))
    },
    addresses: () => [...streams.addresses(), ...datagrams.addresses()],
    connections: () => streams.connections(),
    cutRefused: () => streams.cutRefused(),
    drain: ms => streams.drain(ms),
    close: async () => {
      await Promise.all([streams.close(), datagrams.close()])
    },
  }
}
