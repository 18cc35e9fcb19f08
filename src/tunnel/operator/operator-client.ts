// The operator's side: logs in at a gate, asks what is attached, and opens connections to services of clients.
import { request, type IncomingMessage } from 'node:http'
import { PortcullisError } from '../../policy/error.ts'
import { connectGate, dialGate, DialError, type GateAddress, type ProxyAddress } from '../connector/dial.ts'
import { placeOf } from '../connector/gate-place.ts'
import { openGateSession, type GateSession } from '../h2/gate-session.ts'
import { loginBody } from './read.ts'
import { OPERATOR_PREFIX, OPERATOR_PROTOCOL } from './service.ts'

/** What an operator proves. */
export type Credentials = { readonly operator: string; readonly password: string; readonly key: string }

/** Where the gate is, and who asks. */
export type OperatorClientOptions = {
  readonly gate: GateAddress
  readonly proxy: ProxyAddress | null
  readonly credentials: Credentials
  readonly monotonicMs: () => number
  /** How long a connection to the gate may take to stand; short when there is another gate to turn to. */
  readonly dialMs?: number
}

/** An open way to one service of one client. */
export type OperatorConnection = {
  readonly session: GateSession
  /** Resolves with the reason when it is over. */
  readonly closed: Promise<string>
}

/** Asks a gate as an operator. All of it throws PortcullisError with what to do next. */
export type OperatorClient = {
  /** `host:port` of the gate, for people. */
  readonly place: string
  /** Whether a connection to the gate can be made and is trusted. Nothing is asked. @throws DialError */
  readonly look: () => Promise<void>
  /** Parsed JSON of `clients` or `sessions`. */
  readonly ask: (what: 'clients' | 'sessions') => Promise<unknown>
  readonly connect: (client: string, service: string) => Promise<OperatorConnection>
}

const TIMEOUT_MS = 20_000
const MAX_ANSWER_BYTES = 16 * 1024 * 1024

type Answer = { readonly status: number; readonly body: unknown; readonly retryAfter: string | undefined }

/** Makes one. Nothing is sent before the first question. */
export function createOperatorClient(options: OperatorClientOptions): OperatorClient {
  const { gate, proxy, credentials, monotonicMs, dialMs = TIMEOUT_MS } = options
  const way = { gate, proxy, dialMs }
  let token: string | null = null

  const login = async (client: string | null): Promise<string> => {
    const answer = await exchange(way, 'POST', 'login', [], loginBody({ ...credentials, client }))
    const text = textOf(answer.body, 'token')
    if (answer.status !== 200 || text === undefined) throw refusal(gate, answer)
    token = text
    return text
  }
  /** Tries with the token that is there, and once more with a new one when that has ended. */
  const withToken = async <T>(client: string | null, work: (token: string) => Promise<T>): Promise<T> => {
    const known = token
    if (known === null) return work(await login(client))
    try {
      return await work(known)
    } catch (error) {
      if (!(error instanceof PortcullisError) || error.code !== 'login-needed') throw error
      return work(await login(client))
    }
  }

  return {
    place: placeOf(gate),
    look: async () => {
      const socket = await connectGate(gate, proxy, AbortSignal.timeout(dialMs))
      socket.destroy()
    },
    ask: what =>
      withToken(null, async bearer => {
        const answer = await exchange(way, 'GET', what, ['Authorization', `Bearer ${bearer}`], null)
        if (answer.status !== 200) throw refusal(gate, answer)
        return answer.body
      }),
    connect: (client, service) =>
      withToken(client, async bearer => {
        const target = `${OPERATOR_PREFIX}connect?client=${encodeURIComponent(client)}&service=${encodeURIComponent(service)}`
        const headers = ['Authorization', `Bearer ${bearer}`]
        const signal = AbortSignal.timeout(dialMs)
        try {
          const { socket, early } = await dialGate(
            gate,
            proxy,
            OPERATOR_PROTOCOL,
            () => headers,
            signal,
            target,
          )
          if (early.length > 0) socket.unshift(early)
          const ready = Promise.withResolvers<undefined>()
          const closed = Promise.withResolvers<string>()
          const session = openGateSession(socket, {
            nowMs: monotonicMs,
            ready: () => ready.resolve(undefined),
            closed: why => {
              closed.resolve(why)
              ready.reject(broken(gate, why))
            },
          })
          await ready.promise
          return { session, closed: closed.promise }
        } catch (error) {
          throw error instanceof DialError ? ofDial(error) : error
        }
      }),
  }
}

