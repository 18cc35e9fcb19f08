// The WebSocket of a simulated agent: opened over a connection that the agent dialled, with a queue of what arrives.
import { once } from 'node:events'
import { request } from 'node:http'
import { randomBytes } from 'node:crypto'
import type { Socket } from 'node:net'
import { failureOf } from './agent-failure.ts'
import { acceptKey, createFrameReader, encodeFrame, OPCODE } from './frames.ts'

/** An open WebSocket. */
export type AgentWebSocket = {
  readonly send: (text: string) => void
  /** The next text that arrives; rejects when the WebSocket closes first. */
  readonly next: () => Promise<string>
  readonly isOpen: () => boolean
  /** Resolves with the close code when it is over; 1006 when the connection just ended (RFC 6455 section 7.4.1). */
  readonly closed: Promise<number>
  readonly close: () => Promise<number>
}

/** Upgrades a connection. Rejects with an error whose message is the failure, for example `http:403`. */
export async function openAgentWebSocket(
  connection: Socket,
  options: { readonly host: string; readonly path: string; readonly signal: AbortSignal },
): Promise<AgentWebSocket> {
  const key = randomBytes(16).toString('base64')
  const upgrade = request({
    createConnection: () => connection,
    path: options.path,
    signal: options.signal,
    headers: {
      host: options.host,
      connection: 'Upgrade',
      upgrade: 'websocket',
      'sec-websocket-version': '13',
      'sec-websocket-key': key,
      'user-agent': 'Practice-Agent',
    },
  })
  const head = await new Promise<Buffer>((resolve, reject) => {
    upgrade.on('error', error => reject(new Error(failureOf(error), { cause: error })))
    upgrade.once('response', response => {
      reject(new Error(`http:${response.statusCode ?? 0}`))
      connection.destroy()
    })
    upgrade.once('upgrade', (response, _socket, rest) => {
      if (response.headers['sec-websocket-accept'] === acceptKey(key)) return resolve(rest)
      reject(new Error('bad-answer'))
      connection.destroy()
    })
    upgrade.end()
  })
  return joined(connection, head)
}

function joined(connection: Socket, head: Buffer): AgentWebSocket {
  const waiting: { resolve: (text: string) => void; reject: (error: Error) => void }[] = []
  const arrived: string[] = []
  let code = 1006
  let isOpen = true
  const write = (opcode: number, payload: Uint8Array): void => {
    if (isOpen) connection.write(encodeFrame(opcode, payload, randomBytes(4)))
  }
  const reader = createFrameReader(false, {
    message(payload) {
      const taker = waiting.shift()
      if (taker === undefined) arrived.push(payload.toString('utf8'))
      else taker.resolve(payload.toString('utf8'))
    },
    ping: payload => write(OPCODE.pong, payload),
    pong: () => undefined,
    close(given) {
      code = given
      const payload = Buffer.alloc(2)
      payload.writeUInt16BE(given === 1005 ? 1000 : given)
      write(OPCODE.close, payload)
      isOpen = false
      connection.end()
    },
    broken(given) {
      code = given
      connection.destroy()
    },
  })
  const closed = once(connection, 'close').then(() => {
    isOpen = false
    for (const taker of waiting) taker.reject(new Error(`closed with ${code}`))
    return code
  })
  connection.on('data', (bytes: Buffer) => reader.feed(bytes))
  connection.once('end', () => connection.end())
  if (head.length > 0) reader.feed(head)
  return {
    send: text => write(OPCODE.text, Buffer.from(text)),
    next() {
      const text = arrived.shift()
      if (text !== undefined) return Promise.resolve(text)
      if (!isOpen) return Promise.reject(new Error(`closed with ${code}`))
      return new Promise((resolve, reject) => void waiting.push({ resolve, reject }))
    },
    isOpen: () => isOpen,
    closed,
    close() {
      write(OPCODE.close, Buffer.from([0x03, 0xe8]))
      return closed
    },
  }
}
