// A process of its own: a WebSocket client resets before the upstream answered; prints `survived` when the proxy still serves.
import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Server } from 'node:net'
import { createForwarder } from '../../../src/forward/wire-forwarder.ts'
import { memberAt } from './exchange.ts'
import { forwarderFront, httpProxyFront } from './front.ts'

const asked = Promise.withResolvers<void>()
const upstream = createServer(socket => {
  socket.on('error', () => undefined)
  socket.on('data', chunk => {
    if (chunk.includes('Sec-WebSocket-Key')) asked.resolve()
    else socket.end('HTTP/1.1 200 OK\r\nContent-Length: 8\r\nConnection: close\r\n\r\nsurvived')
  })
})
const member = memberAt(await listening(upstream))
const front =
  process.argv[2] === 'http-proxy' ? httpProxyFront(member, false) : forwarderFront(createForwarder(), member)
const port = await listening(front)
const accepted = once(front, 'connection') as Promise<[NodeJS.EventEmitter]>
const client = connect(port, '127.0.0.1')
client.write('GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n')
client.write('Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n')
const [socket] = await accepted
await asked.promise
const gone = new Promise(resolve => socket.once('close', resolve))
client.resetAndDestroy()
await gone
const answer = await fetch(`http://127.0.0.1:${port}/`)
process.stdout.write(await answer.text(), () => process.exit(0))

async function listening(server: Server): Promise<number> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return (server.address() as AddressInfo).port
}
