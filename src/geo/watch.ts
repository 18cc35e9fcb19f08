// Watches a directory and asks for one refresh after each burst of changes, and for a second look when one is due.
import { watch, type FSWatcher } from 'node:fs'

/** Times of the watcher. */
export type WatchTimes = {
  /** Quiet time that ends a burst of changes. */
  readonly quietMs: number
  /** Longest burst that is waited out: a file that never stops changing must not hold up another. */
  readonly burstMs: number
  /** Time until the second look at a file that may be in the middle of a copy. */
  readonly settleMs: number
}

/** Defaults: prompt for an admin who watches, patient enough for a copy over a slow link. */
export const WATCH_TIMES: WatchTimes = { quietMs: 250, burstMs: 2_000, settleMs: 3_000 }

/** A running watch. */
export type DirectoryWatch = {
  /** Asks for a second look after the settling time. */
  readonly lookAgain: () => void
  /** Watches anew: the directory may have been missing, or another one may have taken its name. */
  readonly renew: () => void
  readonly close: () => void
}

/**
 * Starts watching. Failing to watch is not fatal: `failed` is told, and refreshes on request still work.
 * @param refresh called once per burst of changes
 */
export function watchDirectory(
  directory: string,
  times: WatchTimes,
  refresh: () => void,
  failed: (problem: string) => void,
): DirectoryWatch {
  let watcher: FSWatcher | undefined
  let quiet: NodeJS.Timeout | undefined
  let settle: NodeJS.Timeout | undefined
  let burstStartedMs: number | undefined
  let closed = false

  function changed(): void {
    const now = performance.now()
    burstStartedMs ??= now
    clearTimeout(quiet)
    const left = Math.max(0, burstStartedMs + times.burstMs - now)
    quiet = setTimeout(ended, Math.min(times.quietMs, left))
    quiet.unref()
  }

  function ended(): void {
    burstStartedMs = undefined
    refresh()
  }

  function renew(): void {
    if (closed) return
    watcher?.close()
    watcher = undefined
    try {
      const started = watch(directory, { persistent: false }, changed)
      watcher = started
      started.on('error', error => {
        started.close()
        if (watcher === started) watcher = undefined
        failed(error.message)
      })
    } catch (error) {
      failed(error instanceof Error ? error.message : String(error))
    }
  }

  renew()
  return {
    lookAgain() {
      if (closed) return
      clearTimeout(settle)
      settle = setTimeout(refresh, times.settleMs)
      settle.unref()
    },
    renew,
    close() {
      closed = true
      clearTimeout(quiet)
      clearTimeout(settle)
      watcher?.close()
    },
  }
}
