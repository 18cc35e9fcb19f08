// What the gate puts together of connectors: attaching, the registry of clients, and the answers below the gate's own prefix.
import { randomUUID } from 'node:crypto'
import type { Duplex } from 'node:stream'
import type { Access } from './access/access.ts'
import type { CurrentPolicy } from './edge/connection.ts'
import type { OwnReply, OwnRequest, OwnService, OwnSwitch } from './edge/http/own-service.ts'
import type { Upstreams } from './forward/upstreams.ts'
import type { Reporter } from './journal/events.ts'
import type { ConnectorVia } from './policy/gateway-policy.ts'
import { createAdmit } from './tunnel/admit-identity.ts'
import { createAttach, type AttachLimits } from './tunnel/attach.ts'
import { TUNNEL_PREFIX } from './tunnel/client.ts'
import { KEY_REMOVED } from './tunnel/connector/connector.ts'
import type { IdentityPins } from './tunnel/identity-pins.ts'
import { createRegistry, type Registry } from './tunnel/registry.ts'
import type { AttachUdp } from './tunnel/udp-attach.ts'

/** What the parts need. */
export type TunnelPartsOptions = {
  readonly access: Access
  /** Which identity belongs to which client. */
  readonly pins: IdentityPins
  readonly reporter: Reporter
  /** Milliseconds since the epoch. */
  readonly clock: () => number
  readonly current: CurrentPolicy
  readonly udp: AttachUdp | null
  /** Makes what answers below `operator/`; null: nothing is there. */
  readonly operator: ((registry: Registry) => OwnService) | null
}

/** The parts. */
export type TunnelParts = {
  readonly registry: Registry
  readonly own: OwnService
  /** Carries connections to upstream members behind a connector. @throws PortcullisError when there is none */
  readonly through: (via: ConnectorVia) => Duplex
  /** Another policy is in force. */
  readonly policyChanged: () => void
  /** From now on upstreams hear at once of clients that come and go. */
  readonly follow: (servers: Pick<Upstreams, 'clientChanged'>) => void
  readonly close: () => void
}

/** Where connectors attach. */
const CONNECTOR_PATH = `${TUNNEL_PREFIX}connector`
const OPERATOR_PREFIX = `${TUNNEL_PREFIX}operator/`

/** Puts the parts together. */
export function createTunnelParts(options: TunnelPartsOptions): TunnelParts {
  const { access, pins, reporter, clock, udp } = options
  const limits = (): AttachLimits => {
    const { attachments, attachmentsPerSource } = options.current().snapshot.gateway
    return { connections: attachments, connectionsPerSource: attachmentsPerSource }
  }
  const connectorName = (client: string, key: string): string | null => {
    for (const entry of options.current().snapshot.gateway.connectors.values())
      if (entry.client === client && entry.key === key) return entry.name
    return null
  }
  const registry = createRegistry({ reporter, clock, newId: randomUUID })
  const admit = createAdmit({
    pins,
    reporter,
    clock,
    mode: () => options.current().snapshot.gateway.identity,
    named: (client, key) => {
      for (const entry of options.current().snapshot.gateway.connectors.values())
        if (entry.key === key && isSameName(entry.client, client) && entry.identity !== null)
          return entry.identity
      return null
    },
    isAttached: (client, key, identity) =>
      registry
        .list()
        .some(live => live.key === key && live.identity === identity && isSameName(live.name, client)),
  })
  const operator = options.operator?.(registry) ?? null
  const monotonicMs = (): number => performance.now()
  const attach = createAttach({ access, registry, reporter, limits, udp, connectorName, admit, monotonicMs })
  const stopListening = access.onChange(({ keysRemoved }) => {
    const left = new Set(access.keys().map(({ name }) => name))
    for (const key of keysRemoved) {
      registry.detachKey(key, KEY_REMOVED)
      // One that got another value keeps its clients, and who they are.
      if (!left.has(key)) pins.forgetKey(key)
    }
  })
  const own: OwnService = {
    request: async request => {
      if (operator !== null && request.path.startsWith(OPERATOR_PREFIX)) return operator.request(request)
      return request.path === CONNECTOR_PATH ? UPGRADE_NEEDED : NOTHING_HERE
    },
    upgrade: async (request: OwnRequest, protocol: string): Promise<OwnReply | OwnSwitch> => {
      if (operator !== null && request.path.startsWith(OPERATOR_PREFIX))
        return operator.upgrade(request, protocol)
      return request.path === CONNECTOR_PATH ? attach(request, protocol) : NOTHING_HERE
    },
  }
  return {
    registry,
    own,
    policyChanged: () => {
      const fits = (client: string, key: string): boolean => connectorName(client, key) !== null
      registry.detachUdp(fits, 'the policy does not name this connector any more')
    },
    follow: servers => {
      // Asked again: one that another process has replaced is not gone.
      registry.onChange(({ key, name }) =>
        servers.clientChanged(key, name, registry.find(key, name) !== undefined),
      )
    },
    through: ({ key, client, service }) => registry.stream(key, client, service),
    close: () => {
      stopListening()
      registry.detachAll('the gate shuts down')
    },
  }
}

function isSameName(one: string, other: string): boolean {
  return one.toLowerCase() === other.toLowerCase()
}

const UPGRADE_NEEDED: OwnReply = {
  status: 426,
  json: {
    status: 426,
    code: 'upgrade-needed',
    message: 'Connectors attach here with an upgrade.',
    remedy: 'Run bin/connector; a proxy in between must let upgrades pass.',
  },
}

const NOTHING_HERE: OwnReply = {
  status: 404,
  json: {
    status: 404,
    code: 'path-unknown',
    message: 'The gate has nothing here.',
    remedy: 'Connector, command line and gate must be of versions that go together.',
  },
}
