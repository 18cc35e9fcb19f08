// Joins a stream of the tunnel with a local socket: both ways with back-pressure, half-close stays, a reset stays a reset.
import { constants, type ServerHttp2Stream } from 'node:http2'
import type { Duplex } from 'node:stream'

/** A local socket, or a stream of another tunnel: both can be broken off so that the other end notices. */
export type Breakable = Duplex & { readonly resetAndDestroy: () => unknown }

/** Joins the two. `socket` must allow half-open; it stands already. */
export function joinStream(stream: ServerHttp2Stream, socket: Breakable): void {
  stream.pipe(socket)
  socket.pipe(stream)
  socket.on('error', () => undefined)
  stream.on('error', () => undefined)
  socket.once('close', () => {
    if (stream.destroyed || (socket.readableEnded && socket.writableFinished)) return
    // Broken, not ended: the far side must not take what came for all there is (trap 47).
    stream.close(constants.NGHTTP2_CONNECT_ERROR)
  })
  stream.once('close', () => {
    if (socket.destroyed) return
    const clean = stream.readableEnded && stream.rstCode === constants.NGHTTP2_NO_ERROR
    if (clean) socket.end()
    else resetSocket(socket)
  })
}

/** Ends a socket with a RST; a TLS socket, which cannot, is destroyed. */
export function resetSocket(socket: Breakable): void {
  if (socket.destroyed) return
  if ('encrypted' in socket) socket.destroy()
  else socket.resetAndDestroy()
}
