// A process of its own: a WebSocket client resets before the upstream answered; prints `survived` when the proxy still serves.
import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import { createForwarder } from '../../../src/forward/wire-forwarder.ts'
import { memberAt } from './exchange.ts'
import { forwarderFront, httpProxyFront } from './front.ts'

// A hang counts as much as a crash.
setTimeout(() => process.exit(2), 5000).unref()

const asked = Promise.withResolvers<Socket>()
const upstream = createServer(socket => {
  socket.on('error', () => undefined)
  socket.on('data', chunk => {
    if (chunk.toString().toLowerCase().includes('sec-websocket-key')) asked.resolve(socket)
    else socket.end('HTTP/1.1 200 OK\r\nContent-Length: 8\r\nConnection: close\r\n\r\nsurvived')
  })
})
const member = memberAt(await listening(upstream))
const front =
  process.argv[2] === 'http-proxy' ? httpProxyFront(member, false) : forwarderFront(createForwarder(), member)
const port = await listening(front)
const client = connect(port, '127.0.0.1')
client.write('GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n')
client.write('Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n')
const late = await asked.promise
const lateGone = new Promise(resolve => late.once('close', resolve))
client.resetAndDestroy()
await once(client, 'close')
// The upstream refuses the upgrade when the client is gone already.
late.end(`HTTP/1.1 403 Forbidden\r\nContent-Length: ${1 << 20}\r\n\r\n${'x'.repeat(1 << 20)}`)
await lateGone
const answer = await fetch(`http://127.0.0.1:${port}/`)
process.stdout.write(await answer.text(), () => process.exit(0))

async function listening(server: Server): Promise<number> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return (server.address() as AddressInfo).port
}
