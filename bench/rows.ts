// The rows of the table: what is measured, how one measurement is taken, and in which unit.
import { setTimeout as delay } from 'node:timers/promises'
import { ab } from './load/ab.ts'
import { bulk } from './load/bulk.ts'
import { fixedRate } from './load/fixed-rate.ts'
import { inspectedLoad, type InspectedKind } from './load/inspected.ts'
import { openWebSockets } from './load/websockets.ts'
import { wrk } from './load/wrk.ts'
import { cpuUse, residentBytes } from './stage/usage.ts'

/** Ids of rows, as on the command line. */
export const ROW_IDS = [
  'get',
  'post',
  'connect',
  'websocket',
  'download',
  'latency',
  'stream-download',
  'stream-upload',
  'rules-get',
  'rules-xml',
  'rules-json',
  'rules-form',
] as const
export type RowId = (typeof ROW_IDS)[number]

/** One measurement of one peer. */
export type Sample = {
  readonly value: number
  /** Second number of the row, see `Row.second`. */
  readonly second: number
  /** Share of the window in which the proxy ran or waited for its core; 1 is saturated. */
  readonly busy: number
  /** Share of the window in which it really ran; much less than `busy` means that other programs had its core. */
  readonly ran: number
  readonly failed: number
  /** Legitimate requests that rules refused: wrong, but answered. */
  readonly refused?: number
}

/** What a measurement may use. */
export type Measuring = {
  readonly pid: number
  readonly port: number
  readonly dir: string
  readonly seconds: number
  readonly round: number
  readonly webSockets: number
  readonly ratePerSecond: number
}

/** A row. */
export type Row = {
  readonly id: RowId
  readonly title: string
  readonly unit: string
  readonly second: string
  /** Each round starts the peer afresh. */
  readonly fresh: boolean
  /** Only these peers take part; left out: all. */
  readonly peers?: readonly string[]
  readonly measure: (context: Measuring) => Promise<Sample>
  /** Load that warms up, where the row's own is too light for it. */
  readonly warmUp?: (context: Measuring) => Promise<Sample>
}

/** Who inspects requests, and nginx for what carrying them costs. */
const INSPECTING = ['nginx', 'portcullis', 'base', 'portcullis+crs', 'nginx+crs']

/** Who relays raw TCP in the bench's configuration. */
const RELAYING = ['nginx', 'portcullis', 'base']

function bulkRow(way: 'down' | 'up', id: 'stream-download' | 'stream-upload', title: string): Row {
  return {
    id,
    title,
    unit: 's',
    second: 'MB/s',
    fresh: false,
    peers: RELAYING,
    measure: async context => {
      const { result, runNs, busy, ran } = await charged(context.pid, () =>
        bulk(way, { ...context, connections: 4 }),
      )
      return {
        value: runNs / result.bytes,
        second: result.bytes / 1e6 / result.seconds,
        busy,
        ran,
        failed: result.failed,
      }
    },
  }
}

function inspectedRow(kind: InspectedKind, title: string): Row {
  return {
    id: `rules-${kind}`,
    title: `${title}, never the same twice, CPU per request`,
    unit: 'µs',
    second: 'requests/s',
    fresh: false,
    peers: INSPECTING,
    measure: async context => {
      const { result, runNs, busy, ran } = await charged(context.pid, () =>
        inspectedLoad(kind, { ...context, connections: KEPT_ALIVE }),
      )
      return {
        value: runNs / 1e3 / result.requests,
        second: result.requests / result.seconds,
        busy,
        ran,
        failed: result.failed,
        refused: result.refused,
      }
    },
  }
}

// Enough to saturate; more would let their handshakes weigh on the cost of a request.
const KEPT_ALIVE = 32

