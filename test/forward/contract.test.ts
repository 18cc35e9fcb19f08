// One contract at HTTP level for every way to forward, http-proxy included: what it fails is marked, and really fails (ADR 0001).
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { createServer as createHttpServer, request as httpRequest, Agent } from 'node:http'
import { connect, type Server, type Socket } from 'node:net'
import { fileURLToPath } from 'node:url'
import test, { type ExecutionContext } from 'ava'
import { WebSocket, WebSocketServer } from 'ws'
import { createForwarder } from '../../src/forward/wire-forwarder.ts'
import type { Forwarder } from '../../src/forward/forwarder.ts'
import type { UpstreamMember } from '../../src/policy/snapshot.ts'
import { listen, memberAt, rawUpstream } from './support/exchange.ts'
import { forwarderFront, httpProxyFront } from './support/front.ts'
import { createUndiciForwarder } from './support/undici-forwarder.ts'

type Front = (t: ExecutionContext, member: UpstreamMember) => Server

const over =
  (make: () => Forwarder): Front =>
  (t, member) => {
    const forwarder = make()
    t.teardown(() => forwarder.close())
    return forwarderFront(forwarder, member)
  }

const FRONTS: Record<string, Front> = {
  wire: over(() => createForwarder()),
  undici: over(() => createUndiciForwarder()),
  'http-proxy': (_t, member) => httpProxyFront(member, false),
}

/** What an implementation is known to fail. `test.failing` turns red when one of them ever works. */
const KNOWN_FAILURES: Record<string, readonly string[]> = {
  'http-proxy': [
    'trap 14: a WebSocket client that resets before the 101 harms nobody else',
    'trap 13: a chunked DELETE stays one request',
    'trap 13: a chunked OPTIONS stays one request',
    'trap 13: an upstream that cuts its response off never leaves a client waiting',
    'trap 13: a client that leaves takes its upstream connection with it',
    'trap 13: X-Forwarded-For of a client is replaced',
    'trap 18: requests in sequence share an upstream connection',
  ],
}

function contract(name: string, body: (t: ExecutionContext, front: Front) => Promise<void>): void {
  for (const [implementation, front] of Object.entries(FRONTS)) {
    // The comparison adapter over undici has no upgrade.
    if (implementation === 'undici' && name.includes('WebSocket')) continue
    const fails = KNOWN_FAILURES[implementation]?.includes(name) === true
    const declare = fails ? test.failing : test
    declare(`${implementation}: ${name}`, t => body(t, front))
  }
}

for (const method of ['DELETE', 'OPTIONS', 'POST', 'GET']) {
  contract(`trap 13: a chunked ${method} stays one request`, async (t, front) => {
    const upstream = createHttpServer((request, response) => {
      const hash = createHash('sha256')
      request.on('data', (chunk: Buffer) => hash.update(chunk))
      request.on('end', () => response.end(`${request.method} ${hash.digest('hex')}`))
    })
    const requests: string[] = []
    upstream.on('request', request => requests.push(`${request.method} ${request.url}`))
    upstream.on('clientError', () => requests.push('garbage'))
    const port = await listen(t, front(t, memberAt(await listen(t, upstream))))
    const body = 'GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n'
    const answer = await ask(
      port,
      `${method} /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`,
    )
    t.deepEqual(requests, [`${method} /x`])
    t.true(answer.includes(createHash('sha256').update(body).digest('hex')), answer)
  })
}

contract(
  'trap 13: an upstream that cuts its response off never leaves a client waiting',
  async (t, front) => {
    const upstream = await rawUpstream(t, socket => {
      socket.write('HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc', () => socket.destroy())
    })
    const port = await listen(t, front(t, memberAt(upstream)))
    const socket = connect(port, '127.0.0.1')
    t.teardown(() => socket.destroy())
    socket.on('error', () => undefined)
    socket.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
    socket.resume()
    const closed = new Promise(resolve => socket.once('close', () => resolve('closed')))
    const gaveUp = new Promise(resolve => setTimeout(resolve, 3000, 'still waiting').unref())
    t.is(await Promise.race([closed, gaveUp]), 'closed')
  },
)

