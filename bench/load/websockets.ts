// Opens many WebSockets, sends one message through each so that their buffers are real, and then leaves them idle.
import { connect, type TLSSocket } from 'node:tls'
import { HOST, PROXY_ADDRESS, SOURCE_ADDRESSES } from '../stage/namespace.ts'
import { USER_AGENT, WEBSOCKET_PATH } from './work.ts'

/** A masked text frame "ping". */
const PING = Buffer.from([0x81, 0x84, 1, 2, 3, 4, 0x70 ^ 1, 0x69 ^ 2, 0x6e ^ 3, 0x67 ^ 4])
const PARALLEL = 32

/** Opens `count` WebSockets through the port. Rejects when one is not accepted. */
export async function openWebSockets(port: number, count: number): Promise<TLSSocket[]> {
  const sockets: TLSSocket[] = []
  let started = 0
  await Promise.all(
    Array.from({ length: Math.min(PARALLEL, count) }, async () => {
      while (started < count) {
        const source = SOURCE_ADDRESSES[started++ % SOURCE_ADDRESSES.length]
        sockets.push(await openWebSocket(port, source))
      }
    }),
  )
  return sockets
}

/** Opens one WebSocket and waits for the echo of its first message. */
export function openWebSocket(port: number, localAddress?: string): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    const socket = connect({
      host: PROXY_ADDRESS,
      port,
      servername: HOST,
      rejectUnauthorized: false,
      minVersion: 'TLSv1.3',
      ciphers: 'TLS_AES_128_GCM_SHA256',
      ecdhCurve: 'X25519',
      ...(localAddress === undefined ? {} : { localAddress }),
    })
    let received: Buffer = Buffer.alloc(0)
    let upgraded = false
    const fail = (error: Error) => {
      socket.destroy()
      reject(error)
    }
    const timer = setTimeout(() => fail(new Error('a WebSocket was not accepted within 20 s')), 20_000)
    const onData = (chunk: Buffer) => {
      received = Buffer.concat([received, chunk])
      if (!upgraded) {
        const end = received.indexOf('\r\n\r\n')
        if (end < 0) return
        const status = received.toString('latin1', 9, 12)
        if (status !== '101') {
          clearTimeout(timer)
          fail(new Error(`a WebSocket was answered with status ${status}`))
          return
        }
        upgraded = true
        received = received.subarray(end + 4)
        socket.write(PING)
      }
      if (received.length < 6) return
      clearTimeout(timer)
      socket.off('data', onData)
      // Keep reading, so that a close by the proxy is noticed.
      socket.resume()
      resolve(socket)
    }
    socket.on('error', error => {
      clearTimeout(timer)
      fail(error)
    })
    socket.on('data', onData)
    socket.once('secureConnect', () => {
      socket.write(
        `GET ${WEBSOCKET_PATH} HTTP/1.1\r\nHost: ${HOST}\r\nUser-Agent: ${USER_AGENT}\r\nUpgrade: websocket\r\n` +
          'Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n',
      )
    })
  })
}
