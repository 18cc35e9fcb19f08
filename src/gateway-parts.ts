// Keys, operators, and what both reach, put together: connectors on the one side, operators on the other.
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import type { Access } from './access/access.ts'
import { ACCESS_FILE } from './access/access-file.ts'
import { createAccess } from './access/create-access.ts'
import type { GateStatus } from './admin/status.ts'
import type { Reporter } from './journal/events.ts'
import { createOperatorService, type OperatorService } from './tunnel/operator/service.ts'
import { createTunnelParts, type TunnelParts, type TunnelPartsOptions } from './tunnel-parts.ts'

/** Opens the keys and operators of a state directory. */
export function openAccess(stateDir: string, clock: () => number, reporter: Reporter): Access {
  return createAccess({
    file: join(stateDir, ACCESS_FILE),
    clock,
    reporter: { report: (name, fields) => reporter.report(name, fields) },
  })
}

/** The parts of the gateway. */
export type GatewayParts = TunnelParts & {
  /** Clients and sessions, as the status of the gate lists them. */
  readonly status: () => Pick<GateStatus, 'clients' | 'sessions'>
}

const MAX_LISTED = 10_000

/** Puts connectors and operators together. */
export function createGatewayParts(options: Omit<TunnelPartsOptions, 'operator'>): GatewayParts {
  const { access, reporter, clock } = options
  let operators: OperatorService | null = null
  const tunnel = createTunnelParts({
    ...options,
    operator: clients =>
      (operators = createOperatorService({
        access,
        clients,
        reporter,
        clock,
        monotonicMs: () => performance.now(),
        wait: ms => wait(ms),
      })),
  })
  return {
    ...tunnel,
    status: () => ({
      clients: tunnel.registry
        .list()
        .slice(0, MAX_LISTED)
        .map(({ id, name, key, publicAddress, realAddress, site, country, version, sinceMs, services }) => {
          return { id, name, key, publicAddress, realAddress, site, country, version, sinceMs, services }
        }),
      sessions: operators?.sessions.list() ?? [],
    }),
    close: () => {
      operators?.close()
      tunnel.close()
    },
  }
}
