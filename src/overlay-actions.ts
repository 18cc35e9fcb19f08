// Bans and allows that operators set: written to the store, put in force, reported.
import type { AdminActions } from './admin/routes.ts'
import type { Reporter } from './journal/events.ts'
import type { Store } from './journal/store.ts'

/** The part of the admin API that changes the overlay. */
export function overlayActions(
  store: Pick<Store, 'call'>,
  reporter: Reporter,
  refreshOverlay: () => Promise<void>,
): Pick<AdminActions, 'addEntry' | 'removeEntries' | 'entries'> {
  return {
    addEntry: async entry => {
      const added = await store.call('addOverlayEntry', entry)
      await refreshOverlay()
      const { range, classes, reason, owner, expiresMs } = added
      const fields = { range, classes, reason, owner, expiresMs }
      if (entry.kind === 'ban') reporter.report('ban.added', fields)
      else reporter.report('allow.added', fields)
      return added
    },
    removeEntries: async (kind, range, owner) => {
      const removed = await store.call('removeOverlayEntries', kind, range)
      await refreshOverlay()
      for (const entry of removed) {
        const fields = { range: entry.range, owner, why: 'taken back' }
        if (kind === 'ban') reporter.report('ban.removed', fields)
        else reporter.report('allow.removed', fields)
      }
      return removed
    },
    entries: () => store.call('overlayEntries'),
  }
}