export const ROWS: readonly Row[] = [
  {
    id: 'get',
    title: 'Keep-alive GET check-in, CPU per request',
    unit: 'µs',
    second: 'requests/s',
    fresh: false,
    measure: context => perRequest('get', context),
  },
  {
    id: 'post',
    title: 'Keep-alive POST check-in of 2 KiB, fresh bodies, CPU per request',
    unit: 'µs',
    second: 'requests/s',
    fresh: false,
    measure: context => perRequest('post', context),
  },
  {
    id: 'connect',
    title: 'New TLS 1.3 connection with one check-in, full handshake, CPU per connection',
    unit: 'µs',
    second: 'connections/s',
    fresh: false,
    measure: async context => {
      const { result, runNs, busy, ran } = await charged(context.pid, () =>
        ab({ ...context, connections: 32 }),
      )
      return {
        value: runNs / 1e3 / result.connections,
        second: result.connections / result.seconds,
        busy,
        ran,
        failed: result.failed,
      }
    },
  },
  {
    id: 'websocket',
    title: 'Resident memory per idle WebSocket',
    unit: 'kB',
    second: 'open',
    fresh: true,
    measure: idleWebSockets,
  },
  {
    id: 'download',
    title: 'Download of 128 MiB, CPU per GB',
    unit: 's',
    second: 'MB/s',
    fresh: false,
    measure: async context => {
      const { result, runNs, busy, ran } = await charged(context.pid, () =>
        wrk('download', { ...context, connections: 4 }),
      )
      return {
        value: runNs / result.bytes,
        second: result.bytes / 1e6 / result.seconds,
        busy,
        ran,
        failed: result.statusErrors + result.socketErrors,
      }
    },
  },
  {
    id: 'latency',
    title: 'p99 latency of GET at a fixed rate, open loop',
    unit: 'ms',
    second: 'p50 ms',
    fresh: false,
    warmUp: context => perRequest('get', context),
    measure: async context => {
      const { result, busy, ran } = await charged(context.pid, () =>
        fixedRate({ ...context, rate: context.ratePerSecond, connections: 64, seed: 1_000 + context.round }),
      )
      return { value: result.p99Ms, second: result.p50Ms, busy, ran, failed: result.failed }
    },
  },
  bulkRow('down', 'stream-download', 'Raw TCP download, CPU per GB'),
  bulkRow('up', 'stream-upload', 'Raw TCP upload, CPU per GB'),
  inspectedRow('get', 'Console GET with query and cookies'),
  inspectedRow('xml', 'POST of 2 KB XML'),
  inspectedRow('json', 'Inventory POST of 5 KB JSON'),
  inspectedRow('form', 'POST of a form with 5 KB of base64'),
]

async function perRequest(load: 'get' | 'post', context: Measuring): Promise<Sample> {
  const { result, runNs, busy, ran } = await charged(context.pid, () =>
    wrk(load, { ...context, connections: KEPT_ALIVE }),
  )
  return {
    value: runNs / 1e3 / result.requests,
    second: result.requests / result.seconds,
    busy,
    ran,
    failed: result.statusErrors + result.socketErrors,
  }
}

async function charged<T>(
  pid: number,
  work: () => Promise<T>,
): Promise<{ readonly result: T; readonly runNs: number; readonly busy: number; readonly ran: number }> {
  const before = cpuUse(pid)
  const startNs = process.hrtime.bigint()
  const result = await work()
  const wallNs = Number(process.hrtime.bigint() - startNs)
  const after = cpuUse(pid)
  const runNs = after.runNs - before.runNs
  // Threads wait at the same time, so the sum may pass the window.
  return {
    result,
    runNs,
    busy: Math.min(1, (runNs + after.waitNs - before.waitNs) / wallNs),
    ran: runNs / wallNs,
  }
}

async function idleWebSockets(context: Measuring): Promise<Sample> {
  // A first batch makes the proxy load and compile what it needs, so that only the sockets count.
  const first = await openWebSockets(context.port, 200)
  const base = await settledBytes(context.pid)
  const sockets = await openWebSockets(context.port, context.webSockets)
  const full = await settledBytes(context.pid)
  const closed = [...first, ...sockets].filter(socket => socket.destroyed || socket.readableEnded).length
  for (const socket of [...first, ...sockets]) socket.destroy()
  return {
    value: (full - base) / 1e3 / context.webSockets,
    second: context.webSockets,
    busy: 0,
    ran: 0,
    failed: closed,
  }
}

/** Waits until memory has stopped falling for some seconds (a garbage collector needs an idle while), then reads it. */
async function settledBytes(pid: number): Promise<number> {
  let lowest = residentBytes(pid)
  let unchanged = 0
  for (let waited = 0; waited < 40 && unchanged < 12; waited++) {
    await delay(500)
    const now = residentBytes(pid)
    unchanged = now < lowest * 0.995 ? 0 : unchanged + 1
    lowest = Math.min(lowest, now)
  }
  return residentBytes(pid)
}