type GateWay = {
  readonly gate: GateAddress
  readonly proxy: ProxyAddress | null
  readonly dialMs: number
}

async function exchange(
  { gate, proxy, dialMs }: GateWay,
  method: 'GET' | 'POST',
  what: string,
  headers: readonly string[],
  body: string | null,
): Promise<Answer> {
  const signal = AbortSignal.timeout(TIMEOUT_MS)
  try {
    const socket = await connectGate(gate, proxy, AbortSignal.timeout(dialMs))
    try {
      const response = await new Promise<IncomingMessage>((resolve, reject) => {
        const outgoing = request({
          createConnection: () => socket,
          method,
          path: OPERATOR_PREFIX + what,
          signal,
          headers: [...headersOf(gate, body), ...headers],
        })
        outgoing.once('response', resolve).on('error', reject)
        outgoing.end(body ?? undefined)
      })
      return {
        status: response.statusCode ?? 0,
        retryAfter: response.headers['retry-after'],
        body: await readJson(response),
      }
    } finally {
      socket.destroy()
    }
  } catch (error) {
    if (error instanceof DialError) throw ofDial(error)
    if (error instanceof PortcullisError) throw error
    throw broken(gate, signal.aborted ? 'it did not answer in time' : String(error))
  }
}

function headersOf(gate: GateAddress, body: string | null): readonly string[] {
  const name = gate.host.includes(':') ? `[${gate.host}]` : gate.host
  const host = ['Host', gate.port === 443 ? name : `${name}:${gate.port}`, 'Connection', 'close']
  if (body === null) return host
  return [...host, 'Content-Type', 'application/json', 'Content-Length', String(Buffer.byteLength(body))]
}

async function readJson(response: IncomingMessage): Promise<unknown> {
  const parts: Buffer[] = []
  let size = 0
  for await (const chunk of response) {
    const bytes = chunk as Buffer
    size += bytes.length
    if (size > MAX_ANSWER_BYTES) throw new Error('its answer is too long')
    parts.push(bytes)
  }
  try {
    return JSON.parse(Buffer.concat(parts).toString('utf8')) as unknown
  } catch {
    return null
  }
}

function textOf(body: unknown, name: string): string | undefined {
  if (typeof body !== 'object' || body === null || !Object.hasOwn(body, name)) return undefined
  const value: unknown = Reflect.get(body, name)
  // What a gate says stands in a terminal.
  return typeof value === 'string' ? value.replaceAll(/[^\x20-\x7e]/g, '?').slice(0, 500) : undefined
}

/** What a gate said when it refused. */
function refusal(gate: GateAddress, { status, body, retryAfter }: Answer): PortcullisError {
  const reference = textOf(body, 'reference')
  const message = textOf(body, 'message') ?? `it answered with status ${status}.`
  const seconds = retryAfter !== undefined && /^\d{1,5}$/.test(retryAfter) ? ` Wait ${retryAfter} s.` : ''
  return new PortcullisError(
    `${gate.host} refused: ${message}${reference === undefined ? '' : ` Reference ${reference}.`}`,
    {
      code: textOf(body, 'code') ?? 'gate-refused',
      side: 'upstream',
      status,
      retry: status === 503,
      remedy: (textOf(body, 'remedy') ?? 'Look the reference up at the gate.') + seconds,
    },
  )
}

function ofDial({ failure }: DialError): PortcullisError {
  return new PortcullisError(failure.message, {
    code: failure.code,
    side: 'upstream',
    retry: failure.kind === 'network',
    ...(failure.status === null ? {} : { status: failure.status }),
    remedy: failure.kind === 'refused' ? failure.remedy : REMEDY[failure.kind],
  })
}

const REMEDY = {
  network: 'Check the name and port of --gate, and that a firewall lets outgoing TCP to it pass.',
  proxy: 'Check --proxy (or HTTPS_PROXY): it must run and let CONNECT to the gate pass.',
  trust:
    'Name the authority of the gate with --ca, or its key with --pin. If it was trusted before, something may stand in between.',
} as const

function broken(gate: GateAddress, why: string): PortcullisError {
  return new PortcullisError(`the connection to ${gate.host} broke: ${why}`, {
    code: 'gate-broken',
    side: 'upstream',
    retry: true,
    remedy: 'Try again; if it goes on, look at the log of the gate.',
  })
}
