// What all raw TCP streams of the gate share.
import type { Socket } from 'node:net'
import type { Reporter } from '../../journal/events.ts'
import type { Address } from '../../net/address.ts'
import type { GeoFacts } from '../../policy/facts.ts'
import type { StreamService } from '../../policy/streams.ts'
import type { Admission } from '../accept.ts'
import type { ParsedHello } from '../client-hello.ts'
import type { CurrentPolicy } from '../connection.ts'
import type { Deadlines } from '../http/deadlines.ts'
import type { TlsServers } from '../tls-profiles.ts'
import type { TrialNotes } from '../trial-notes.ts'
import type { StreamConnection } from './stream-connection.ts'
import type { StreamCounters } from './stream-counts.ts'
import type { StreamGroup } from './stream-group.ts'

/** Takes a client over to the HTTPS edge as if it had come to a listener of it; false: there is no such listener. */
export type AdoptClient = (
  raw: Socket,
  listener: string,
  client: { readonly address: Address; readonly port: number },
  first: Buffer,
) => boolean

/** The shared part of all streams. */
export type StreamContext = {
  readonly current: CurrentPolicy
  readonly lookup: (address: Address) => GeoFacts
  readonly reporter: Reporter
  readonly nowMs: () => number
  readonly newReference: () => string
  readonly newId: () => string
  readonly admission: Admission
  readonly counters: StreamCounters
  readonly deadlines: Deadlines
  readonly servers: TlsServers
  readonly ja4: (hello: ParsedHello) => string
  readonly adopt: AdoptClient
  readonly groupOf: (listener: string, service: StreamService) => StreamGroup | undefined
  readonly connections: Set<StreamConnection>
  /** Streams in their TLS handshake, by the tuple of their socket. */
  readonly handshakes: Map<string, StreamConnection>
  readonly isDraining: () => boolean
  readonly trials: TrialNotes
}
