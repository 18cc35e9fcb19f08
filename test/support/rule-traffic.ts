// Sends the requests of rules' own tests over real TLS sockets, WebSocket messages as masked frames, and says how each ended.
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Duplex } from 'node:stream'
import { gzipSync } from 'node:zlib'
import type { RuleTestRequest } from '../../src/ips/rule-document.ts'
import { messagesOf, requestOf } from '../../src/ips/test-request.ts'
import { acceptKey, createFrameReader, encodeFrame, OPCODE } from '../../src/practice/frames.ts'
import { openTls, type WholeGate } from './whole-gate.ts'

/** The host that tests of rules write when they mean the server's own name. */
const WRITTEN_HOST = /rmm\.example\.com/gi
const REACHED = 'x-reached'

/** An upstream that answers everything, and every message of a WebSocket. */
export type Answering = AsyncDisposable & { readonly url: string }

/** Starts an upstream that answers everything with 200 and marks its answers. */
export async function startAnswering(): Promise<Answering> {
  const open = new Set<Duplex>()
  const server = createServer((request, response) => {
    request.resume()
    request.on('end', () => response.writeHead(200, { [REACHED]: 'yes' }).end('||||||220.105'))
  })
  server.on('upgrade', (request: IncomingMessage, socket: Duplex) => {
    open.add(socket)
    socket.on('error', () => undefined)
    const protocol = request.headers['sec-websocket-protocol']?.split(',')[0]?.trim()
    const chosen = protocol === undefined ? '' : `Sec-WebSocket-Protocol: ${protocol}\r\n`
    const accept = acceptKey(request.headers['sec-websocket-key'] ?? '')
    socket.write(
      `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n${chosen}${REACHED}: yes\r\n\r\n`,
    )
    const reader = createFrameReader(true, {
      message: payload => void socket.write(encodeFrame(OPCODE.text, Buffer.from(`${payload.length}`), null)),
      ping: () => undefined,
      pong: () => undefined,
      close: () => void socket.end(),
      broken: () => void socket.destroy(),
    })
    socket.on('data', (chunk: Buffer) => reader.feed(chunk))
    socket.on('end', () => socket.end())
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}`,
    [Symbol.asyncDispose]: async () => {
      for (const socket of open) socket.destroy()
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}

/** How a request ended: at the upstream, or with a refusal of the gate (its reference; empty when there was no answer to hold it). */
export type Outcome =
  | { readonly end: 'reached' }
  | { readonly end: 'refused'; readonly status: number; readonly reference: string }
  | { readonly end: 'lost'; readonly saw: string }

/** How a test is sent. */
export type Sending = {
  /** The name that stands for the server's own in tests of rules. */
  readonly host: string
  /** The source that the load balancer announces. */
  readonly from: string
  /** Whether the body is compressed. */
  readonly compress: boolean
}

/** Sends the request of a test and its messages. */
export async function sendTest(
  gate: WholeGate,
  test: RuleTestRequest,
  { host, from, compress }: Sending,
): Promise<Outcome> {
  const made = test.request === null ? undefined : requestOf(test, test.request)
  if (made === undefined) return { end: 'lost', saw: 'not a request that could be sent' }
  const { facts } = made
  const body = made.body === null ? null : compress ? gzipSync(made.body) : made.body
  const lines = [`${facts.method} ${facts.target} HTTP/1.1`]
  const { raw } = facts.headers
  for (let at = 0; at + 1 < raw.length; at += 2) {
    const isLength = raw[at] === 'content-length'
    const value = isLength ? String(body?.length ?? 0) : (raw[at + 1] ?? '').replaceAll(WRITTEN_HOST, host)
    lines.push(`${raw[at] ?? ''}: ${value}`)
  }
  if (compress) lines.push('Content-Encoding: gzip')
  if (facts.webSocket) {
    const key = randomBytes(16).toString('base64')
    lines.push('Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Version: 13')
    lines.push(`Sec-WebSocket-Key: ${key}`)
  } else lines.push('Connection: close')
  const socket = await openTls(gate, { from, name: host })
  const chunks: Buffer[] = []
  socket.write(Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'utf8'))
  if (body !== null) socket.write(body)
  const ended = new Promise<void>(done => {
    socket.on('end', done)
    socket.on('close', done)
  })
  try {
    if (facts.webSocket) return await converse(socket, test, ended)
    socket.on('data', (chunk: Buffer) => chunks.push(chunk))
    await ended
    return outcomeOf(Buffer.concat(chunks).toString('latin1'))
  } finally {
    socket.destroy()
  }
}

function outcomeOf(answer: string): Outcome {
  const status = Number(/^HTTP\/1\.1 (\d{3})/.exec(answer)?.[1] ?? 0)
  const reference = /^portcullis-reference: (\S+)/im.exec(answer)?.[1]
  if (reference !== undefined) return { end: 'refused', status, reference }
  return new RegExp(`^${REACHED}: yes`, 'im').test(answer)
    ? { end: 'reached' }
    : { end: 'lost', saw: answer.slice(0, 200) }
}

/** The upgrade, then every message; the upstream answers each, a refusal is a close frame that names its reference. */
async function converse(socket: Duplex, test: RuleTestRequest, ended: Promise<void>): Promise<Outcome> {
  const messages = messagesOf(test)
  let head = ''
  let answers = 0
  let outcome: Outcome | null = null
  const done = new Promise<void>(finish => {
    const reader = createFrameReader(false, {
      message: () => {
        if (++answers === messages.length) finish()
      },
      ping: () => undefined,
      pong: () => undefined,
      close: () => finish(),
      broken: () => finish(),
    })
    socket.on('data', (chunk: Buffer) => {
      // A close frame of the gate holds its sentence in clear: servers do not mask.
      const reference = /Reference: ([\w-]+)/.exec(chunk.toString('latin1'))?.[1]
      if (outcome?.end === 'reached') {
        if (reference !== undefined) outcome = { end: 'refused', status: 1008, reference }
        return reader.feed(chunk)
      }
      head += chunk.toString('latin1')
      const end = head.indexOf('\r\n\r\n')
      if (end < 0) return
      outcome = outcomeOf(head)
      if (outcome.end !== 'reached' || messages.length === 0) return finish()
      for (const { kind, text } of messages)
        socket.write(encodeFrame(OPCODE[kind], Buffer.from(text, 'latin1'), randomBytes(4)))
      const rest = Buffer.from(head.slice(end + 4), 'latin1')
      if (rest.length > 0) reader.feed(rest)
    })
  })
  await Promise.race([done, ended])
  const found = outcome as Outcome | null
  if (found?.end === 'reached' && answers < messages.length)
    return { end: 'lost', saw: `${answers} of ${messages.length} messages answered` }
  return found ?? { end: 'lost', saw: head.slice(0, 200) }
}
