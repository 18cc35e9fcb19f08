// A forwarder over undici: the contract's second implementation, for comparison only (ADR 0001).
import { PassThrough } from 'node:stream'
import { Pool, type Dispatcher } from 'undici'
import type { Exchange, ExchangeHandler, Forwarder, UpstreamRequest } from '../../../src/forward/forwarder.ts'
import { originText, reset, unreachable } from '../../../src/forward/upstream-error.ts'
import type { Socket } from 'node:net'
import { openUpstreamSocket } from '../../../src/forward/upstream-socket.ts'
import type { UpstreamMember } from '../../../src/policy/snapshot.ts'

/** Makes the comparison forwarder. HTTP/2 is off, as everywhere in the product. */
export function createUndiciForwarder(): Forwarder {
  const pools = new Map<string, Pool>()
  const poolFor = (member: UpstreamMember): Pool => {
    const key = JSON.stringify([member.origin, member.tls])
    const pool =
      pools.get(key) ??
      new Pool(originText(member), {
        allowH2: false,
        pipelining: 1,
        keepAliveTimeout: 4_000,
        connect: (_options, callback) => {
          const socket = openUpstreamSocket(member, error => {
            if (error === null) callback(null, socket as Socket)
            else callback(error, null)
          })
        },
      })
    pools.set(key, pool)
    return pool
  }
  return {
    exchange: (member, request, handler) => start(poolFor(member), member, request, handler),
    upgrade: (member, request, handler) => start(poolFor(member), member, request, handler),
    open: member => poolFor(member).stats.running,
    retain: () => undefined,
    close: async () => {
      for (const pool of pools.values()) await pool.destroy()
    },
  }
}

function start(
  pool: Pool,
  member: UpstreamMember,
  request: UpstreamRequest,
  handler: ExchangeHandler,
): Exchange {
  const body = request.framing.kind === 'none' ? null : new PassThrough()
  let controller: Dispatcher.DispatchController | null = null
  let over = false
  body?.on('drain', () => handler.onDrain())
  body?.on('error', () => undefined)
  const headers = [...request.headers]
  if (request.framing.kind === 'length') headers.push('Content-Length', String(request.framing.bytes))
  pool.dispatch(
    {
      method: request.method as Dispatcher.HttpMethod,
      path: request.target,
      headers,
      body,
      headersTimeout: request.limits.responseMs,
      bodyTimeout: request.limits.responseIdleMs,
    },
    {
      onRequestStart: started => (controller = started),
      onResponseStart: (current, status, parsed, statusText = '') => {
        const raw = (current as unknown as { rawHeaders: Buffer[] }).rawHeaders
        if (status < 200) return handler.onInterim(status, [])
        const length = parsed['content-length']
        handler.onHead({
          status,
          statusText,
          headers: raw.map(part => part.toString('latin1')),
          contentLength: typeof length === 'string' ? Number(length) : null,
        })
      },
      onResponseData: (current, chunk) => {
        if (!over && !handler.onData(Buffer.from(chunk.buffer, chunk.byteOffset, chunk.length)))
          current.pause()
      },
      onResponseEnd: (_current, trailers) => {
        if (over) return
        over = true
        const flat = Object.entries(trailers).flatMap(([name, value]) => [name, String(value)])
        if (flat.length > 0) handler.onTrailers(flat)
        handler.onEnd()
      },
      onResponseError: (_current, error) => {
        if (over) return
        over = true
        handler.onError(
          controller === null
            ? unreachable(member, error.message, error)
            : reset(member, error.message, error),
        )
      },
    },
  )
  return {
    write: chunk => body?.write(chunk) ?? true,
    end: () => void body?.end(),
    resume: () => controller?.resume(),
    abort: () => {
      over = true
      body?.destroy()
      controller?.abort(new Error('aborted'))
    },
  }
}
