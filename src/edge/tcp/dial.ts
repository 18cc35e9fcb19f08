// Opens the connection of one stream to a server: name, TCP or connector, PROXY header, TLS; told once how it went.
import { lookup } from 'node:dns'
import { connect as connectTcp, type Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { connect as connectTls } from 'node:tls'
import { isTrusted, verifiedTls, type OpenThrough } from '../../forward/upstream-socket.ts'
import { parseAddress } from '../../net/address.ts'
import type { StreamMember } from '../../policy/streams.ts'
import { ReusedReads } from './reused-reads.ts'

/** What is dialled. */
export type DialRequest = {
  readonly member: StreamMember
  /** Port that stands in for a target without one. */
  readonly port: number
  /** Address to prefer when a name has several; null: the first. */
  readonly address: string | null
  /** Written before anything else, outside of TLS; null: none. */
  readonly header: Uint8Array | null
  /** Where all that the server says will be written to; null: that is not known. */
  readonly partner: Duplex | null
  readonly connectMs: number
  readonly keepAliveMs: number
}

/** How it went. `own`: the gate itself has run out of something, which says nothing about the server. */
export type Dialled =
  | {
      readonly ok: true
      readonly socket: Duplex
      /** Address that was reached; the URL of a connector. */
      readonly address: string
      readonly text: string
    }
  | { readonly ok: false; readonly problem: string; readonly own: boolean }

const OWN_SHORTAGES = new Set(['EMFILE', 'ENFILE', 'ENOBUFS', 'ENOMEM', 'EADDRNOTAVAIL'])

/**
 * Dials. The socket is half-open capable, has no data listener and is not flowing.
 * @returns gives up: `done` is not called any more, and whatever was opened is closed
 */
export function dial(
  request: DialRequest,
  openThrough: OpenThrough,
  done: (result: Dialled) => void,
): () => void {
  const { member } = request
  let isOver = false
  let raw: Duplex | null = null
  const drop = (): void => {
    raw?.on('error', () => undefined)
    raw?.destroy()
  }
  const finish = (result: Dialled): void => {
    if (isOver) {
      if (result.ok) result.socket.destroy()
      return
    }
    isOver = true
    clearTimeout(timer)
    if (!result.ok) {
      drop()
    }
    done(result)
  }
  const fail = (cause: unknown): void => {
    const error = cause instanceof Error ? cause : new Error(String(cause))
    const code = 'code' in error ? String(error.code) : ''
    finish({ ok: false, problem: error.message, own: OWN_SHORTAGES.has(code) })
  }
  const timer = setTimeout(() => {
    fail(new Error(`no connection within ${request.connectMs} ms`))
  }, request.connectMs)

  const secure = (socket: Duplex, address: string, text: string): void => {
    const { tls } = member
    if (request.header !== null) socket.write(request.header)
    if (tls === null) {
      finish({ ok: true, socket, address, text })
      return
    }
    const secured = connectTls({ socket, ...verifiedTls(tls) })
    raw = secured
    // The TLS socket takes over; errors of the one below come to it as well and must find a listener there.
    socket.on('error', () => undefined)
    secured.once('error', fail)
    secured.once('secureConnect', () => {
      secured.off('error', fail)
      if (isTrusted(secured, tls)) finish({ ok: true, socket: secured, address, text })
      else fail(new Error('its public key is none of the pinned ones'))
    })
  }

  if (member.target.kind === 'connector') {
    const { url, via } = member.target
    try {
      const stream = openThrough(via)
      raw = stream
      stream.once('error', fail)
      stream.once('connect', () => {
        stream.off('error', fail)
        secure(stream, url, url)
      })
    } catch (error) {
      // Told in the next turn, as with every other connection.
      queueMicrotask(() => fail(error))
    }
  } else {
    const port = member.target.port ?? request.port
    resolve(member.target.host, request.address, addresses => {
      if (isOver) return
      if (!Array.isArray(addresses)) {
        fail(addresses)
        return
      }
      connectAny(
        addresses,
        port,
        request,
        socket => (raw = socket),
        (socket, address) => {
          const host = address.includes(':') ? `[${address}]` : address
          secure(socket, address, `${host}:${port}`)
        },
        fail,
      )
    })
  }
  return () => {
    if (isOver) return
    isOver = true
    clearTimeout(timer)
    drop()
  }
}

/** Addresses of a host in a stable order: two sockets of one client must not meet two servers behind one name (S2). */
function resolve(
  host: string,
  preferred: string | null,
  done: (addresses: readonly string[] | Error) => void,
): void {
  if (parseAddress(host) !== undefined) {
    done([host])
    return
  }
  lookup(host, { all: true }, (error, found) => {
    if (error !== null) {
      done(error)
      return
    }
    const addresses = found.map(entry => entry.address).sort()
    done(addresses.toSorted((a, b) => Number(b === preferred) - Number(a === preferred)))
  })
}

function connectAny(
  addresses: readonly string[],
  port: number,
  request: DialRequest,
  began: (socket: Socket) => void,
  done: (socket: Socket, address: string) => void,
  fail: (error: Error) => void,
): void {
  const [host, ...others] = addresses
  if (host === undefined) {
    fail(new Error('the name has no address'))
    return
  }
  const { partner, keepAliveMs, member } = request
  const reads = partner === null || member.tls !== null ? null : ReusedReads.to(partner)
  const socket = connectTcp({
    host,
    port,
    allowHalfOpen: true,
    noDelay: true,
    keepAlive: true,
    keepAliveInitialDelay: keepAliveMs,
    ...(reads === null ? {} : { onread: reads.onread }),
  })
  reads?.of(socket)
  began(socket)
  const failed = (error: Error): void => {
    if (others.length > 0) connectAny(others, port, request, began, done, fail)
    else fail(error)
  }
  socket.once('error', failed)
  socket.once('connect', () => {
    socket.off('error', failed)
    done(socket, host)
  })
}
