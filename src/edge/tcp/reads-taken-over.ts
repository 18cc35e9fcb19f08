// The one place that reaches into Node's sockets: reads into given memory for sockets that the gate accepted (ADR 0005).
import { Socket } from 'node:net'

// Node's `onread` is an option of `connect` and of nothing else. These are the properties that the option sets.
const own = Object.getOwnPropertySymbols(new Socket())
const [BUFFER, MAKE_BUFFER, CALLBACK] = ['kBuffer', 'kBufferGen', 'kBufferCb'].map(name =>
  own.find(symbol => symbol.description === name),
)

/** Node's `onread`: where the next read goes, and what is told of how much came. */
export type ReadsInto = {
  readonly buffer: () => Uint8Array
  readonly callback: (length: number) => boolean
}

/**
 * Makes a socket read as one that was connected with the option `onread`, from the next read on; TLS sockets too. Only for a
 * socket that has handed over every byte it has read.
 * @returns false: this Node is made differently, and the socket stays as it is
 */
export function takeOverReads(socket: Socket, { buffer, callback }: ReadsInto): boolean {
  const handle: unknown = Reflect.get(socket, '_handle')
  if (BUFFER === undefined || MAKE_BUFFER === undefined || CALLBACK === undefined) return false
  if (typeof handle !== 'object' || handle === null || !('useUserBuffer' in handle)) return false
  if (typeof handle.useUserBuffer !== 'function' || Reflect.get(socket, BUFFER) !== null) return false
  const first = buffer()
  Reflect.set(socket, MAKE_BUFFER, buffer)
  Reflect.set(socket, CALLBACK, callback)
  Reflect.set(socket, BUFFER, first)
  handle.useUserBuffer(first)
  // Other sockets read ahead while they are paused; one with memory of ours must not.
  if (socket.isPaused()) socket.pause()
  return true
}
