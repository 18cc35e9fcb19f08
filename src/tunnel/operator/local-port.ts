// A local port whose every connection goes through the gate to one service of one client; and one connection over standard streams.
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import type { Readable, Writable } from 'node:stream'
import { finished } from 'node:stream/promises'
import type { TunnelStream } from '../h2/gate-session.ts'
import { joinBreakable } from '../h2/join.ts'
import type { OperatorClient, OperatorConnection } from './operator-client.ts'

/** A way to a service that is made anew when it is gone. */
export type ServiceWay = {
  /** Logs in and is let through, without a connection to the service yet. @throws PortcullisError */
  readonly prepare: () => Promise<void>
  /** Opens a TCP connection to the service. @throws PortcullisError */
  readonly open: () => Promise<TunnelStream>
  readonly close: () => void
}

/**
 * Makes a way to a service.
 * @param lost told when a way that stood is gone, with the reason
 */
export function createServiceWay(
  operator: OperatorClient,
  client: string,
  service: string,
  lost: (why: string) => void,
): ServiceWay {
  let current: Promise<OperatorConnection> | null = null
  let isClosed = false
  const forget = (connecting: Promise<OperatorConnection>): void => {
    if (current === connecting) current = null
  }
  const connection = (): Promise<OperatorConnection> => {
    if (current !== null) return current
    const connecting = operator.connect(client, service)
    current = connecting
    void connecting.then(
      async ({ closed }) => {
        const why = await closed
        forget(connecting)
        if (!isClosed) lost(why)
      },
      () => forget(connecting),
    )
    return connecting
  }
  const openOn = async (found: OperatorConnection): Promise<TunnelStream> => {
    const stream = found.session.open(service)
    await new Promise<void>((resolve, reject) => {
      stream.once('error', reject)
      stream.once('connect', () => {
        stream.on('error', () => undefined).off('error', reject)
        resolve()
      })
    })
    return stream
  }
  return {
    prepare: async () => {
      await connection()
    },
    open: async () => {
      const found = await connection()
      // Between its end and our hearing of it nothing can be opened on it: one more try is enough.
      if (found.session.isOpen()) return openOn(found)
      current = null
      return openOn(await connection())
    },
    close: () => {
      isClosed = true
      void current?.then(
        ({ session }) => session.end('the operator has finished'),
        () => undefined,
      )
    },
  }
}

/** An open local port. */
export type LocalPort = { readonly port: number; readonly close: () => void }

/**
 * Opens a port on loopback.
 * @param host 127.0.0.1 or ::1
 * @param failed told when a connection cannot be made
 * @throws the listen error
 */
export async function openLocalPort(
  way: ServiceWay,
  host: string,
  port: number,
  failed: (error: unknown) => void,
): Promise<LocalPort> {
  const sockets = new Set<Socket>()
  const server: Server = createServer(
    { allowHalfOpen: true, pauseOnConnect: true, noDelay: true },
    socket => {
      sockets.add(socket)
      socket.on('error', () => undefined)
      socket.once('close', () => sockets.delete(socket))
      way.open().then(
        stream => joinLocal(stream, socket),
        (error: unknown) => {
          // A clean end would look like a service that says nothing.
          socket.resetAndDestroy()
          failed(error)
        },
      )
    },
  )
  server.maxConnections = MAX_CONNECTIONS
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, host, () => {
      server.off('error', reject)
      resolve()
    })
  })
  return {
    port: (server.address() as AddressInfo).port,
    close: () => {
      server.close()
      for (const socket of sockets) socket.destroy()
    },
  }
}

const MAX_CONNECTIONS = 1_000

/** Joins the two: half-close stays, a reset stays a reset. */
function joinLocal(stream: TunnelStream, socket: Socket): void {
  if (socket.destroyed) {
    stream.resetAndDestroy()
    return
  }
  joinBreakable(stream, socket, stream.resetAndDestroy)
  socket.resume()
}

/** Carries one connection over standard streams, for `ProxyCommand` of ssh. Resolves with whether it ended in order. */
export async function joinStreams(way: ServiceWay, input: Readable, output: Writable): Promise<boolean> {
  const stream = await way.open()
  input.pipe(stream)
  stream.pipe(output, { end: false })
  const gone = (): void => stream.resetAndDestroy()
  output.once('error', gone)
  input.once('error', gone)
  try {
    // What the service still says after the input has ended belongs to the output.
    await finished(stream, { writable: false })
    return true
  } catch {
    return false
  } finally {
    input.unpipe(stream)
    input.pause()
    stream.destroy()
  }
}
