// The practice RMM: a stand-in for an RMM server, for demonstrations and tests. It manages nothing and is not a product.
import { once } from 'node:events'
import {
  createServer as createHttpServer,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from 'node:http'
import { createServer as createHttpsServer } from 'node:https'
import { isIPv6, type AddressInfo, type Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { TlsVersion } from '../net/tls-version.ts'
import { answer, canonical, exchangeOf, SERVER_NAME, type Exchange } from './exchange.ts'
import { listenForHeartbeats } from './rmm-heartbeat.ts'
import { createState, type PracticeAgent, type PracticeStats } from './rmm-state.ts'
import { createWebSockets } from './rmm-websocket.ts'
import { agentRoute } from './routes-agent.ts'
import { consoleRoute } from './routes-console.ts'
import { practiceRoute } from './routes-practice.ts'

/** Version that the practice server says it has; health probes look for it. */
const PRACTICE_VERSION = '220.105'
/** Token that deployment downloads need unless another one is given. */
export const PRACTICE_INSTALLER_TOKEN = 'practice-installer-token'

/**
 * How the server fails: `refuse` closes its ports (UDP goes silent), `hang` accepts and never answers, `error` answers 500,
 * `reset` sends half a body and resets, `slow` answers late.
 */
export type FailureMode =
  'none' | 'refuse' | 'hang' | 'error' | 'reset' | { readonly kind: 'slow'; readonly ms: number }

/** Options; all but the ports have defaults. */
export type PracticeRmmOptions = {
  readonly host?: string
  /** 0 takes a free port. */
  readonly httpPort?: number
  readonly udpPort?: number
  /** Certificate and key (PEM): the server then speaks HTTPS instead of HTTP, as old a TLS as it is told to. */
  readonly tls?: {
    readonly cert: string
    readonly key: string
    readonly minVersion?: TlsVersion
    readonly ciphers?: string
  }
  /** Peers whose X-Forwarded-For is believed: the gate's addresses. */
  readonly trustedPeers?: readonly string[]
  readonly installerToken?: string
  readonly credentials?: { readonly name: string; readonly password: string }
  /** Milliseconds since the epoch. */
  readonly clock?: () => number
}

/** A running practice server. */
export type PracticeRmm = {
  /** Origin, for example `http://127.0.0.1:8080`. */
  readonly url: string
  readonly host: string
  readonly httpPort: number
  readonly udpPort: number
  readonly stats: () => PracticeStats
  readonly agents: () => readonly PracticeAgent[]
  /** Resolves when the mode is in force. `none` ends it; requests that hung are reset. */
  readonly fail: (mode: FailureMode) => Promise<void>
  /** Whether heartbeats are answered: "heartbeats without replies" is a fault of its own. */
  readonly answerHeartbeats: (on: boolean) => void
  /** Sends a text to every open WebSocket; returns how many there are. */
  readonly push: (text: string) => number
  /** Answers the agent's next heartbeat with "check in now". */
  readonly requestCheckIn: (agent: string) => void
  readonly stop: () => Promise<void>
}

/** Starts a practice server. Rejects when a port cannot be bound. */
export async function startPracticeRmm(options: PracticeRmmOptions = {}): Promise<PracticeRmm> {
  const { host = '127.0.0.1', httpPort = 0, udpPort = 0, tls, clock = Date.now } = options
  const state = createState(clock)
  const trustedPeers = new Set((options.trustedPeers ?? ['127.0.0.1', '::1']).map(canonical))
  const webSockets = createWebSockets(state)
  const sockets = new Set<Socket>()
  const hanging = new Set<Duplex>()
  let mode: FailureMode = 'none'
  let heartbeatsAnswered = true
  let port = httpPort
  const hostText = isIPv6(host) ? `[${host}]` : host
  const innerHost = (): string => `${hostText}:${port}`
  const agentRoutes = {
    state,
    version: PRACTICE_VERSION,
    installerToken: options.installerToken ?? PRACTICE_INSTALLER_TOKEN,
  }
  const consoleRoutes = {
    state,
    clock,
    credentials: options.credentials ?? { name: 'practice', password: 'practice' },
    tokens: new Map<string, number>(),
  }

  async function route(exchange: Exchange): Promise<void> {
    if (await practiceRoute(exchange, { state, innerHost })) return
    if (await agentRoute(exchange, agentRoutes)) return
    if (await consoleRoute(exchange, consoleRoutes)) return
    answer(exchange, 404, 'text/plain', 'Practice RMM has no such page\n')
  }

  function resetMidBody({ request, response }: Exchange): void {
    const { remoteAddress, remotePort } = request.socket
    response.writeHead(200, { 'content-type': 'application/octet-stream', 'content-length': 1_000_000 })
    response.write(Buffer.alloc(10_000, 'x'), () => {
      // A TLS socket cannot be reset; the connection below it can.
      for (const socket of sockets) {
        if (socket.remotePort === remotePort && socket.remoteAddress === remoteAddress)
          socket.resetAndDestroy()
      }
    })
  }

  function hang(socket: Duplex): void {
    hanging.add(socket)
    socket.once('close', () => hanging.delete(socket))
  }

  function handle(request: IncomingMessage, response: ServerResponse): void {
    state.count('requests')
    response.setHeader('server', SERVER_NAME)
    const exchange = exchangeOf(request, response, trustedPeers)
    if (mode === 'hang') return hang(request.socket)
    if (mode === 'error') return answer(exchange, 500, 'text/plain', 'Practice RMM fails as it was told to\n')
    if (mode === 'reset') return resetMidBody(exchange)
    const run = (): void => {
      // An aborted request rejects its body; everything else is a bug that must not stay silent in a test.
      route(exchange).catch((error: unknown) => {
        if (!request.socket.destroyed) request.socket.destroy(error instanceof Error ? error : undefined)
      })
    }
    if (typeof mode === 'string') return run()
    const timer = setTimeout(run, mode.ms)
    response.once('close', () => clearTimeout(timer))
  }

  const server: Server = tls === undefined ? createHttpServer(handle) : createHttpsServer({ ...tls }, handle)
  // Uploads may take as long as they take, and a gate keeps its connections for long.
  server.requestTimeout = 0
  server.keepAliveTimeout = 120_000
  server.on('connection', (socket: Socket) => {
    sockets.add(socket)
    state.count('connectionsOpen')
    socket.on('error', () => undefined)
    socket.once('close', () => {
      sockets.delete(socket)
      state.count('connectionsOpen', -1)
    })
  })
  server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    // Node removes its own error listener at upgrade: without this, one reset would end the process.
    socket.on('error', () => undefined)
    state.count('requests')
    if (mode === 'hang') hang(socket)
    else if (mode === 'reset') socket.destroy()
    else if (mode === 'error') {
      socket.end(`HTTP/1.1 500 Internal Server Error\r\nServer: ${SERVER_NAME}\r\nContent-Length: 0\r\n\r\n`)
    } else webSockets.accept(request, socket, head)
  })

  async function listen(): Promise<void> {
    server.listen({ host, port })
    await once(server, 'listening')
    port = (server.address() as AddressInfo).port
  }

  async function unlisten(): Promise<void> {
    if (!server.listening) return
    const closed = once(server, 'close')
    server.close()
    webSockets.destroyAll()
    for (const socket of sockets) socket.destroy()
    await closed
  }

  await listen()
  const heartbeats = await listenForHeartbeats(
    host,
    udpPort,
    state,
    () => heartbeatsAnswered && mode !== 'refuse' && mode !== 'hang',
  ).catch(async (error: unknown) => {
    await unlisten()
    throw error
  })

  return {
    url: `${tls === undefined ? 'http' : 'https'}://${innerHost()}`,
    host,
    httpPort: port,
    udpPort: heartbeats.port,
    stats: state.stats,
    agents: state.agents,
    async fail(next) {
      mode = next
      if (next === 'refuse') return unlisten()
      if (next !== 'hang') for (const socket of hanging) socket.destroy()
      if (!server.listening) await listen()
    },
    answerHeartbeats(on) {
      heartbeatsAnswered = on
    },
    push: webSockets.push,
    requestCheckIn: state.wantCheckIn,
    async stop() {
      await Promise.all([unlisten(), heartbeats.close()])
    },
  }
}
