// What is known of an attached client: the words that gateway, upstreams, operators and status pages share.
import type { Duplex } from 'node:stream'
import { OWN_PREFIX } from '../policy/own-path.ts'
import type { Client } from '../policy/running-state.ts'

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

/** Paths below this one belong to connectors and operators, on every name that the gate serves. */
export const TUNNEL_PREFIX = OWN_PREFIX
