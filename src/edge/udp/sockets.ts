// UDP sockets of the heartbeat relay: one that listens, and one per flow towards the server. No decisions here.
import { createSocket, type RemoteInfo, type Socket } from 'node:dgram'
import { isIPv6 } from 'node:net'
import type { Endpoint } from '../../policy/snapshot.ts'

/** Asked for; the system gives what net.core.rmem_max allows. It holds the heartbeats that come while the gate is busy. */
const RECEIVE_BUFFER_BYTES = 4_194_304
/** What waits to be sent on one socket; beyond it datagrams are dropped, as a full network card would. */
const MAX_QUEUED_BYTES = 1_048_576
/** Datagrams of one client that wait until its upstream socket is connected. */
const MAX_WAITING = 8

/** After so many datagrams of a client the system is asked what became of one. Errors that come in by themselves are told anyway. */
const ASK_EVERY = 4

/** Takes a datagram. */
export type OnDatagram = (message: Buffer, from: RemoteInfo) => void

/** Opens a listening socket. Rejects with the error of the system when the address cannot be had. */
export function openListening(
  { host, port }: Endpoint,
  ipv6Only: boolean,
  onDatagram: OnDatagram,
): Promise<Socket> {
  const type = isIPv6(host) ? 'udp6' : 'udp4'
  const socket = createSocket({ type, ipv6Only, lookup: literal, recvBufferSize: RECEIVE_BUFFER_BYTES })
  return new Promise((resolve, reject) => {
    socket.once('error', error => {
      socket.close()
      reject(error)
    })
    socket.bind({ address: host, port }, () => {
      socket.removeAllListeners('error')
      // What the network says of one client is no fault of the listener.
      socket.on('error', () => undefined)
      socket.on('message', onDatagram)
      resolve(socket)
    })
  })
}

/** Sends to a client from the listening socket, so that the answer comes from where the client sent to. */
export function sendBack(socket: Socket, message: Uint8Array, port: number, address: string): void {
  // Without a callback an error is dropped, as a datagram may be, and a turn of the event loop less is paid for each.
  if (socket.getSendQueueSize() < MAX_QUEUED_BYTES) socket.send(message, port, address)
}

/** The socket of one flow, connected: only the server's own datagrams arrive, and a closed port is noticed. */
export type UpstreamSocket = { readonly send: (message: Uint8Array) => void; readonly close: () => void }

/**
 * Opens the socket of a flow. `onProblem` is told what the system says, for example `ECONNREFUSED` when nothing listens at the
 * server; `unusable` when the socket could not even be opened.
 */
export function openUpstream(
  { host, port }: Endpoint,
  onDatagram: (message: Buffer) => void,
  onProblem: (code: string, unusable: boolean) => void,
): UpstreamSocket {
  const socket = createSocket({ type: isIPv6(host) ? 'udp6' : 'udp4', lookup: literal })
  let waiting: Uint8Array[] | null = []
  let closed = false
  let sent = 0
  const problem = (error: NodeJS.ErrnoException | null): void => {
    if (error !== null && !closed) onProblem(error.code ?? 'unknown', waiting !== null)
  }
  socket.on('error', problem)
  socket.on('message', onDatagram)
  socket.connect(port, host, () => {
    const late = waiting ?? []
    waiting = null
    for (const message of late) socket.send(message, problem)
  })
  return {
    send: message => {
      if (waiting === null) {
        if (socket.getSendQueueSize() >= MAX_QUEUED_BYTES) return
        // To be told of each would cost a turn of the event loop each; a problem that lasts is found soon enough.
        if (sent++ % ASK_EVERY === 0) socket.send(message, problem)
        else socket.send(message)
      } else if (waiting.length < MAX_WAITING) waiting.push(message)
    },
    close: () => {
      closed = true
      socket.close()
    },
  }
}

type Found = (error: NodeJS.ErrnoException | null, address: string, family: number) => void

// Every address of a policy is literal: asking the resolver would only cost a turn of the event loop per datagram.
function literal(host: string, _options: unknown, found: Found): void {
  // The family that is answered is not looked at: the socket has its own.
  found(null, host, 4)
}
