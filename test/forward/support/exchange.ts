// Runs one exchange with a forwarder and gathers what came of it; makes members and raw upstreams for tests.
import { once } from 'node:events'
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import type { ExecutionContext } from 'ava'
import type {
  BodyFraming,
  Exchange,
  Forwarder,
  UpgradeHandler,
  Upgraded,
  UpstreamRequest,
  UpstreamResponseHead,
} from '../../../src/forward/forwarder.ts'
import type { PortcullisError } from '../../../src/policy/error.ts'
import type { UpstreamMember, UpstreamTls } from '../../../src/policy/snapshot.ts'
import { at, testLimits } from '../../support/snapshot.ts'

/** Everything that an exchange told. */
export type Outcome = {
  head: UpstreamResponseHead | null
  body: Buffer[]
  bodyBytes: number
  trailers: readonly string[]
  interims: number[]
  ended: boolean
  error: PortcullisError | null
  upgraded: Upgraded | null
}

/** A running exchange of a test. */
export type Run = {
  readonly exchange: Exchange
  readonly outcome: Outcome
  readonly done: Promise<Outcome>
  readonly headSeen: Promise<void>
}

/** What a test asks for; everything has a default. */
export type Ask = {
  readonly method?: string
  readonly target?: string
  readonly headers?: readonly string[]
  readonly framing?: BodyFraming
  readonly limits?: Partial<UpstreamRequest['limits']>
  readonly connectMs?: number
  readonly upgrade?: boolean
  readonly onData?: (chunk: Buffer) => boolean
  readonly onDrain?: () => void
}

/** Starts an exchange. */
export function run(forwarder: Forwarder, member: UpstreamMember, ask: Ask = {}): Run {
  const outcome: Outcome = {
    head: null,
    body: [],
    bodyBytes: 0,
    trailers: [],
    interims: [],
    ended: false,
    error: null,
    upgraded: null,
  }
  const done = Promise.withResolvers<Outcome>()
  const headSeen = Promise.withResolvers<void>()
  const handler: UpgradeHandler = {
    onInterim: status => outcome.interims.push(status),
    onHead: head => {
      outcome.head = head
      headSeen.resolve()
    },
    onData: chunk => {
      outcome.bodyBytes += chunk.length
      if (ask.onData !== undefined) return ask.onData(chunk)
      outcome.body.push(Buffer.from(chunk))
      return true
    },
    onTrailers: trailers => (outcome.trailers = trailers),
    onEnd: () => {
      outcome.ended = true
      done.resolve(outcome)
    },
    onError: error => {
      outcome.error = error
      done.resolve(outcome)
    },
    onDrain: () => ask.onDrain?.(),
    onUpgrade: upgraded => {
      outcome.upgraded = upgraded
      done.resolve(outcome)
    },
  }
  const request: UpstreamRequest = {
    method: ask.method ?? 'GET',
    target: ask.target ?? '/',
    headers: ask.headers ?? ['Host', 'rmm.example.test'],
    framing: ask.framing ?? { kind: 'none' },
    limits: { ...testLimits, ...ask.limits },
    connectMs: ask.connectMs ?? 2_000,
  }
  const exchange =
    ask.upgrade === true
      ? forwarder.upgrade(member, request, handler)
      : forwarder.exchange(member, request, handler)
  return { exchange, outcome, done: done.promise, headSeen: headSeen.promise }
}

/** A member on a loopback port. */
export function memberAt(port: number, tls: UpstreamTls | null = null): UpstreamMember {
  const protocol = tls === null ? 'http' : 'https'
  return { id: 'rmm/primary', origin: { protocol, host: '127.0.0.1', port }, tls, at: at(40) }
}

/** Listens on a loopback port until the test ends; connections are cut then. */
export async function listen(t: ExecutionContext, server: Server): Promise<number> {
  const sockets = new Set<Socket>()
  server.on('connection', (socket: Socket) => {
    sockets.add(socket)
    socket.on('error', () => undefined)
    socket.on('close', () => sockets.delete(socket))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return (server.address() as AddressInfo).port
}

/** An upstream that answers each complete request head by hand. */
export async function rawUpstream(
  t: ExecutionContext,
  answer: (socket: Socket, head: string, connection: number) => void,
): Promise<number> {
  let connections = 0
  const server = createServer({ allowHalfOpen: true }, socket => {
    const connection = connections++
    let text = ''
    socket.on('data', chunk => {
      text += chunk.toString('latin1')
      for (let end = text.indexOf('\r\n\r\n'); end >= 0; end = text.indexOf('\r\n\r\n')) {
        const head = text.slice(0, end + 4)
        text = text.slice(end + 4)
        answer(socket, head, connection)
      }
    })
  })
  return listen(t, server)
}
