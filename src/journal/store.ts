// The store's handle on the main thread: bounded queue, batches to the thread that owns the file, answers, upkeep. Never blocks.
import { Worker } from 'node:worker_threads'
import type { Ledger } from './ledger.ts'
import type { EventFields, EventName } from './events.ts'
import { CELL_WIDTH } from './ledger-facts.ts'
import type { Retention } from './retention.ts'
import type { EventRow } from './store-events.ts'
import type { StoreCalls, StoreReply, StoreRequest } from './store-messages.ts'
import type { OverlayEntry } from './store-overlay.ts'
import type { TrafficTally } from './traffic-tally.ts'

/** Takes the store's own events. */
export type StoreListener = <K extends EventName>(name: K, fields: EventFields[K]) => void

/** What a store needs. Times in milliseconds. */
export type StoreOptions = {
  readonly file: string
  readonly retention: Retention
  readonly clock: () => number
  /** Drained regularly; null: no ledger is kept. */
  readonly ledger: Pick<Ledger, 'drain' | 'state'> | null
  /** Drained together with the ledger; absent: no sums of traffic are kept. */
  readonly tally?: Pick<TrafficTally, 'drain' | 'state'>
  /** Bans and allows have ended and are gone: rebuild the overlay. */
  readonly onExpired?: (entries: readonly OverlayEntry[]) => void
  /** Longest time an event waits before it is written; 500 unless told. */
  readonly flushMs?: number
  /** Time between drains of the ledger; 2,000 unless told. */
  readonly ledgerMs?: number
  /** Time between rounds of upkeep; 60,000 unless told. */
  readonly upkeepMs?: number
  /** Time until an unusable store is tried again; 30,000 unless told. */
  readonly retryMs?: number
  /** Rows that may wait; 20,000 unless told. Beyond it rows are dropped and counted. */
  readonly maxQueuedRows?: number
}

/** How the store is doing. */
export type StoreState = {
  readonly usable: boolean
  readonly queuedRows: number
  readonly droppedRows: number
  readonly writtenRows: number
  /** Time the last batch took in its own thread. */
  readonly lastBatchMs: number
  readonly usedBytes: number
}

/** The store. */
export type Store = {
  /** Queues a row. False: it was dropped, because the queue is full or the store is unusable. */
  readonly add: (row: EventRow) => boolean
  /** Asks the thread. Rejects when the store is unusable or closed. */
  readonly call: <M extends keyof StoreCalls>(
    method: M,
    ...args: Parameters<StoreCalls[M]>
  ) => Promise<ReturnType<StoreCalls[M]>>
  /** Takes the store's own events from now on, and those that came before. */
  readonly listen: (listener: StoreListener) => void
  readonly setRetention: (retention: Retention) => void
  /** Resolves when everything that was added before is written or lost. */
  readonly flush: () => Promise<void>
  /** Does upkeep until nothing is left to do. */
  readonly upkeep: () => Promise<void>
  readonly close: () => Promise<void>
  readonly state: () => StoreState
}

/** What is reported when an entry of the overlay has ended or is taken back. */
export const REMOVED = {
  ban: 'ban.removed',
  allow: 'allow.removed',
  opening: 'opening.ended',
} as const

const BATCH_ROWS = 1_000
const BATCH_CELLS = 1_000
const UPKEEP_PAUSE_MS = 100
const DROP_REPORT_MS = 10_000
const CLOSE_MS = 5_000

type Waiting = { readonly resolve: (value: unknown) => void; readonly reject: (error: Error) => void }

