// The corpus through whole gates, one per product: every request and every message reaches the server behind.
import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import test from 'ava'
import { acceptOf } from '../../src/edge/http/web-socket-handshake.ts'
import { frame } from '../edge/http/client-frames.ts'
import {
  AGENT_NAME,
  client,
  openTls,
  SHIPPED_RULES,
  startWholeGate,
  type WholeGate,
} from '../support/whole-gate.ts'
import { benignRequests, nameOf, type BenignRequest } from './benign.ts'
import { PROFILES } from './engine.ts'

const REQUESTS = benignRequests(42, 276)

/** A server that takes everything; a WebSocket is sent back what it sends. */
async function openUpstream(): Promise<Server> {
  const server = createServer((request, response) => {
    request.resume()
    request.once('end', () => response.end('taken'))
  })
  server.on('upgrade', (request, socket, head) => {
    const accept = acceptOf(request.headers['sec-websocket-key'] ?? '')
    socket.on('error', () => undefined)
    socket.write(
      `HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`,
    )
    socket.write(head)
    socket.pipe(socket)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return server
}

function headersOf(request: BenignRequest): Record<string, string> {
  const served = nameOf(request.profile)
  const own = Object.entries(request.headers).map(([name, value]) => [
    name,
    value.replaceAll(served, AGENT_NAME),
  ])
  return Object.fromEntries(own) as Record<string, string>
}

/** Opens a WebSocket and sends the messages. Returns how many bytes of them came back, and how many were sent. */
async function converse(gate: WholeGate, request: BenignRequest): Promise<{ sent: number; back: number }> {
  const socket = await openTls(gate)
  const lines = Object.entries(headersOf(request)).map(([name, value]) => `${name}: ${value}\r\n`)
  const frames = Buffer.concat(
    request.messages.map(message => frame(typeof message === 'string' ? 1 : 2, Buffer.from(message))),
  )
  socket.write(`GET ${request.target} HTTP/1.1\r\nHost: ${AGENT_NAME}\r\n${lines.join('')}\r\n`)
  socket.write(frames)
  let received = Buffer.alloc(0)
  for await (const chunk of socket) {
    received = Buffer.concat([received, chunk as Buffer])
    const end = received.indexOf('\r\n\r\n')
    if (end >= 0 && received.length - end - 4 >= frames.length) break
  }
  socket.destroy()
  const end = received.indexOf('\r\n\r\n')
  return { sent: frames.length, back: end < 0 ? 0 : received.length - end - 4 }
}

for (const profile of PROFILES) {
  test(`the corpus of ${profile} passes a whole gate`, async t => {
    const upstream = await openUpstream()
    t.teardown(() => upstream.close())
    await using gate = await startWholeGate({
      policy: { profile, rules: SHIPPED_RULES },
      upstream: {
        primary: `http://127.0.0.1:${(upstream.address() as AddressInfo).port}`,
        health: { path: '/', statuses: [200], body: 'taken' },
      },
    })
    using agent = client(gate)
    const own = REQUESTS.filter(request => request.profile === profile)
    t.true(own.length >= 20)
    for (const request of own) {
      if (request.webSocket) {
        const { sent, back } = await converse(gate, request)
        t.is(back, sent, request.name)
      } else {
        const { method, target, body } = request
        const headers = headersOf(request)
        const answer = await agent.ask({ method, path: target, headers, ...(body === null ? {} : { body }) })
        t.is(answer.status, 200, `${request.name}: ${answer.text.slice(0, 300)}`)
      }
    }
    t.deepEqual(
      gate.lines.of('request.refused').map(entry => entry.msg),
      [],
    )
  })
}
