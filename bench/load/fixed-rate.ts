// Open-loop load at a fixed mean rate: latency counts from when a request was due, so a stalled proxy cannot hide its queue.
import { percentile } from '../report/statistics.ts'
import { getRequest, openConnection, type HttpConnection } from './http-connection.ts'

/** Latency in milliseconds. */
export type LatencyResult = {
  readonly requests: number
  readonly failed: number
  readonly p50Ms: number
  readonly p99Ms: number
}

/** Times in milliseconds from the start at which requests are due: a Poisson process, equal for equal seeds. */
export function dueTimes(rate: number, durationMs: number, seed: number): number[] {
  const times: number[] = []
  let state = seed >>> 0
  let at = 0
  for (;;) {
    // xorshift32: reproducible, and good enough for gaps.
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    at += (-Math.log(((state >>> 0) + 1) / 4_294_967_297) * 1_000) / rate
    if (at >= durationMs) return times
    times.push(at)
  }
}

/** Sends GETs when they are due over `connections` connections and reports latency from the due time. */
export async function fixedRate(options: {
  readonly port: number
  readonly rate: number
  readonly seconds: number
  readonly connections: number
  readonly seed: number
}): Promise<LatencyResult> {
  const idle: HttpConnection[] = []
  for (let opened = 0; opened < options.connections; opened++) idle.push(await openConnection(options.port))
  const all = [...idle]
  const due = dueTimes(options.rate, options.seconds * 1_000, options.seed)
  const latencies: number[] = []
  let failed = 0
  let next = 0
  const request = getRequest()
  const startMs = performance.now() + 20
  await new Promise<void>(resolve => {
    const finishIfDone = () => {
      if (latencies.length + failed === due.length) resolve()
    }
    const send = () => {
      const now = performance.now() - startMs
      for (;;) {
        const dueMs = due[next]
        if (dueMs === undefined || dueMs > now) break
        const connection = idle.pop()
        if (connection === undefined) break
        next++
        connection.exchange(request).then(
          status => {
            if (status === 200) latencies.push(performance.now() - startMs - dueMs)
            else failed++
            idle.push(connection)
            send()
            finishIfDone()
          },
          () => {
            failed++
            finishIfDone()
          },
        )
      }
    }
    const timer = setInterval(() => {
      send()
      if (all.every(connection => connection.socket.destroyed)) failed = due.length - latencies.length
      finishIfDone()
      if (latencies.length + failed >= due.length) clearInterval(timer)
    }, 1)
  })
  for (const connection of all) connection.socket.destroy()
  const sorted = latencies.toSorted((a, b) => a - b)
  return { requests: due.length, failed, p50Ms: percentile(sorted, 50), p99Ms: percentile(sorted, 99) }
}
