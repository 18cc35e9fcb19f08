// The handle on desk threads: one stays for diagnoses, one lives as long as a plan. Nothing here holds the event loop up.
import { Worker } from 'node:worker_threads'
import type { AddressDiagnosis, PlanOutcome } from './admin/dashboard/pages/sources.ts'
import type { ListedException } from './policy/expiring.ts'
import type { DeskPolicy, DeskReply, DeskTask } from './desk-messages.ts'

/** What the desk needs. */
export type DeskOptions = {
  readonly policy: () => DeskPolicy
  readonly clock: () => number
}

/** Does for pages what commands do. */
export type Desk = {
  /** Null: not known yet, ask again soon. A diagnosis is worked out once and holds for some seconds. */
  readonly diagnose: (
    addresses: readonly string[],
    limited: boolean,
  ) => Promise<readonly AddressDiagnosis[] | null>
  /** Forgets diagnoses: something was changed. */
  readonly forget: () => void
  /** What deviates from the policy for a time. @throws Error when the thread cannot say */
  readonly exceptions: () => Promise<readonly ListedException[]>
  /** Plans a candidate in a thread of its own; one at a time. Never rejects. */
  readonly plan: (
    directory: string,
    label: string,
    onProgress: (text: string) => void,
  ) => Promise<PlanOutcome>
  readonly stopPlan: () => Promise<void>
  readonly close: () => Promise<void>
}

/** A page waits so long for a diagnosis; then it is shown without, and renews itself. */
const PAGE_WAIT_MS = 150
const REMEMBERED_MS = 15_000
const MAX_REMEMBERED = 200
/** Diagnoses that may wait for the thread; whoever comes later asks again. */
const MAX_WAITING = 20
const DIAGNOSE_TIMEOUT_MS = 30_000
const PLAN_TIMEOUT_MS = 600_000
/** Without work for so long, the thread for diagnoses gives its memory back. */
const IDLE_MS = 600_000

type DistributedOmit<T, K extends PropertyKey> = T extends unknown ? Omit<T, K> : never
type Work = DistributedOmit<DeskTask, 'id' | 'policy' | 'nowMs'>
type Entry = { readonly promise: Promise<readonly AddressDiagnosis[]>; readonly atMs: number }

/** Makes a desk; threads start with the first task. */
export function createDesk({ policy, clock }: DeskOptions): Desk {
  const remembered = new Map<string, Entry>()
  let staying: Thread | null = null
  let idle: NodeJS.Timeout | undefined
  let planning: Thread | null = null
  let closed = false

  const task = (work: Work, id: number): DeskTask => ({ ...work, id, policy: policy(), nowMs: clock() })
  const stay = (): Thread => {
    if (staying === null || staying.isGone()) staying = startThread()
    clearTimeout(idle)
    idle = setTimeout(() => {
      void staying?.end('it had nothing to do')
      staying = null
    }, IDLE_MS)
    idle.unref()
    return staying
  }
  return {
    diagnose: async (addresses, limited) => {
      if (addresses.length === 0) return []
      const key = `${limited} ${addresses.join(' ')}`
      const now = performance.now()
      let entry = remembered.get(key)
      if (entry === undefined || entry.atMs < now - REMEMBERED_MS) {
        if (closed) return []
        if (remembered.size >= MAX_REMEMBERED) remembered.clear()
        const thread = stay()
        if (thread.waiting() >= MAX_WAITING) return null
        const promise = thread
          .ask(id => task({ kind: 'diagnose', addresses, limited }, id), DIAGNOSE_TIMEOUT_MS)
          .then(reply => (reply.kind === 'diagnoses' ? reply.diagnoses : []))
        // Whoever waits for it hears of the failure; that nobody waits any more is no failure of its own.
        promise.catch(() => remembered.delete(key))
        entry = { promise, atMs: now }
        remembered.set(key, entry)
      }
      return within(entry.promise, PAGE_WAIT_MS)
    },
    forget: () => remembered.clear(),
    exceptions: async () => {
      const reply = await stay().ask(id => task({ kind: 'exceptions' }, id), DIAGNOSE_TIMEOUT_MS)
      return reply.kind === 'exceptions' ? reply.exceptions : []
    },
    plan: async (directory, label, onProgress) => {
      if (closed) return failed('the gate is shutting down')
      const thread = startThread()
      planning = thread
      try {
        const reply = await thread.ask(
          id => task({ kind: 'plan', candidate: directory, label }, id),
          PLAN_TIMEOUT_MS,
          onProgress,
        )
        return reply.kind === 'plan' ? reply.outcome : failed('the desk gave another answer')
      } catch (error) {
        return failed(error instanceof Error ? error.message : String(error))
      } finally {
        await thread.end('it is done')
      }
    },
    stopPlan: async () => {
      await planning?.end('it was stopped')
    },
    close: async () => {
      closed = true
      clearTimeout(idle)
      await Promise.all([
        staying?.end('the gate is shutting down'),
        planning?.end('the gate is shutting down'),
      ])
    },
  }
}

