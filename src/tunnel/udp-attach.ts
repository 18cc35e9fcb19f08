// What a connect-udp connection of a connector is handed over with; everything after the 101 belongs to src/tunnel/udp.
import type { Client } from '../policy/running-state.ts'
import type { Duplex } from 'node:stream'

/** A connection of a client that has said 101 to `connect-udp`. One client may have several (1 to 8). */
export type UdpAttachment = {
  /** The client that it belongs to, as it was when the connection attached; `id` is the same for all its connections. */
  readonly client: Client
  /** The joined socket (TLS below). Attach a 'data' listener in the same turn. */
  readonly socket: Duplex
  /** Bytes that came with the request. */
  readonly early: Buffer
  /** Call it when the connection is over in your eyes; the socket's own close does the same. */
  readonly leave: () => void
}

/** What the gate may do with it afterwards. */
export type UdpAttached = {
  /** Ends it, with a reason for the log of the other side: the key was removed, another connector took over, shutdown. */
  readonly detach: (why: string) => void
}

/** Takes a connect-udp connection over. */
export type AttachUdp = (attachment: UdpAttachment) => UdpAttached
