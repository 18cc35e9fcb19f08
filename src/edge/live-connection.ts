// What status pages see of a live connection.
import type { ClientFields } from '../journal/events.ts'
import type { TlsFacts } from '../policy/facts.ts'
import type { TlsProfileName } from '../policy/snapshot.ts'

/** Where a connection stands. */
export type ConnectionPhase = 'proxy-header' | 'hello' | 'handshake' | 'open' | 'refused'

/** One live connection, for status. */
export type LiveConnection = ClientFields & {
  readonly id: string
  readonly phase: ConnectionPhase
  /** What an open connection does now; otherwise the phase. */
  readonly state: string
  readonly name: string | null
  readonly tls: TlsFacts | null
  readonly tlsProfile: TlsProfileName | null
  readonly openedMs: number
  readonly requests: number
  readonly bytesIn: number
  readonly bytesOut: number
}
