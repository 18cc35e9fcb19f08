// The dashboard behind the gate's own listeners: no socket of its own, only streams that the gate itself has opened.
import { createServer } from 'node:http'
import { duplexPair, type Duplex } from 'node:stream'
import { parseAddress, type Address } from '../../net/address.ts'
import type { DashboardHandler } from './handler.ts'
import { sendText } from './reply.ts'

/** A request that has come through the gate itself. */
export type PublishedWay = {
  /** Canonical address of the client, as the gate has decided on it. */
  readonly address: string
  /** The one name that it answers to there. */
  readonly host: string
  /** Whether the policy still lets this client come here: an answer may go on for hours. */
  readonly isOpen: () => boolean
}

/** What it needs. */
export type PublishedOptions = {
  readonly handler: Pick<DashboardHandler, 'answer'>
  readonly door: DashboardDoor
  /** The name at which it is served; null: it is not. */
  readonly host: () => string | null
  /** Whether the policy in force lets this client come to that name. */
  readonly isOpenTo: (client: Address) => boolean
  readonly onInternalError: (where: string, cause: unknown) => void
}

/** Where the gate's own connections to the dashboard begin, before there is one: they wait. */
export type DashboardDoor = {
  /** A connection: emits 'connect' like one to a server. */
  readonly connect: () => Duplex
  /** @param take called with the far end of each */
  readonly open: (take: (far: Duplex) => void) => void
}

/** Makes the door. */
export function createDashboardDoor(): DashboardDoor {
  const waiting: (() => void)[] = []
  let enter: ((near: Duplex, far: Duplex) => void) | null = null
  return {
    connect: () => {
      const [near, far] = duplexPair()
      far.on('error', () => undefined)
      if (enter === null) waiting.push(() => enter?.(near, far))
      else enter(near, far)
      return near
    },
    open: take => {
      enter = (near, far) => {
        take(far)
        setImmediate(() => near.emit('connect'))
      }
      for (const go of waiting.splice(0)) go()
    },
  }
}

const TEXT = 'text/plain; charset=utf-8'
const HEAD_MS = 10_000
const REQUEST_MS = 30_000

/** Serves what comes through the door. Whoever holds a stream is the gate: it alone says who the client is. Returns the end. */
export function servePublished(options: PublishedOptions): () => void {
  const { handler, door, host, onInternalError } = options
  const open = new Set<Duplex>()
  const server = createServer(
    { headersTimeout: HEAD_MS, requestTimeout: REQUEST_MS, keepAliveTimeout: 0, maxHeaderSize: 32 * 1024 },
    (request, response) => {
      const name = host()
      const address = parseAddress(String(request.headers['x-forwarded-for'] ?? ''))
      if (name === null) return sendText(response, 404, TEXT, 'the dashboard is not published\n')
      const isProbe = address === undefined && request.method === 'GET' && request.url === '/login'
      if (address === undefined && !isProbe)
        return sendText(response, 400, TEXT, 'whose request this is cannot be told\n')
      const isOpen = (): boolean => address !== undefined && options.isOpenTo(address)
      const way = { address: address?.text ?? 'unknown', host: name, isOpen }
      handler.answer(request, response, way).catch((cause: unknown) => {
        if (request.destroyed && response.destroyed) return
        onInternalError('dashboard', cause)
        if (response.headersSent) response.destroy()
        else sendText(response, 500, TEXT, 'internal error; see the log of the gate\n')
      })
    },
  )
  server.maxHeadersCount = 150
  door.open(far => {
    open.add(far)
    far.once('close', () => open.delete(far))
    server.emit('connection', far)
  })
  return () => {
    for (const stream of open) stream.destroy()
  }
}