function failed(problem: string): PlanOutcome {
  return { kind: 'failed', problem }
}

/** The value if it is there in time. A failure is thrown to whoever asks. */
async function within<T>(value: Promise<T>, ms: number): Promise<T | null> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<null>(resolve => {
    timer = setTimeout(() => resolve(null), ms)
  })
  try {
    return await Promise.race([value, late])
  } finally {
    clearTimeout(timer)
  }
}

type Reply = Exclude<DeskReply, { kind: 'progress' | 'problem' }>

type Thread = {
  /** @throws Error when the thread ends, has a problem or takes too long */
  readonly ask: (
    make: (id: number) => DeskTask,
    timeoutMs: number,
    onProgress?: (text: string) => void,
  ) => Promise<Reply>
  readonly isGone: () => boolean
  readonly waiting: () => number
  readonly end: (why: string) => Promise<void>
}

type Waiting = {
  readonly resolve: (reply: Reply) => void
  readonly reject: (error: Error) => void
  readonly onProgress: (text: string) => void
  readonly timer: NodeJS.Timeout
}

function startThread(): Thread {
  const waiting = new Map<number, Waiting>()
  let nextId = 1
  let gone = false
  const worker = new Worker(new URL('./desk-worker.ts', import.meta.url), {
    execArgv: ['--disable-warning=ExperimentalWarning'],
  })
  const lose = (why: string): void => {
    gone = true
    for (const entry of waiting.values()) {
      clearTimeout(entry.timer)
      entry.reject(new Error(why))
    }
    waiting.clear()
  }
  const end = async (why: string): Promise<void> => {
    if (gone) return
    lose(why)
    await worker.terminate()
  }
  worker.unref()
  worker.on('error', error => lose(error.message))
  worker.on('exit', () => lose('its thread has ended'))
  worker.on('message', (reply: DeskReply) => {
    const entry = waiting.get(reply.id)
    if (entry === undefined) return
    if (reply.kind === 'progress') {
      entry.onProgress(reply.text)
      return
    }
    waiting.delete(reply.id)
    clearTimeout(entry.timer)
    if (reply.kind === 'problem') entry.reject(new Error(reply.problem))
    else entry.resolve(reply)
    if (waiting.size === 0) worker.unref()
  })
  return {
    ask: (make, timeoutMs, onProgress = () => undefined) => {
      if (gone) return Promise.reject(new Error('its thread has ended'))
      const id = nextId++
      const answer = new Promise<Reply>((resolve, reject) => {
        const timer = setTimeout(() => void end(`it took longer than ${timeoutMs / 1_000} s`), timeoutMs)
        timer.unref()
        waiting.set(id, { resolve, reject, onProgress, timer })
      })
      worker.ref()
      worker.postMessage(make(id), [])
      return answer
    },
    isGone: () => gone,
    waiting: () => waiting.size,
    end,
  }
}
