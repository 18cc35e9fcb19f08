// A local port whose every connection goes through the gate to one service of one client; and one connection over standard streams.
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import type { Readable, Writable } from 'node:stream'
import { finished } from 'node:stream/promises'
import type { TunnelStream } from '../h2/gate-session.ts'
import { joinBreakable } from '../h2/join.ts'
import type { ServiceWay } from './service-way.ts'

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
