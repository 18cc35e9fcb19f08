// Keys, operators, and what both reach, put together: connectors on the one side, operators on the other.
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import type { Access } from './access/access.ts'
import { ACCESS_FILE } from './access/access-file.ts'
import { createAccess } from './access/create-access.ts'
import type { GateStatus } from './admin/status.ts'
import { identityRoutes } from './admin/identity-routes.ts'
import type { AdminRoute } from './admin/server.ts'
import type { Reporter } from './journal/events.ts'
import { IDENTITY_FILE, openPinFile } from './tunnel/identity-file.ts'
import { createIdentityPins, type IdentityPins } from './tunnel/identity-pins.ts'
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

/** Opens the identities of clients in a state directory. `settled` resolves when all of it has been written. */
function openIdentities(
  stateDir: string,
  trouble: (file: string, problem: string) => void,
): { readonly pins: IdentityPins; readonly settled: () => Promise<void> } {
  const path = join(stateDir, IDENTITY_FILE)
  const file = openPinFile(path, problem => trouble(path, problem))
  return { pins: createIdentityPins(file), settled: file.settled }
}

/** The parts of the gateway. */
export type GatewayParts = Omit<TunnelParts, 'close'> & {
  /** Resolves when what was learned of clients has been written. */
  readonly close: () => Promise<void>
  readonly routes: Readonly<Record<string, AdminRoute>>
  /** Clients and sessions, as the status of the gate lists them. */
  readonly status: () => Pick<GateStatus, 'clients' | 'sessions'>
}

const MAX_LISTED = 10_000

/** Puts connectors and operators together. */
export function createGatewayParts(
  options: Omit<TunnelPartsOptions, 'operator' | 'pins'> & { readonly stateDir: string },
): GatewayParts {
  const { access, reporter, clock } = options
  const { pins, settled } = openIdentities(options.stateDir, (file, problem) =>
    reporter.report('client.identities-trouble', { file, problem }),
  )
  let operators: OperatorService | null = null
  const tunnel = createTunnelParts({
    ...options,
    pins,
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
    routes: identityRoutes({
      list: pins.list,
      forget: (name, key) => {
        const forgotten = pins.forget(name, key)
        for (const pin of forgotten)
          reporter.report('client.identity-forgotten', {
            client: pin.name,
            key: pin.key,
            identity: pin.identity,
          })
        return forgotten
      },
    }),
    status: () => ({
      clients: tunnel.registry
        .list()
        .slice(0, MAX_LISTED)
        .map(({ open: _open, detach: _detach, ...state }) => state),
      sessions: operators?.sessions.list() ?? [],
    }),
    close: () => {
      operators?.close()
      tunnel.close()
      return settled()
    },
  }
}
