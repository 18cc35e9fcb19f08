// Many agents that send datagrams at a fixed rate, open loop, and measure how long the answers take.
import { createSocket, type Socket } from 'node:dgram'
import { once } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'

/** What came back. Times in milliseconds. */
export type AgentsResult = {
  readonly sent: number
  readonly answered: number
  readonly p50Ms: number
  readonly p99Ms: number
  readonly seconds: number
}

/** Agents with their sockets; they are used for several measurements, so that flows exist already. */
export type Agents = {
  readonly run: (ratePerSecond: number, seconds: number) => Promise<AgentsResult>
  readonly close: () => void
}

const STEP_MS = 1
/** What is answered later than this counts as lost. */
const LATE_MS = 3_000
const PAYLOAD_BYTES = 100

/** Opens the sockets of `count` agents towards one address. */
export async function openAgents(count: number, host: string, port: number): Promise<Agents> {
  const times: number[] = []
  const sockets: Socket[] = []
  const lookup = (
    _name: string,
    _options: unknown,
    found: (error: null, address: string, family: 4) => void,
  ): void => found(null, host, 4)
  for (let index = 0; index < count; index++) {
    const socket = createSocket({ type: 'udp4', lookup })
    socket.on('error', () => undefined)
    socket.on('message', message => times.push(performance.now() - message.readDoubleBE(0)))
    socket.connect(port, host)
    sockets.push(socket)
    if (index % 500 === 0) await once(socket, 'connect')
  }
  await delay(500)
  return {
    run: async (ratePerSecond, seconds) => {
      times.length = 0
      const total = Math.round(ratePerSecond * seconds)
      const startMs = performance.now()
      let sent = 0
      while (sent < total) {
        const due = Math.min(total, ((performance.now() - startMs) / 1_000) * ratePerSecond)
        for (; sent < due; sent++) {
          const message = Buffer.alloc(PAYLOAD_BYTES, 0x61)
          message.writeDoubleBE(performance.now(), 0)
          sockets[sent % count]?.send(message)
        }
        await delay(STEP_MS)
      }
      const elapsed = (performance.now() - startMs) / 1_000
      const untilMs = performance.now() + LATE_MS
      while (times.length < sent && performance.now() < untilMs) await delay(20)
      const sorted = times.toSorted((a, b) => a - b)
      const at = (share: number): number => sorted[Math.floor(sorted.length * share)] ?? Number.NaN
      return { sent, answered: sorted.length, p50Ms: at(0.5), p99Ms: at(0.99), seconds: elapsed }
    },
    close: () => {
      for (const socket of sockets) socket.close()
    },
  }
}
