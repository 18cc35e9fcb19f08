// UDP heartbeats of the practice server: each is answered from the socket that received it, never with more bytes than came.
import { createSocket, type Socket } from 'node:dgram'
import { once } from 'node:events'
import { isIPv6 } from 'node:net'
import { isAgentId } from './check-in.ts'
import type { PracticeState } from './rmm-state.ts'

/** The heartbeat side. */
export type Heartbeats = {
  readonly port: number
  readonly close: () => Promise<void>
}

/** Text that starts a heartbeat which names its agent; any other datagram is answered as well. */
export const HEARTBEAT_PREFIX = 'PRACTICE HEARTBEAT '
/** Answer to an agent: nothing to do, or check in now (a technician opened it). */
const HEARTBEAT_OK = 'PRACTICE OK'
export const HEARTBEAT_CHECK_IN = 'PRACTICE CHECK-IN'

/**
 * Binds the heartbeat port.
 * @param answers asked for every datagram: false leaves it unanswered
 */
export async function listenForHeartbeats(
  host: string,
  port: number,
  state: PracticeState,
  answers: () => boolean,
): Promise<Heartbeats> {
  const socket: Socket = createSocket(isIPv6(host) ? 'udp6' : 'udp4')
  socket.on('message', (message, from) => {
    state.count('heartbeats')
    const text = message.toString('latin1')
    const id = text.startsWith(HEARTBEAT_PREFIX) ? text.slice(HEARTBEAT_PREFIX.length).trim() : ''
    if (isAgentId(id)) state.heartbeat(id)
    if (!answers()) return
    const reply = Buffer.from(state.takeWanted(id) ? HEARTBEAT_CHECK_IN : HEARTBEAT_OK)
    socket.send(reply.subarray(0, message.length), from.port, from.address)
    state.count('heartbeatReplies')
  })
  socket.bind(port, host)
  await once(socket, 'listening')
  // Later errors (an answer to a port that is gone) are no reason to end anything.
  socket.on('error', () => undefined)
  return {
    port: socket.address().port,
    async close() {
      const closed = once(socket, 'close')
      socket.close()
      await closed
    },
  }
}
