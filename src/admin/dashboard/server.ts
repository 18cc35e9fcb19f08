// The address of the dashboard: TLS always, limits on everything that a client may send, keep or hold open.
import { createServer, type Server } from 'node:https'
import type { AddressInfo, Socket } from 'node:net'
import { createSecureContext, type SecureContext } from 'node:tls'
import type { Endpoint } from '../../policy/snapshot.ts'
import type { DashboardHandler } from './handler.ts'
import { sendText } from './reply.ts'

/** Certificate chain and key, both PEM. */
export type CertificatePair = { readonly cert: string; readonly key: string }

/** What the server needs beside its address. */
export type DashboardServerOptions = {
  readonly handler: Pick<DashboardHandler, 'answer'>
  /** The certificate for a host name or address. @param host null: the client named none, or one that is not served */
  readonly certificate: (host: string | null) => Promise<CertificatePair>
  readonly onInternalError: (where: string, cause: unknown) => void
}

/** The running server. */
export type DashboardServer = {
  /** As bound. */
  readonly endpoint: Endpoint
  /** Reads certificates again; connections that are open keep theirs. */
  readonly renewCertificates: () => Promise<void>
  readonly close: () => Promise<void>
}

const HEAD_MS = 10_000
const REQUEST_MS = 30_000
const KEEP_ALIVE_MS = 30_000
const HANDSHAKE_MS = 10_000
/** Streams say something every 5 s. */
const SILENCE_MS = 60_000
const CLOSE_MS = 2_000
const MAX_CONNECTIONS = 256
/** Of one address other than this machine: the login must stay reachable for everybody else. */
const MAX_OF_ADDRESS = 48
const CONTEXT_MS = 3_600_000

/**
 * Opens the address.
 * @throws the listen error when it cannot be bound, or what `certificate` throws
 */
export async function openDashboardServer(
  endpoint: Endpoint,
  options: DashboardServerOptions,
): Promise<DashboardServer> {
  const contexts = new Map<string | null, Promise<SecureContext>>()
  const contextFor = (host: string | null): Promise<SecureContext> => {
    const known = contexts.get(host)
    if (known !== undefined) return known
    const made = options
      .certificate(host)
      .then(pair => createSecureContext({ ...pair, minVersion: 'TLSv1.2' }))
    made.catch(() => contexts.delete(host))
    if (contexts.size < 16) contexts.set(host, made)
    return made
  }
  const choose = async (
    name: string,
    done: (error: Error | null, context?: SecureContext) => void,
  ): Promise<void> => {
    let context: SecureContext
    try {
      context = await contextFor(name.toLowerCase())
    } catch (cause) {
      options.onInternalError('dashboard', cause)
      done(new Error('no certificate'))
      return
    }
    done(null, context)
  }
  const server = createServer(
    {
      ...(await options.certificate(null)),
      minVersion: 'TLSv1.2',
      handshakeTimeout: HANDSHAKE_MS,
      headersTimeout: HEAD_MS,
      requestTimeout: REQUEST_MS,
      keepAliveTimeout: KEEP_ALIVE_MS,
      connectionsCheckingInterval: 2_000,
      maxHeaderSize: 16 * 1024,
      SNICallback: (name, done) => {
        void choose(name, done)
      },
    },
    (request, response) => {
      options.handler.answer(request, response).catch((cause: unknown) => {
        // A browser that goes away in the middle of its form is nobody's bug.
        if (request.destroyed && response.destroyed) return
        options.onInternalError('dashboard', cause)
        if (response.headersSent) response.destroy()
        else sendText(response, 500, 'text/plain; charset=utf-8', 'internal error; see the log of the gate\n')
      })
    },
  )
  server.setTimeout(SILENCE_MS)
  server.maxConnections = MAX_CONNECTIONS
  server.maxHeadersCount = 100
  limitAddresses(server)
  await listen(server, endpoint)
  const renewCertificates = async (): Promise<void> => {
    contexts.clear()
    try {
      server.setSecureContext({ ...(await options.certificate(null)), minVersion: 'TLSv1.2' })
    } catch (cause) {
      // The certificate before stays in use.
      options.onInternalError('dashboard', cause)
    }
  }
  const renewal = setInterval(() => void renewCertificates(), CONTEXT_MS)
  renewal.unref()
  const bound = server.address() as AddressInfo
  return {
    endpoint: { host: endpoint.host, port: bound.port },
    renewCertificates,
    close: () =>
      new Promise(resolve => {
        clearInterval(renewal)
        const late = setTimeout(() => server.closeAllConnections(), CLOSE_MS)
        server.close(() => {
          clearTimeout(late)
          resolve()
        })
        server.closeIdleConnections()
      }),
  }
}

function limitAddresses(server: Server): void {
  const open = new Map<string, number>()
  server.on('connection', (socket: Socket) => {
    const address = socket.remoteAddress ?? ''
    const count = (open.get(address) ?? 0) + 1
    if (count > MAX_OF_ADDRESS && !/^(?:::ffff:)?127\.|^::1$/.test(address)) {
      socket.destroy()
      return
    }
    open.set(address, count)
    socket.once('close', () => {
      const left = (open.get(address) ?? 1) - 1
      if (left > 0) open.set(address, left)
      else open.delete(address)
    })
  })
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
