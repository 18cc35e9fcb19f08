// Bans, allows and openings that operators set: written to the store, put in force, reported.
import type { AdminActions } from './admin/routes.ts'
import type { Reporter } from './journal/events.ts'
import { REMOVED, type Store } from './journal/store.ts'

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
      if (entry.kind === 'opening')
        reporter.report('opening.made', { ...fields, classes: classes ?? [], expiresMs: expiresMs ?? 0 })
      else reporter.report(entry.kind === 'ban' ? 'ban.added' : 'allow.added', fields)
      return added
    },
    removeEntries: async (kind, range, owner) => {
      const removed = await store.call('removeOverlayEntries', kind, range)
      await refreshOverlay()
      for (const entry of removed) {
        const fields = { range: entry.range, owner, why: 'taken back' }
        reporter.report(REMOVED[kind], fields)
      }
      return removed
    },
    entries: () => store.call('overlayEntries'),
  }
}
