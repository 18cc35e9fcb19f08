// What the gate puts together of connectors: attaching, the registry of clients, and the answers below the gate's own prefix.
import { randomUUID } from 'node:crypto'
import type { Access } from './access/access.ts'
import type { CurrentPolicy } from './edge/connection.ts'
import type { OwnReply, OwnRequest, OwnService, OwnSwitch } from './edge/http/own-service.ts'
import type { Reporter } from './journal/events.ts'
import { createAttach, type AttachLimits } from './tunnel/attach.ts'
import { TUNNEL_PREFIX } from './tunnel/client.ts'
import { createRegistry, type Registry } from './tunnel/registry.ts'
import type { AttachUdp } from './tunnel/udp-attach.ts'

/** What the parts need. */
export type TunnelPartsOptions = {
  readonly access: Access
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
  readonly close: () => void
}

const LIMITS: AttachLimits = { connections: 20_000, connectionsPerSource: 2_000 }

/** Where connectors attach. */
const CONNECTOR_PATH = `${TUNNEL_PREFIX}connector`
const OPERATOR_PREFIX = `${TUNNEL_PREFIX}operator/`

/** Puts the parts together. */
export function createTunnelParts(options: TunnelPartsOptions): TunnelParts {
  const { access, reporter, clock, udp } = options
  const limits = (): AttachLimits => LIMITS
  const registry = createRegistry({ reporter, clock, newId: randomUUID })
  const operator = options.operator?.(registry) ?? null
  const monotonicMs = (): number => performance.now()
  const attach = createAttach({ access, registry, reporter, limits, udp, monotonicMs })
  const stopListening = access.onChange(({ keysRemoved }) => {
    for (const key of keysRemoved) registry.detachKey(key, 'the gateway key was removed')
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
    close: () => {
      stopListening()
      registry.detachAll('the gate shuts down')
    },
  }
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
