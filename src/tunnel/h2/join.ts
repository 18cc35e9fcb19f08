// Joins a stream of the tunnel with a local socket: both ways with back-pressure, half-close stays, a reset stays a reset.
import { constants, type Http2Stream, type ServerHttp2Stream } from 'node:http2'
import { Socket } from 'node:net'
import type { Duplex } from 'node:stream'

/** A local socket, or a stream of another tunnel: both can be broken off so that the other end notices. */
export type Breakable = Duplex & { readonly resetAndDestroy: () => unknown }

/** Joins the two. `socket` must allow half-open; it stands already. */
export function joinStream(stream: ServerHttp2Stream, socket: Breakable): void {
  joinBreakable(stream, socket, () => breakStream(stream))
}

/** The same for a stream of either side; `breakOff` resets it. */
export function joinBreakable(stream: Duplex, socket: Breakable, breakOff: () => void): void {
  // The end is passed on by hand: a stream also ends when its tunnel has broken.
  stream.pipe(socket, { end: false })
  socket.pipe(stream)
  socket.on('error', () => undefined)
  stream.on('error', () => undefined)
  stream.once('end', () => {
    if (isWhole(stream)) socket.end()
  })
  socket.once('close', () => {
    if (stream.destroyed || (socket.readableEnded && socket.writableFinished)) return
    breakOff()
  })
  stream.once('close', () => {
    if (socket.destroyed) return
    if (stream.readableEnded && isWhole(stream)) socket.end()
    else resetSocket(socket)
  })
}

/**
 * Resets a stream: broken, not ended, so that the far side does not take what came for all there is (trap 47). Closing it
 * with a code would first send its end (Node 24: closeStream ends the writable side before the RST_STREAM).
 */
export function breakStream(stream: Http2Stream): void {
  stream.on('error', () => undefined)
  stream.destroy(new Error('the other side has broken'))
}

/** Whether what came is all there is: the other side ended it, and nothing broke. */
function isWhole(stream: Duplex): boolean {
  const code = 'rstCode' in stream ? stream.rstCode : constants.NGHTTP2_NO_ERROR
  return stream.errored === null && code === constants.NGHTTP2_NO_ERROR
}

/** Ends a socket with a RST; a TLS socket, which cannot, is destroyed. */
function resetSocket(socket: Breakable): void {
  if (socket.destroyed) return
  if ('encrypted' in socket) socket.destroy()
  // While a shutdown is under way the kernel refuses the reset, and Node then never closes the handle (libuv, EINVAL).
  else if (socket instanceof Socket && socket.writableEnded) socket.destroy()
  else socket.resetAndDestroy()
}
