// The main thread's handle on the thread that reads the store for pages: started when needed, bounded in number and time.
import { Worker } from 'node:worker_threads'
import { PortcullisError } from '../policy/error.ts'
import type { Answer, Question, StoreQuestions } from './store-questions.ts'

/** Asks the store without touching the thread that writes it. */
export type StoreReading = {
  /** @throws PortcullisError `store-busy`, `store-slow` or `store-unreadable` */
  readonly ask: <M extends keyof StoreQuestions>(
    method: M,
    ...args: Parameters<StoreQuestions[M]>
  ) => Promise<ReturnType<StoreQuestions[M]>>
  readonly close: () => Promise<void>
}

/** Limits. */
export type StoreReadingOptions = {
  readonly file: string
  /** Longest time a question may take, waiting included; 10,000 unless told. Then the thread is ended and started again. */
  readonly timeoutMs?: number
  /** Questions that may wait; 100 unless told. */
  readonly maxWaiting?: number
}

type Waiting = {
  readonly resolve: (value: unknown) => void
  readonly reject: (error: Error) => void
  readonly timer: NodeJS.Timeout
}

/** Makes the handle; the thread starts with the first question. */
export function openStoreReading(options: StoreReadingOptions): StoreReading {
  const timeoutMs = options.timeoutMs ?? 10_000
  const maxWaiting = options.maxWaiting ?? 100
  const waiting = new Map<number, Waiting>()
  let worker: Worker | null = null
  let nextId = 1
  let closed = false

  const failAll = (error: PortcullisError): void => {
    for (const entry of waiting.values()) {
      clearTimeout(entry.timer)
      entry.reject(error)
    }
    waiting.clear()
  }
  const end = async (error: PortcullisError): Promise<void> => {
    const ending = worker
    worker = null
    failAll(error)
    await ending?.terminate()
  }
  const start = (): Worker => {
    const started = new Worker(new URL('./store-reading-worker.ts', import.meta.url), {
      workerData: { file: options.file },
      execArgv: ['--disable-warning=ExperimentalWarning'],
    })
    const gone = (problem: string): void => {
      if (worker !== started) return
      worker = null
      failAll(unreadable(problem))
    }
    started.on('message', (answer: Answer) => {
      const entry = waiting.get(answer.id)
      if (entry === undefined) return
      waiting.delete(answer.id)
      clearTimeout(entry.timer)
      if ('problem' in answer) entry.reject(unreadable(answer.problem))
      else entry.resolve(answer.value)
      if (waiting.size === 0) started.unref()
    })
    started.on('error', error => gone(error.message))
    started.on('exit', code => gone(`its thread ended with code ${code}`))
    started.unref()
    return started
  }

  return {
    ask: (method, ...args) => {
      if (closed) return Promise.reject(unreadable('the gate is shutting down'))
      if (waiting.size >= maxWaiting) {
        return Promise.reject(
          failure('store-busy', 'too many pages are being put together at once', 'Try again in a moment.'),
        )
      }
      worker ??= start()
      const asked = worker
      const question: Question = { id: nextId++, method, args }
      const answer = new Promise<unknown>((resolve, reject) => {
        const timer = setTimeout(() => {
          void end(
            failure(
              'store-slow',
              `the journal did not answer within ${timeoutMs / 1_000} s`,
              'Ask for a shorter span, and look whether the disk keeps up.',
            ),
          )
        }, timeoutMs)
        timer.unref()
        waiting.set(question.id, { resolve, reject, timer })
      })
      asked.ref()
      asked.postMessage(question, [])
      return answer as Promise<never>
    },
    close: async () => {
      closed = true
      await end(unreadable('the gate is shutting down'))
    },
  }
}

function failure(code: string, message: string, remedy: string): PortcullisError {
  return new PortcullisError(message, { code, side: 'internal', remedy })
}

function unreadable(problem: string): PortcullisError {
  return failure(
    'store-unreadable',
    `the journal cannot be read: ${problem}`,
    'The events of the gate say what is wrong with the journal; traffic is not affected.',
  )
}