contract('trap 13: a client that leaves takes its upstream connection with it', async (t, front) => {
  const taken = Promise.withResolvers<Socket>()
  const upstream = await rawUpstream(t, socket => {
    socket.write('HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc')
    taken.resolve(socket)
  })
  const port = await listen(t, front(t, memberAt(upstream)))
  const client = connect(port, '127.0.0.1')
  client.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
  const socket = await taken.promise
  await once(client, 'data')
  const left = Promise.race([
    new Promise(resolve => socket.once('end', () => resolve('left'))),
    new Promise(resolve => socket.once('close', () => resolve('left'))),
    new Promise(resolve => setTimeout(resolve, 3000, 'still there').unref()),
  ])
  client.destroy()
  t.is(await left, 'left')
})

contract('trap 13: X-Forwarded-For of a client is replaced', async (t, front) => {
  const upstream = createHttpServer((request, response) => {
    response.end(String(request.headers['x-forwarded-for']))
  })
  const port = await listen(t, front(t, memberAt(await listen(t, upstream))))
  const answer = await ask(
    port,
    'GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 6.6.6.6\r\nConnection: close\r\n\r\n',
  )
  t.regex(answer, /\r\n\r\n(?:9\r\n)?127\.0\.0\.1/)
})

contract('trap 18: requests in sequence share an upstream connection', async (t, front) => {
  const upstream = createHttpServer((_request, response) => response.end('ok'))
  let connections = 0
  upstream.on('connection', () => connections++)
  const port = await listen(t, front(t, memberAt(await listen(t, upstream))))
  const agent = new Agent({ keepAlive: true })
  t.teardown(() => agent.destroy())
  for (let n = 0; n < 5; n++) {
    const request = httpRequest({ port, host: '127.0.0.1', agent }).end()
    const [response] = (await once(request, 'response')) as [NodeJS.ReadableStream]
    response.resume()
    await once(response, 'end')
  }
  t.is(connections, 1)
})

contract('a HEAD answer keeps its length and a 304 has no body', async (t, front) => {
  const upstream = createHttpServer((request, response) => {
    response.writeHead(
      request.url === '/304' ? 304 : 200,
      request.url === '/304' ? {} : { 'content-length': 1234 },
    )
    response.end()
  })
  const port = await listen(t, front(t, memberAt(await listen(t, upstream))))
  const head = await ask(port, 'HEAD / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n')
  t.regex(head, /\r\ncontent-length: 1234\r\n/i)
  t.true(head.endsWith('\r\n\r\n'))
  t.regex(await ask(port, 'GET /304 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n'), /^HTTP\/1\.1 304/)
})

contract('WebSocket messages go both ways and a close reaches the other side', async (t, front) => {
  const upstream = createHttpServer()
  const sockets = new WebSocketServer({ server: upstream })
  const gone = Promise.withResolvers<number>()
  sockets.on('connection', socket => {
    socket.send('hello at once')
    socket.on('message', data => socket.send(data))
    socket.on('close', code => gone.resolve(code))
  })
  const port = await listen(t, front(t, memberAt(await listen(t, upstream))))
  const client = new WebSocket(`ws://127.0.0.1:${port}/agent.ashx`)
  t.teardown(() => client.terminate())
  const [first] = (await once(client, 'message')) as [Buffer]
  t.is(first.toString(), 'hello at once')
  const big = Buffer.alloc(300_000, 7)
  client.send(big)
  const [echo] = (await once(client, 'message')) as [Buffer]
  t.true(big.equals(echo))
  client.close(4001)
  t.is(await gone.promise, 4001)
})

contract('trap 14: a WebSocket client that resets before the 101 harms nobody else', async t => {
  const implementation = t.title.includes('http-proxy') ? 'http-proxy' : 'wire'
  const script = fileURLToPath(new URL('support/early-reset.ts', import.meta.url))
  const child = spawn(process.execPath, [script, implementation], { stdio: ['ignore', 'pipe', 'ignore'] })
  t.teardown(() => child.kill('SIGKILL'))
  let output = ''
  child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()))
  await once(child, 'close')
  t.is(output, 'survived')
})

/** Sends raw bytes and reads until the connection closes. */
async function ask(port: number, text: string): Promise<string> {
  const socket = connect(port, '127.0.0.1')
  socket.on('error', () => undefined)
  const parts: Buffer[] = []
  socket.on('data', chunk => parts.push(chunk))
  socket.write(text, 'latin1')
  await new Promise(resolve => socket.once('close', resolve))
  return Buffer.concat(parts).toString('latin1')
}