/** Opens the store. Resolves even when the file cannot be used: then nothing is stored, the event says why, and it is tried again. */
export async function openStore(options: StoreOptions): Promise<Store> {
  const { file, clock, ledger, tally } = options
  const maxQueuedRows = options.maxQueuedRows ?? 20_000
  let retention = options.retention
  let listener: StoreListener | null = null
  let early: (() => void)[] = []
  let worker: Worker | null = null
  const live = { usable: false, closing: false, writing: 0 }
  let queue: EventRow[] = []
  let dropped = 0
  let unreported = 0
  let unreportedWhy = ''
  let reportedMs = -Infinity
  let ledgerDueMs = 0
  let writtenRows = 0
  let lastBatchMs = 0
  let usedBytes = 0
  let nextCall = 1
  let upkeepRun: Promise<void> | null = null
  let retryTimer: NodeJS.Timeout | undefined
  const calls = new Map<number, Waiting>()
  const idle: (() => void)[] = []
  let onOpened: (() => void) | null = null
  let onClosed: (() => void) | null = null

  const report: StoreListener = (name, fields) => {
    if (listener !== null) listener(name, fields)
    else if (early.length < 100) early.push(() => listener?.(name, fields))
  }
  const lose = (rows: number, why: string): void => {
    dropped += rows
    unreported += rows
    unreportedWhy = why
  }
  const reportLost = (): void => {
    if (unreported === 0 || clock() - reportedMs < DROP_REPORT_MS) return
    const rows = unreported
    unreported = 0
    reportedMs = clock()
    report('journal.dropped', { rows, why: unreportedWhy })
  }
  const post = (request: StoreRequest): void => {
    if (worker === null) return
    worker.ref()
    // The numbers of the ledger move over without being copied.
    const moved =
      request.kind === 'write' && request.batch.ledger !== null
        ? [request.batch.ledger.cells.buffer as ArrayBuffer]
        : []
    worker.postMessage(request, moved)
  }
  const settle = (): void => {
    if (live.writing > 0 || calls.size > 0) return
    if (onOpened === null && onClosed === null) worker?.unref()
    for (const resolve of idle.splice(0)) resolve()
  }

  const retryLater = (): void => {
    live.usable = false
    if (live.closing || retryTimer !== undefined) return
    retryTimer = setTimeout(() => {
      retryTimer = undefined
      if (worker === null) startWorker()
      post({ kind: 'open', file, nowMs: clock() })
    }, options.retryMs ?? 30_000)
    retryTimer.unref()
  }

  const startWorker = (): void => {
    const started = new Worker(new URL('./store-worker.ts', import.meta.url), {
      execArgv: ['--disable-warning=ExperimentalWarning'],
    })
    worker = started
    const gone = (problem: string): void => {
      if (worker !== started) return
      worker = null
      if (live.writing > 0) lose(live.writing, problem)
      live.writing = 0
      for (const waiting of calls.values()) waiting.reject(new Error('the journal cannot be used at present'))
      calls.clear()
      if (!live.closing) {
        report('journal.store-failed', { file, problem, remedy: 'It is started again by itself.' })
        retryLater()
      }
      onOpened?.()
      onClosed?.()
      settle()
    }
    started.on('message', take)
    started.on('error', error => gone(error.message))
    started.on('exit', code => gone(`its thread ended with code ${code}`))
  }

  const take = (reply: StoreReply): void => {
    switch (reply.kind) {
      case 'opened':
        live.usable = true
        if (reply.replaced !== null) report('journal.store-replaced', { file, ...reply.replaced })
        onOpened?.()
        break
      case 'unusable':
        report('journal.store-failed', { file, problem: reply.problem, remedy: reply.remedy })
        retryLater()
        onOpened?.()
        break
      case 'written':
        lastBatchMs = reply.durationMs
        if (reply.replaced !== null) report('journal.store-replaced', { file, ...reply.replaced })
        if (reply.lost === null) writtenRows += live.writing
        else {
          lose(live.writing, reply.lost)
          if (reply.lost === 'the store is not open') retryLater()
        }
        live.writing = 0
        // More than a batch is waiting, or somebody waits for all of it: do not wait for the clock.
        if (queue.length >= BATCH_ROWS || (ledger?.state().waiting ?? 0) >= BATCH_CELLS || idle.length > 0)
          send(idle.length > 0)
        break
      case 'answer':
      case 'problem': {
        const waiting = calls.get(reply.id)
        calls.delete(reply.id)
        if (reply.kind === 'answer') waiting?.resolve(reply.value)
        else waiting?.reject(new Error(reply.problem))
        break
      }
      case 'closed':
        onClosed?.()
    }
    settle()
  }

  const send = (everything: boolean): void => {
    if (live.writing > 0) return
    if (!live.usable) {
      if (queue.length > 0) lose(queue.length, 'the journal cannot be used at present.')
      queue = []
      return
    }
    const events = queue.length <= BATCH_ROWS ? queue : queue.slice(0, BATCH_ROWS)
    queue = queue.length <= BATCH_ROWS ? [] : queue.slice(BATCH_ROWS)
    const now = clock()
    const due = everything || now >= ledgerDueMs || now < ledgerDueMs - 3_600_000
    const additions = due ? (ledger?.drain(BATCH_CELLS) ?? null) : null
    const sums = due ? (tally?.drain() ?? null) : null
    if (due && (ledger?.state().waiting ?? 0) === 0) ledgerDueMs = now + (options.ledgerMs ?? 2_000)
    if (events.length === 0 && additions === null && sums === null) return
    live.writing = Math.max(1, events.length + (additions === null ? 0 : additions.cells.length / CELL_WIDTH))
    post({ kind: 'write', batch: { events, ledger: additions, tally: sums }, nowMs: now })
  }

  const call: Store['call'] = (method, ...args) => {
    if (worker === null || live.closing)
      return Promise.reject(new Error('the journal cannot be used at present'))
    const id = nextCall++
    const answer = new Promise<unknown>((resolve, reject) => calls.set(id, { resolve, reject }))
    post({ kind: 'call', id, method, args })
    return answer as Promise<never>
  }

  const keepUp = async (): Promise<void> => {
    let removed = 0
    let why: 'age' | 'size' | null = null
    for (let more = true; more && live.usable && !live.closing;) {
      const step = await call('upkeep', retention, clock())
      removed += step.rows
      why = step.why ?? why
      more = step.more
      for (const entry of step.expired) {
        const fields = { range: entry.range, owner: entry.owner, why: 'its time is over' }
        report(REMOVED[entry.kind], fields)
      }
      if (step.expired.length > 0) options.onExpired?.(step.expired)
      if (more) await pause(UPKEEP_PAUSE_MS)
    }
    if (why !== null)
      report('journal.trimmed', {
        rows: removed,
        why:
          why === 'age' ? 'they are older than the journal keeps' : 'the journal has reached its size limit',
      })
    if (live.usable && !live.closing) usedBytes = (await call('size')).usedBytes
  }
  const upkeep = (): Promise<void> => {
    upkeepRun ??= keepUp()
      .catch((error: unknown) => {
        if (!live.closing) lose(1, error instanceof Error ? error.message : String(error))
      })
      .finally(() => {
        upkeepRun = null
      })
    return upkeepRun
  }

  const flush = async (): Promise<void> => {
    const waiting = (): boolean =>
      live.writing > 0 ||
      queue.length > 0 ||
      (ledger?.state().waiting ?? 0) > 0 ||
      (tally?.state().waiting ?? 0) > 0
    while (live.usable && waiting()) {
      send(true)
      if (live.writing === 0) break
      await new Promise<void>(resolve => idle.push(resolve))
    }
  }

  startWorker()
  const opened = new Promise<void>(resolve => {
    onOpened = () => {
      onOpened = null
      resolve()
    }
  })
  post({ kind: 'open', file, nowMs: clock() })
  await opened
  settle()
  const flushTimer = setInterval(() => {
    send(false)
    reportLost()
  }, options.flushMs ?? 500)
  flushTimer.unref()
  const upkeepTimer = setInterval(() => void upkeep(), options.upkeepMs ?? 60_000)
  upkeepTimer.unref()

  return {
    add: row => {
      if (!live.usable || queue.length >= maxQueuedRows) {
        lose(1, live.usable ? 'the disk does not keep up.' : 'the journal cannot be used at present.')
        return false
      }
      queue.push(row)
      return true
    },
    call,
    listen: next => {
      listener = next
      const waiting = early
      early = []
      for (const tell of waiting) tell()
    },
    setRetention: next => {
      retention = next
    },
    flush,
    upkeep,
    close: async () => {
      if (live.closing) return
      await flush()
      live.closing = true
      clearInterval(flushTimer)
      clearInterval(upkeepTimer)
      clearTimeout(retryTimer)
      const ending = worker
      if (ending === null) return
      const timer = setTimeout(() => onClosed?.(), CLOSE_MS)
      await new Promise<void>(resolve => {
        onClosed = resolve
        post({ kind: 'close' })
      })
      clearTimeout(timer)
      live.usable = false
      await ending.terminate()
    },
    state: () => ({
      usable: live.usable,
      queuedRows: queue.length,
      droppedRows: dropped,
      writtenRows,
      lastBatchMs,
      usedBytes,
    }),
  }
}

function pause(ms: number): Promise<void> {
  return new Promise(resolve => {
    setTimeout(resolve, ms)
  })
}
