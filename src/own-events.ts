// Fields of the events that the composition root reports itself.
import type { EventFields } from './journal/events.ts'
import type { Snapshot } from './policy/snapshot.ts'

/** Fields of `policy.loaded`. */
export function loadedFields(
  snapshot: Snapshot,
  changes: readonly string[],
  warnings: readonly string[],
): EventFields['policy.loaded'] {
  return { id: snapshot.id, files: snapshot.files.length, changes, warnings }
}

/** Fields of `listener.failed` for the admin address. */
export function adminFailure({ admin }: Snapshot, cause: unknown): EventFields['listener.failed'] {
  return {
    listener: 'admin',
    host: admin.endpoint.host,
    port: admin.endpoint.port,
    problem: messageOf(cause),
    remedy: 'Choose another admin.address, or stop what uses this one.',
  }
}

/** What a cause says. */
export function messageOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause)
}
