// One simulated agent: checks in at its primary server, falls over to its secondary, sends heartbeats, opens WebSockets.
import { createSocket, type Socket as DatagramSocket } from 'node:dgram'
import { once } from 'node:events'
import { request, type IncomingMessage } from 'node:http'
import { isIPv6, type Socket } from 'node:net'
import { dial, type DialOptions } from './agent-dial.ts'
import { failsOver, failureOf, type AttemptFailure } from './agent-failure.ts'
import { openAgentWebSocket, type AgentWebSocket } from './agent-websocket.ts'
import { readBody } from './exchange.ts'
import { HEARTBEAT_CHECK_IN, HEARTBEAT_PREFIX } from './rmm-heartbeat.ts'
import { parseServerAddresses, type ServerAddress } from './server-address.ts'

/** Which server of the address string answered: the first is the primary. */
export type Place = 'primary' | 'secondary'

/** One attempt at one server. */
export type Attempt = {
  readonly place: Place
  readonly server: ServerAddress
  readonly failure: AttemptFailure | null
  /** TLS version of the connection, as Node names it; null without a handshake. */
  readonly tls: string | null
  readonly durationMs: number
}

/** A whole check-in: it is ok when its last attempt is. */
export type CheckInResult = { readonly ok: boolean; readonly attempts: readonly Attempt[] }

/** A heartbeat and what came back in time. */
export type HeartbeatResult = {
  readonly replied: boolean
  readonly checkInNow: boolean
  readonly durationMs: number
}

/** What makes an agent. */
export type AgentOptions = DialOptions & {
  readonly id: string
  readonly name?: string
  /** `https://primary|https://secondary`. */
  readonly addresses: string
  /** Time for one attempt, from connecting to the end of the answer; a .NET agent gives up after 100 s. */
  readonly timeoutMs?: number
  readonly path?: string
  readonly heartbeat?: { readonly host: string; readonly port: number }
}

/** A simulated agent. */
export type SimulatedAgent = {
  readonly id: string
  readonly sourceAddress: string | null
  /** One check-in. Always begins with the primary server. Never rejects. */
  readonly checkIn: () => Promise<CheckInResult>
  /** One heartbeat; waits for the reply at most the given time. Rejects without a heartbeat address. */
  readonly heartbeat: (timeoutMs: number) => Promise<HeartbeatResult>
  /** Opens a WebSocket at the primary server. Rejects with the failure as message. */
  readonly openWebSocket: (path?: string) => Promise<AgentWebSocket>
  readonly close: () => void
}

const MAX_ANSWER_BYTES = 65_536
const DEFAULT_TIMEOUT_MS = 100_000

