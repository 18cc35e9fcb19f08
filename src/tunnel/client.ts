// What is known of an attached client: the words that gateway, upstreams, operators and status pages share.
import type { Duplex } from 'node:stream'
import { OWN_PREFIX } from '../policy/own-path.ts'

/** A local service that a connector offers by name. It never connects anywhere else. */
export type OfferedService = {
  readonly name: string
  /** `tcp` also carries HTTP and HTTPS. */
  readonly kind: 'tcp' | 'udp'
}

/** A client: one connector that has attached with a gateway key. The same name with another key is another client. */
export type Client = {
  /** Unique among everything that has attached since the start. */
  readonly id: string
  readonly name: string
  /** Name of the gateway key, never the key. */
  readonly key: string
  /** The address that the gate saw, and the one that the client says it has. */
  readonly publicAddress: string
  readonly realAddress: string
  readonly site: string | null
  readonly country: string
  readonly version: string
  /** What it has proven to be (`ed25519/...`); null: it has shown no identity. */
  readonly identity: string | null
  readonly sinceMs: number
  readonly services: readonly OfferedService[]
}

/** A client that can be used. */
export type LiveClient = Client & {
  /**
   * Opens a connection to one of its TCP services.
   * @throws PortcullisError `service-unknown`, `service-unreachable` (the client could not connect), `client-gone`
   */
  readonly open: (service: string, signal: AbortSignal) => Promise<Duplex>
  /** Ends it, with a reason that its own log shows. */
  readonly detach: (why: string) => void
}

/** Everything that is attached now. */
export type Clients = {
  readonly list: () => readonly LiveClient[]
  readonly find: (key: string, name: string) => LiveClient | undefined
  /** Called when a client has come or gone. Returns the remover. */
  readonly onChange: (listener: (client: LiveClient, change: 'attached' | 'detached') => void) => () => void
}

/** An operator who is connected to a service of a client. */
export type OperatorSession = {
  readonly id: string
  readonly operator: string
  readonly client: string
  readonly key: string
  readonly service: string
  readonly address: string
  readonly startedMs: number
  readonly bytesIn: number
  readonly bytesOut: number
}

/** Paths below this one belong to connectors and operators, on every name that the gate serves. */
export const TUNNEL_PREFIX = OWN_PREFIX
