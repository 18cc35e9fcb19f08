// One kept-alive HTTP/1.1 connection over TLS, as small as a load generator's must be.
import { once } from 'node:events'
import { connect as connectTcp } from 'node:net'
import { connect, type TLSSocket } from 'node:tls'
import { HOST, PROXY_ADDRESS } from '../stage/namespace.ts'
import { CHECK_IN_PATH, FORM_TYPE, USER_AGENT } from './work.ts'

/** An open connection; one exchange at a time. */
export type HttpConnection = {
  readonly socket: TLSSocket
  /** Ends the connection with a TCP reset. */
  readonly reset: () => void
  /** Sends a request and resolves with the status when the response is complete. Rejects when the connection ends before. */
  readonly exchange: (request: string) => Promise<number>
}

/** Connects with a full handshake. */
export async function openConnection(port: number, localAddress?: string): Promise<HttpConnection> {
  const tcp = connectTcp({
    host: PROXY_ADDRESS,
    port,
    noDelay: true,
    ...(localAddress === undefined ? {} : { localAddress }),
  })
  const socket = connect({
    socket: tcp,
    servername: HOST,
    rejectUnauthorized: false,
    minVersion: 'TLSv1.3',
    ciphers: 'TLS_AES_128_GCM_SHA256',
    ecdhCurve: 'X25519',
  })
  try {
    await once(socket, 'secureConnect')
  } catch (error) {
    tcp.destroy()
    socket.destroy()
    throw error
  }
  let waiting: { resolve: (status: number) => void; reject: (error: Error) => void } | undefined
  let received: Buffer = Buffer.alloc(0)
  const fail = (error: Error) => {
    waiting?.reject(error)
    waiting = undefined
  }
  socket.on('error', fail)
  socket.on('close', () => fail(new Error('the connection closed before the response was complete')))
  socket.on('data', (chunk: Buffer) => {
    received = received.length === 0 ? chunk : Buffer.concat([received, chunk])
    const status = completeStatus(received)
    if (status === undefined) return
    received = Buffer.alloc(0)
    const done = waiting
    waiting = undefined
    done?.resolve(status)
  })
  const exchange = (request: string) =>
    new Promise<number>((resolve, reject) => {
      if (socket.destroyed) {
        reject(new Error('the connection is closed'))
        return
      }
      waiting = { resolve, reject }
      socket.write(request, 'latin1')
    })
  return { socket, exchange, reset: () => tcp.resetAndDestroy() }
}

/** A check-in by GET. */
export function getRequest(path: string = CHECK_IN_PATH): string {
  return `GET ${path} HTTP/1.1\r\nHost: ${HOST}\r\nUser-Agent: ${USER_AGENT}\r\nAccept: */*\r\n\r\n`
}

/** A check-in by POST. */
export function postRequest(body: string): string {
  return (
    `POST ${CHECK_IN_PATH} HTTP/1.1\r\nHost: ${HOST}\r\nUser-Agent: ${USER_AGENT}\r\nAccept: */*\r\n` +
    `Content-Type: ${FORM_TYPE}\r\nContent-Length: ${body.length}\r\n\r\n${body}`
  )
}

/** Status of a small response once all of it is there; undefined before. */
export function completeStatus(bytes: Buffer): number | undefined {
  const headEnd = bytes.indexOf('\r\n\r\n')
  if (headEnd < 0) return undefined
  const head = bytes.toString('latin1', 0, headEnd + 2).toLowerCase()
  const length = /\r\ncontent-length: *(\d+)\r\n/.exec(head)?.[1]
  const complete =
    length === undefined
      ? !head.includes('\r\ntransfer-encoding: chunked\r\n') || bytes.subarray(-5).equals(LAST_CHUNK)
      : bytes.length >= headEnd + 4 + Number(length)
  return complete ? Number(head.slice(9, 12)) : undefined
}

const LAST_CHUNK = Buffer.from('0\r\n\r\n')