/** Makes an agent. @throws Error when its address string is malformed */
export function createAgent(options: AgentOptions): SimulatedAgent {
  const servers = serversOf(options)
  const [primary] = servers
  const { id, name = id, timeoutMs = DEFAULT_TIMEOUT_MS, path = '/LabTech/Agent.aspx' } = options
  const opened = new Set<Socket>()
  let heartbeats: Promise<DatagramSocket> | undefined

  async function dialled(
    server: ServerAddress,
    signal: AbortSignal,
  ): Promise<{ socket: Socket; tls: string | null }> {
    const connection = await dial(server, options, signal)
    opened.add(connection.socket)
    connection.socket.once('close', () => opened.delete(connection.socket))
    return connection
  }

  async function attempt(server: ServerAddress, place: Place): Promise<Attempt> {
    const startedMs = performance.now()
    const signal = AbortSignal.timeout(timeoutMs)
    let tls: string | null = null
    const done = (failure: AttemptFailure | null): Attempt => ({
      place,
      server,
      failure,
      tls,
      durationMs: performance.now() - startedMs,
    })
    try {
      const connection = await dialled(server, signal)
      ;({ tls } = connection)
      const { status, body } = await post(connection.socket, server, signal)
      if (status !== 200) return done(`http:${status}`)
      return done(body.includes('<PracticeCheckIn ') ? null : 'bad-answer')
    } catch (error) {
      return done(signal.aborted ? 'timeout' : failureOf(error))
    }
  }

  async function post(
    socket: Socket,
    server: ServerAddress,
    signal: AbortSignal,
  ): Promise<{ status: number; body: string }> {
    const body = `<CheckIn><AgentId>${id}</AgentId><Name>${name}</Name></CheckIn>`
    const outgoing = request({
      createConnection: () => socket,
      method: 'POST',
      path,
      signal,
      headers: {
        host: hostHeader(server),
        'content-type': 'text/xml',
        'content-length': Buffer.byteLength(body),
        'user-agent': 'Practice-Agent',
        connection: 'close',
      },
    })
    // A reset after the answer is nobody's concern, but must have a listener.
    outgoing.on('error', () => undefined)
    try {
      outgoing.end(body)
      const [response] = (await once(outgoing, 'response')) as [IncomingMessage]
      const answer = await readBody(response, MAX_ANSWER_BYTES)
      return { status: response.statusCode ?? 0, body: answer?.toString('utf8') ?? '' }
    } finally {
      socket.destroy()
    }
  }

  async function checkIn(): Promise<CheckInResult> {
    const attempts: Attempt[] = []
    for (const [index, server] of servers.entries()) {
      const result = await attempt(server, index === 0 ? 'primary' : 'secondary')
      attempts.push(result)
      if (result.failure === null) return { ok: true, attempts }
      if (!failsOver(result.failure)) break
    }
    return { ok: false, attempts }
  }

  async function heartbeat(waitMs: number): Promise<HeartbeatResult> {
    const target = options.heartbeat
    if (target === undefined) throw new Error(`agent ${id} has no heartbeat address`)
    const startedMs = performance.now()
    const ended = (message: Buffer | null): HeartbeatResult => ({
      replied: message !== null,
      checkInNow: message?.toString('latin1') === HEARTBEAT_CHECK_IN,
      durationMs: performance.now() - startedMs,
    })
    try {
      const socket = await (heartbeats ??= bindHeartbeat(target.host, options.sourceAddress))
      const reply = once(socket, 'message', { signal: AbortSignal.timeout(waitMs) })
      socket.send(`${HEARTBEAT_PREFIX}${id}`, target.port, target.host)
      const [message] = (await reply) as [Buffer]
      return ended(message)
    } catch {
      return ended(null)
    }
  }

  return {
    id,
    sourceAddress: options.proxySource ?? options.sourceAddress ?? null,
    checkIn,
    heartbeat,
    async openWebSocket(webSocketPath = path) {
      const deadline = new AbortController()
      const timer = setTimeout(() => deadline.abort(), timeoutMs)
      const { signal } = deadline
      try {
        const { socket } = await dialled(primary, signal).catch((error: unknown) => {
          throw new Error(failureOf(error), { cause: error })
        })
        return await openAgentWebSocket(socket, { host: hostHeader(primary), path: webSocketPath, signal })
      } finally {
        clearTimeout(timer)
      }
    },
    close() {
      for (const socket of opened) socket.destroy()
      heartbeats?.then(
        socket => socket.close(),
        () => undefined,
      )
      heartbeats = undefined
    },
  }
}

function serversOf(options: AgentOptions): readonly [ServerAddress, ...ServerAddress[]] {
  const servers = parseServerAddresses(options.addresses)
  if (typeof servers === 'string') throw new Error(`address string of agent ${options.id}: ${servers}`)
  const [primary, ...others] = servers
  if (primary === undefined) throw new Error(`agent ${options.id} has no server`)
  return [primary, ...others]
}

/** Binds once: a stable source port is what keeps the way back open through a NAT and a gate. */
async function bindHeartbeat(host: string, sourceAddress: string | undefined): Promise<DatagramSocket> {
  const socket = createSocket(isIPv6(host) ? 'udp6' : 'udp4')
  socket.on('error', () => undefined)
  socket.bind(0, sourceAddress)
  await once(socket, 'listening')
  return socket
}

function hostHeader({ protocol, host, port }: ServerAddress): string {
  return port === (protocol === 'https' ? 443 : 80) ? host : `${host}:${port}`
}
