// A very cheap upstream on node:net: check-in, large download and WebSocket echo. The port comes as the argument.
import { createServer, type Socket } from 'node:net'
import { CHECK_IN_RESPONSE, DOWNLOAD_BYTES, DOWNLOAD_PATH, WEBSOCKET_PATH } from '../load/work.ts'

const CHECK_IN = Buffer.from(
  `HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: ${CHECK_IN_RESPONSE.length}\r\n\r\n${CHECK_IN_RESPONSE}`,
)
const DOWNLOAD_HEAD = `HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: ${DOWNLOAD_BYTES}\r\n\r\n`
// The accept value belongs to the fixed key "dGhlIHNhbXBsZSBub25jZQ==" of RFC 6455 1.3, which the bench's clients send.
const SWITCH =
  'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n'
const BLOCK = Buffer.alloc(256 * 1024, 'portcullis bench package 0123456789 ')
/** A text frame "ping". */
const ECHO = Buffer.from([0x81, 0x04, 0x70, 0x69, 0x6e, 0x67])

const server = createServer({ noDelay: true }, socket => {
  let pending = ''
  let bodyLeft = 0
  let webSocket = false
  socket.on('error', () => socket.destroy())
  socket.on('data', (chunk: Buffer) => {
    if (webSocket) {
      socket.write(ECHO)
      return
    }
    pending += chunk.toString('latin1')
    for (;;) {
      const skipped = Math.min(bodyLeft, pending.length)
      bodyLeft -= skipped
      pending = pending.slice(skipped)
      const end = pending.indexOf('\r\n\r\n')
      if (bodyLeft > 0 || end < 0) return
      const head = pending.slice(0, end)
      pending = pending.slice(end + 4)
      const target = head.split(' ', 2)[1] ?? ''
      bodyLeft = Number(/\ncontent-length: *(\d+)/i.exec(head)?.[1] ?? 0)
      if (target === WEBSOCKET_PATH) {
        webSocket = true
        socket.write(SWITCH)
        return
      }
      if (target === DOWNLOAD_PATH) download(socket)
      else socket.write(CHECK_IN)
    }
  })
})
server.listen(Number(process.argv[2]), '127.0.0.1', 8_192)

function download(socket: Socket): void {
  let left = DOWNLOAD_BYTES
  socket.write(DOWNLOAD_HEAD)
  const more = () => {
    while (left > 0 && !socket.destroyed) {
      const block = left >= BLOCK.length ? BLOCK : BLOCK.subarray(0, left)
      left -= block.length
      if (!socket.write(block)) {
        socket.once('drain', more)
        return
      }
    }
  }
  more()
}
