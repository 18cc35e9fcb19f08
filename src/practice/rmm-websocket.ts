// The WebSocket side of the practice server: echoes what it receives and pushes what it is told to.
import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import { acceptKey, createFrameReader, encodeFrame, OPCODE } from './frames.ts'
import { SERVER_NAME } from './exchange.ts'
import type { PracticeState } from './rmm-state.ts'

/** The open WebSockets. */
export type WebSockets = {
  readonly accept: (request: IncomingMessage, socket: Duplex, head: Buffer) => void
  /** Sends a text to every open WebSocket. Returns how many there are. */
  readonly push: (text: string) => number
  readonly destroyAll: () => void
}

/** Makes the WebSocket side. Any path is accepted, so that every traffic class can practise. */
export function createWebSockets(state: PracticeState): WebSockets {
  const open = new Set<Duplex>()

  function accept(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    const key = request.headers['sec-websocket-key']
    if (request.headers.upgrade?.toLowerCase() !== 'websocket' || key === undefined) {
      socket.end(
        `HTTP/1.1 400 Bad Request\r\nServer: ${SERVER_NAME}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`,
      )
      return
    }
    const protocol = request.headers['sec-websocket-protocol']?.split(',')[0]?.trim()
    socket.write(
      `HTTP/1.1 101 Switching Protocols\r\nServer: ${SERVER_NAME}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n` +
        `Sec-WebSocket-Accept: ${acceptKey(key)}\r\n` +
        `${protocol === undefined || protocol === '' ? '' : `Sec-WebSocket-Protocol: ${protocol}\r\n`}\r\n`,
    )
    open.add(socket)
    state.count('webSockets')
    state.count('webSocketsOpen')
    socket.once('close', () => {
      open.delete(socket)
      state.count('webSocketsOpen', -1)
    })
    const send = (opcode: number, payload: Uint8Array): void => {
      // A peer that does not read is made to wait instead of filling this process.
      if (!socket.write(encodeFrame(opcode, payload, null))) {
        socket.pause()
        socket.once('drain', () => socket.resume())
      }
    }
    const goodbye = (code: number): void => {
      const payload = Buffer.alloc(2)
      payload.writeUInt16BE(code)
      socket.end(encodeFrame(OPCODE.close, payload, null))
    }
    const reader = createFrameReader(true, {
      message: (payload, binary) => send(binary ? OPCODE.binary : OPCODE.text, payload),
      ping: payload => send(OPCODE.pong, payload),
      pong: () => undefined,
      close: code => goodbye(code === 1005 ? 1000 : code),
      broken: goodbye,
    })
    socket.on('data', (bytes: Buffer) => reader.feed(bytes))
    socket.once('end', () => socket.end())
    if (head.length > 0) reader.feed(head)
  }

  return {
    accept,
    push(text) {
      const frame = encodeFrame(OPCODE.text, Buffer.from(text), null)
      for (const socket of open) socket.write(frame)
      return open.size
    },
    destroyAll() {
      for (const socket of open) socket.destroy()
    },
  }
}
