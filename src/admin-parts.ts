// The admin address: opened at the start, moved when the policy names another one, closed at the end.
import { openAdminServer, type AdminParts, type AdminServer } from './admin/server.ts'
import type { Reporter } from './journal/events.ts'
import { adminFailure, messageOf } from './own-events.ts'
import { PortcullisError } from './policy/error.ts'
import type { Snapshot } from './policy/snapshot.ts'

/** The admin address as it follows the policy. */
export type AdminAddress = {
  readonly endpoint: () => AdminServer['endpoint'] | null
  /** @throws PortcullisError `admin-address` when it cannot be bound */
  readonly open: (snapshot: Snapshot) => Promise<void>
  /** Goes to the address of this policy; one that cannot be bound is an event, and the old one stays. */
  readonly move: (snapshot: Snapshot) => Promise<void>
  readonly close: () => Promise<void>
}

/** A reload may take seconds on a busy machine, and who asked for it hears of it last: as long as a caller waits. */
const LEAVE_MS = 30_000

/** Makes the admin address, not open yet. */
export function createAdminAddress(parts: AdminParts, reporter: Reporter): AdminAddress {
  let admin: AdminServer | null = null
  /** Servers at addresses of before, until their last call is answered. */
  const leaving = new Set<AdminServer>()
  const listen = (snapshot: Snapshot): Promise<AdminServer> => openAdminServer(snapshot.admin.endpoint, parts)
  return {
    endpoint: () => admin?.endpoint ?? null,
    open: async snapshot => {
      try {
        admin = await listen(snapshot)
      } catch (cause) {
        reporter.report('listener.failed', adminFailure(snapshot, cause))
        const { host, port } = snapshot.admin.endpoint
        throw new PortcullisError(`the admin address ${host}:${port} cannot be opened: ${messageOf(cause)}`, {
          code: 'admin-address',
          side: 'configuration',
          remedy: 'Is another gate running here? Otherwise choose another admin.address in the policy.',
          cause,
        })
      }
    },
    move: async snapshot => {
      const old = admin
      const { host, port } = snapshot.admin.endpoint
      if (old?.wanted.host === host && old.wanted.port === port) return
      try {
        admin = await listen(snapshot)
        // Not waited for: the call that asked for this reload may come from there and wants its answer.
        if (old !== null) {
          leaving.add(old)
          void old.close(LEAVE_MS).then(() => leaving.delete(old))
        }
      } catch (cause) {
        reporter.report('listener.failed', adminFailure(snapshot, cause))
      }
    },
    close: async () => {
      const open = admin === null ? [...leaving] : [...leaving, admin]
      await Promise.all(open.map(server => server.close()))
    },
  }
}
