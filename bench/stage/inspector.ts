// Talks to the inspector of a Node process under test: CPU profiles of a chosen window, and heap size after a collection.
import { setTimeout as delay } from 'node:timers/promises'

/** Address that a Node process under test is started with. */
export const INSPECTOR = '127.0.0.1:9229'
/** Arguments for such a process. */
export const INSPECTOR_ARGS: readonly string[] = [`--inspect=${INSPECTOR}`]

/** One function of a CPU profile. */
export type ProfileNode = {
  readonly id: number
  readonly callFrame: { readonly functionName: string; readonly url: string; readonly lineNumber: number }
}

/** A CPU profile as the inspector gives it; times in microseconds. */
export type CpuProfile = {
  readonly nodes: readonly ProfileNode[]
  readonly samples: readonly number[]
  readonly timeDeltas: readonly number[]
}

/** An open inspector session. */
export type Inspector = {
  readonly heapAfterCollection: () => Promise<number>
  readonly profile: (work: () => Promise<unknown>) => Promise<CpuProfile>
  readonly close: () => void
}

/** Connects. Throws when no inspector answers within 10 s. */
export async function openInspector(): Promise<Inspector> {
  const socket = new WebSocket(await debuggerUrl())
  await new Promise<void>((resolve, reject) => {
    socket.addEventListener('open', () => resolve(), { once: true })
    socket.addEventListener('error', () => reject(new Error('the inspector refused the connection')), {
      once: true,
    })
  })
  const waiting = new Map<number, (message: Answer) => void>()
  let lastId = 0
  socket.addEventListener('message', event => {
    const message = JSON.parse(String(event.data)) as Answer
    if (message.id === undefined) return
    waiting.get(message.id)?.(message)
    waiting.delete(message.id)
  })
  socket.addEventListener('close', () => {
    for (const answer of waiting.values()) answer({ error: { message: 'the process ended' } })
    waiting.clear()
  })
  const call = (method: string, params: object = {}) =>
    new Promise<Record<string, unknown>>((resolve, reject) => {
      if (socket.readyState !== WebSocket.OPEN) {
        reject(new Error(`${method}: the process ended`))
        return
      }
      const id = ++lastId
      waiting.set(id, message => {
        if (message.error === undefined) resolve(message.result ?? {})
        else reject(new Error(`${method}: ${message.error.message}`))
      })
      socket.send(JSON.stringify({ id, method, params }))
    })
  return {
    heapAfterCollection: async () => {
      await call('HeapProfiler.collectGarbage')
      const usage = (await call('Runtime.getHeapUsage')) as {
        usedSize: number
        embedderHeapUsedSize?: number
      }
      return usage.usedSize
    },
    profile: async work => {
      await call('Profiler.enable')
      await call('Profiler.setSamplingInterval', { interval: 200 })
      await call('Profiler.start')
      await work()
      const { profile } = (await call('Profiler.stop')) as { profile: CpuProfile }
      return profile
    },
    close: () => socket.close(),
  }
}

type Answer = {
  readonly id?: number
  readonly result?: Record<string, unknown>
  readonly error?: { readonly message: string }
}

async function debuggerUrl(): Promise<string> {
  for (let attempt = 0; attempt < 100; attempt++) {
    try {
      const response = await fetch(`http://${INSPECTOR}/json/list`)
      const [target] = (await response.json()) as { webSocketDebuggerUrl: string }[]
      if (target !== undefined) return target.webSocketDebuggerUrl
    } catch {
      // Not listening yet.
    }
    await delay(100)
  }
  throw new Error(`no inspector answers at ${INSPECTOR}`)
}
