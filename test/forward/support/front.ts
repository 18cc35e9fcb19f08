// Small HTTP proxies around each forwarder, and http-proxy itself, so that one contract can be asked of all of them.
import { Agent, createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import httpProxy from 'http-proxy'
import type { ExchangeHandler, Forwarder, UpstreamRequest } from '../../../src/forward/forwarder.ts'
import { headersForDownstream, headersForUpstream, type Way } from '../../../src/forward/headers.ts'
import type { UpstreamMember } from '../../../src/policy/snapshot.ts'
import { testLimits, testProfile, upstreamGroup } from '../../support/snapshot.ts'

/** A plain HTTP proxy over a forwarder: as little of an edge as the contract needs. */
export function forwarderFront(forwarder: Forwarder, member: UpstreamMember): Server {
  const group = upstreamGroup([member.origin.port])
  const server = createServer((request, response) => {
    const way = wayOf(request, member, group)
    const upstreamRequest = requestFor(request, way)
    const exchange = forwarder.exchange(member, upstreamRequest, respondWith(request, response, way))
    response.on('close', () => exchange.abort())
    response.on('drain', () => exchange.resume())
    if (upstreamRequest.framing.kind === 'none') return
    request.on('data', (chunk: Buffer) => {
      if (!exchange.write(chunk)) request.pause()
    })
    request.on('end', () => exchange.end())
  })
  server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    socket.on('error', () => socket.destroy())
    const way = wayOf(request, member, group)
    const exchange = forwarder.upgrade(member, requestFor(request, way), {
      ...respondWith(request, null, way),
      onHead: () => socket.destroy(),
      onError: () => socket.destroy(),
      onUpgrade: ({ head: accepted, socket: upstream, early }) => {
        const lines = headersForDownstream(accepted.headers, way)
        let text = 'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n'
        for (let at = 0; at < lines.length; at += 2) text += `${lines[at]}: ${lines[at + 1]}\r\n`
        socket.write(`${text}\r\n`)
        socket.write(early)
        upstream.write(head)
        socket.pipe(upstream).pipe(socket)
        upstream.on('error', () => socket.destroy())
        upstream.on('close', () => socket.destroy())
        socket.on('close', () => upstream.destroy())
      },
    })
    socket.on('close', () => exchange.abort())
  })
  return server
}

/** http-proxy 1.18.1 as its documentation shows it, with a keep-alive agent where asked for. */
export function httpProxyFront(member: UpstreamMember, keepAlive: boolean): Server {
  const { host, port } = member.origin
  const proxy = httpProxy.createProxyServer({
    target: { host, port },
    xfwd: true,
    ...(keepAlive ? { agent: new Agent({ keepAlive: true }) } : {}),
  })
  proxy.on('error', (_error, _request, answer) => answer.end())
  const server = createServer((request, response) => proxy.web(request, response))
  server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    proxy.ws(request, socket as never, head)
  })
  return server
}

function wayOf(
  request: IncomingMessage,
  member: UpstreamMember,
  group: ReturnType<typeof upstreamGroup>,
): Way {
  const host = request.headers.host ?? 'rmm.example.test'
  return { profile: testProfile, group, member, host, clientAddress: request.socket.remoteAddress ?? '' }
}

function requestFor(request: IncomingMessage, way: Way): UpstreamRequest {
  const length = request.headers['content-length']
  const chunked = request.headers['transfer-encoding'] !== undefined
  return {
    method: request.method ?? 'GET',
    target: request.url ?? '/',
    headers: headersForUpstream(request.rawHeaders, way),
    framing: chunked
      ? { kind: 'chunked' }
      : length === undefined || length === '0'
        ? { kind: 'none' }
        : { kind: 'length', bytes: Number(length) },
    limits: testLimits,
    connectMs: 2_000,
  }
}

function respondWith(request: IncomingMessage, response: ServerResponse | null, way: Way): ExchangeHandler {
  return {
    onInterim: () => undefined,
    onHead: head => {
      const headers = headersForDownstream(head.headers, way)
      if (head.contentLength !== null) headers.push('Content-Length', String(head.contentLength))
      response?.writeHead(head.status, head.statusText, headers)
    },
    onData: chunk => response?.write(chunk) ?? true,
    onTrailers: () => undefined,
    onEnd: () => response?.end(),
    onError: error => {
      if (response === null) return
      if (response.headersSent) response.socket?.resetAndDestroy()
      else response.writeHead(error.status ?? 502, { 'x-code': error.code }).end()
    },
    onDrain: () => request.resume(),
  }
}
