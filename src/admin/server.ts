// The admin address: metrics for Prometheus, and a small JSON API for the command line. Loopback by default, token for all but metrics.
import { timingSafeEqual } from 'node:crypto'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Endpoint } from '../policy/snapshot.ts'

/** What a route gets: its decoded query and body. */
export type AdminRequest = { readonly query: URLSearchParams; readonly body: unknown }

/** What a route answers; `body` is sent as JSON. */
export type AdminAnswer = { readonly status: number; readonly body: unknown }

/** A route of the JSON API. */
export type AdminRoute = (request: AdminRequest) => AdminAnswer | Promise<AdminAnswer>

/** The parts behind the admin address. */
export type AdminParts = {
  readonly token: string
  readonly metrics: () => Promise<string>
  /** Routes by `METHOD /path`. */
  readonly routes: Readonly<Record<string, AdminRoute>>
  readonly onInternalError: (where: string, cause: unknown) => void
}

/** The running admin address. */
export type AdminServer = {
  /** As asked for; the port may be 0. */
  readonly wanted: Endpoint
  /** As bound. */
  readonly endpoint: Endpoint
  /** Takes no new connections, lets running calls finish for up to `withinMs` (two seconds), then closes what is left. Asked again, the newer time holds. */
  readonly close: (withinMs?: number) => Promise<void>
}

const CLOSE_MS = 2_000
const MAX_BODY_BYTES = 64 * 1024
const REQUEST_TIMEOUT_MS = 10_000
const MAX_CONNECTIONS = 64

/**
 * Opens the admin address.
 * @throws the listen error when the address cannot be bound
 */
export async function openAdminServer(endpoint: Endpoint, parts: AdminParts): Promise<AdminServer> {
  const running = new Set<ServerResponse>()
  const server = createServer(
    { requestTimeout: REQUEST_TIMEOUT_MS, headersTimeout: REQUEST_TIMEOUT_MS, maxHeaderSize: 16 * 1024 },
    (request, response) => {
      running.add(response)
      response.once('close', () => running.delete(response))
      answer(request, response, parts).catch((cause: unknown) => {
        parts.onInternalError('admin', cause)
        if (response.headersSent) response.destroy()
        else send(response, 500, { error: 'internal error; see the log of the gate' })
      })
    },
  )
  server.maxConnections = MAX_CONNECTIONS
  await listen(server, endpoint)
  const bound = server.address() as AddressInfo
  let late: NodeJS.Timeout | undefined
  let closed: Promise<void> | undefined
  return {
    wanted: endpoint,
    endpoint: { host: endpoint.host, port: bound.port },
    close: (withinMs = CLOSE_MS) => {
      clearTimeout(late)
      late = setTimeout(() => server.closeAllConnections(), withinMs)
      closed ??= new Promise<void>(resolve => {
        server.close(() => resolve())
        for (const response of running) response.shouldKeepAlive = false
        server.closeIdleConnections()
      })
      return closed.finally(() => clearTimeout(late))
    },
  }
}

function listen(server: Server, endpoint: Endpoint): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(endpoint.port, endpoint.host, () => {
      server.off('error', reject)
      resolve()
    })
  })
}

async function answer(request: IncomingMessage, response: ServerResponse, parts: AdminParts): Promise<void> {
  const base = 'http://admin.invalid'
  const target = request.url ?? '/'
  if (!target.startsWith('/') || target.startsWith('//') || !URL.canParse(target, base)) {
    send(response, 400, { error: 'the target is not a path' })
    return
  }
  const url = new URL(target, base)
  // A page in the admin's browser can reach loopback: neither a foreign Host (DNS rebinding) nor any Origin is served.
  if (!isLocalHost(request.headers.host) || request.headers.origin !== undefined) {
    send(response, 403, { error: 'the admin address answers only to its own address, never to a web page' })
    return
  }
  const key = `${request.method ?? ''} ${url.pathname}`
  if (key === 'GET /metrics') {
    const text = await parts.metrics()
    response.writeHead(200, {
      'content-type': 'text/plain; version=0.0.4; charset=utf-8',
      'cache-control': 'no-store',
    })
    response.end(text)
    return
  }
  if (key === 'GET /healthz') {
    send(response, 200, { ok: true })
    return
  }
  if (!hasToken(request.headers.authorization, parts.token)) {
    send(response, 401, { error: 'the token of admin.token in the state directory is needed' })
    return
  }
  const route = Object.hasOwn(parts.routes, key) ? parts.routes[key] : undefined
  if (route === undefined) {
    send(response, 404, { error: `nothing at ${key}` })
    return
  }
  const body = await readBody(request)
  if (body === undefined) {
    send(response, 413, { error: `a body of at most ${MAX_BODY_BYTES} bytes of JSON is needed` })
    return
  }
  const { status, body: result } = await route({ query: url.searchParams, body })
  send(response, status, result)
}

function isLocalHost(host: string | undefined): boolean {
  if (host === undefined) return false
  const name = host.replace(/:\d+$/, '')
  return name === 'localhost' || /^[0-9.]+$/.test(name) || /^\[[0-9a-f:.]+\]$/i.test(name)
}

function hasToken(header: string | undefined, token: string): boolean {
  const given = Buffer.from(header ?? '')
  const wanted = Buffer.from(`Bearer ${token}`)
  return given.length === wanted.length && timingSafeEqual(given, wanted)
}

/** The JSON body, null when there is none, undefined when it is too large or not JSON. */
async function readBody(request: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of request) {
    const bytes = chunk as Buffer
    size += bytes.length
    if (size > MAX_BODY_BYTES) return undefined
    chunks.push(bytes)
  }
  if (size === 0) return null
  try {
    return JSON.parse(Buffer.concat(chunks).toString('utf8')) as unknown
  } catch {
    return undefined
  }
}

function send(response: ServerResponse, status: number, body: unknown): void {
  const text = JSON.stringify(body)
  response.writeHead(status, {
    'content-type': 'application/json; charset=utf-8',
    'content-length': Buffer.byteLength(text),
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
  })
  response.end(text)
}
