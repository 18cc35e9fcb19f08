// Connects the events of a downstream socket to its connection. The listeners are shared: none is made per connection.
import type { Socket } from 'node:net'

/** What a connection hears of its socket. */
export type SocketOwner = {
  readonly data: (chunk: Buffer) => void
  readonly drained: () => void
  readonly ended: () => void
  readonly closed: () => void
  /** Something above threw: a defect, which must end this connection and nothing else. */
  readonly broken: (error: unknown) => void
}

const OWNER: unique symbol = Symbol('http connection')

type OwnedSocket = Socket & { [OWNER]?: SocketOwner }

/** Attaches all listeners. Bytes begin to flow. */
export function attach(socket: Socket, owner: SocketOwner): void {
  const owned: OwnedSocket = socket
  owned[OWNER] = owner
  socket.on('error', onError)
  socket.on('close', onClose)
  socket.on('end', onEnd)
  socket.on('drain', onDrain)
  socket.setNoDelay(true)
  socket.on('data', onData)
}

/** Stops listening to the bytes; the close is still heard. */
export function detach(socket: Socket): void {
  socket.off('data', onData)
  socket.off('drain', onDrain)
  socket.off('end', onEnd)
}

function onData(this: OwnedSocket, chunk: Buffer): void {
  const owner = this[OWNER]
  try {
    owner?.data(chunk)
  } catch (error) {
    owner?.broken(error)
  }
}

function onDrain(this: OwnedSocket): void {
  const owner = this[OWNER]
  try {
    owner?.drained()
  } catch (error) {
    owner?.broken(error)
  }
}

function onEnd(this: OwnedSocket): void {
  const owner = this[OWNER]
  try {
    owner?.ended()
  } catch (error) {
    owner?.broken(error)
  }
}

// Nothing to do: 'close' follows. Without a listener one RST would end the process.
function onError(): void {}

function onClose(this: OwnedSocket): void {
  const owner = this[OWNER]
  try {
    owner?.closed()
  } catch (error) {
    owner?.broken(error)
  }
}
