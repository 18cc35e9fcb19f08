// Mixed traffic as a fleet makes it: check-ins, new connections, WebSockets that come and go, downloads, clients that vanish mid-way.
import { setTimeout as delay } from 'node:timers/promises'
import { checkInForm, DOWNLOAD_PATH } from './work.ts'
import { getRequest, openConnection, postRequest, type HttpConnection } from './http-connection.ts'
import { openWebSocket } from './websockets.ts'

/** Counts of what was done. */
export type MixedCounts = {
  checkIns: number
  connections: number
  webSockets: number
  aborts: number
  /** Anything that failed although the client did nothing wrong. */
  failures: number
  lastFailure: string
}

/** Running traffic. */
export type MixedTraffic = { readonly counts: MixedCounts; readonly stop: () => Promise<void> }

const KEEP_ALIVE_LOOPS = 8
const CONNECTION_LOOPS = 2
const WEBSOCKET_LOOPS = 2
const ABORT_LOOPS = 2

/** Starts all loops against the port. */
export function startMixedTraffic(port: number): MixedTraffic {
  const counts: MixedCounts = {
    checkIns: 0,
    connections: 0,
    webSockets: 0,
    aborts: 0,
    failures: 0,
    lastFailure: '',
  }
  const stopping = new AbortController()
  const loop = async (body: () => Promise<void>) => {
    while (!stopping.signal.aborted) {
      try {
        await body()
      } catch (error) {
        counts.failures++
        counts.lastFailure = error instanceof Error ? error.message : String(error)
        await delay(100)
      }
    }
  }
  const loops = [
    ...times(KEEP_ALIVE_LOOPS, () => loop(() => keepAlive(port, counts, () => stopping.signal.aborted))),
    ...times(CONNECTION_LOOPS, () => loop(() => oneConnection(port, counts))),
    ...times(WEBSOCKET_LOOPS, () => loop(() => comingAndGoing(port, counts))),
    ...times(ABORT_LOOPS, index => loop(() => vanish(port, counts, index))),
  ]
  return {
    counts,
    stop: async () => {
      stopping.abort()
      await Promise.all(loops)
    },
  }
}

/** A thousand check-ins on one connection, alternately by GET and POST. */
async function keepAlive(port: number, counts: MixedCounts, stopped: () => boolean): Promise<void> {
  const connection = await openConnection(port)
  try {
    for (let turn = 0; turn < 1_000 && !stopped(); turn++) {
      await checkIn(
        connection,
        turn % 2 === 0 ? getRequest() : postRequest(checkInForm(counts.checkIns)),
        counts,
      )
    }
  } finally {
    connection.socket.destroy()
  }
}

async function oneConnection(port: number, counts: MixedCounts): Promise<void> {
  const connection = await openConnection(port)
  try {
    await checkIn(connection, getRequest(), counts)
    counts.connections++
  } finally {
    connection.socket.end()
  }
}

async function checkIn(connection: HttpConnection, request: string, counts: MixedCounts): Promise<void> {
  const status = await connection.exchange(request)
  if (status !== 200) throw new Error(`a check-in was answered with status ${status}`)
  counts.checkIns++
}

/** Ten WebSockets: half end politely, half vanish. */
async function comingAndGoing(port: number, counts: MixedCounts): Promise<void> {
  const sockets = await Promise.all(times(10, () => openWebSocket(port)))
  for (const [index, socket] of sockets.entries()) {
    if (index % 2 === 0) socket.end()
    else socket.destroy()
    counts.webSockets++
  }
}

/** A client that goes away in the middle of: its request head, its request body, a download. */
async function vanish(port: number, counts: MixedCounts, loop: number): Promise<void> {
  const kind = (counts.aborts + loop) % 3
  const connection = await openConnection(port)
  const { socket } = connection
  if (kind === 0) socket.write(getRequest().slice(0, 40))
  else if (kind === 1) socket.write(postRequest(checkInForm(counts.aborts)).slice(0, 1_200))
  else socket.write(getRequest(DOWNLOAD_PATH))
  await new Promise<void>(resolve => {
    let received = 0
    const finish = () => {
      connection.reset()
      resolve()
    }
    socket.once('close', () => resolve())
    if (kind === 2) {
      socket.on('data', (chunk: Buffer) => {
        received += chunk.length
        if (received > 4_000_000) finish()
      })
    } else {
      setTimeout(finish, 20)
    }
  })
  counts.aborts++
}

function times<T>(count: number, make: (index: number) => T): T[] {
  return Array.from({ length: count }, (_, index) => make(index))
}
