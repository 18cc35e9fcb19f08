// The gate's side of reversed HTTP/2: it is the client, the connector the server; every TCP stream is one CONNECT.
import { connect, constants, type ClientHttp2Stream } from 'node:http2'
import type { Duplex } from 'node:stream'
import { PortcullisError } from '../../policy/error.ts'
import { breakStream } from './join.ts'
import { watchLiveness, type Liveness } from './liveness.ts'
import { GREETING_MS, MAX_STREAMS, SESSION_OPTIONS, WINDOW_BYTES } from './limits.ts'

/** A reversed connection to a connector. */
export type GateSession = {
  /**
   * Opens a stream to a service at once. It emits 'connect' when the connector has reached the service; until then it may
   * fail with a PortcullisError (`service-unknown`, `service-unreachable`, `client-gone`).
   */
  readonly open: (service: string) => TunnelStream
  readonly streams: () => number
  /** Takes no new streams and closes when the last one has ended. */
  readonly finish: (why: string) => void
  /** Ends it at once; the reason goes to the log of the connector. */
  readonly end: (why: string) => void
  readonly isOpen: () => boolean
}

/** One TCP connection through the tunnel. A RST travels as a reset of the stream, both ways. */
export type TunnelStream = Duplex & { readonly resetAndDestroy: () => void }

/** What a session tells its owner. */
export type GateSessionOwner = {
  readonly nowMs: () => number
  /** The connector has answered: it can be used. */
  readonly ready: () => void
  /** It takes no new streams; what runs on it goes on. */
  readonly fading?: () => void
  /** It is over. Called once, also when `ready` never was. `broken`: the other side broke the protocol, or flooded. */
  readonly closed: (why: string, broken: boolean) => void
}

/** Begins a session on a socket whose connector has been told to be the server of it. */
export function openGateSession(socket: Duplex, owner: GateSessionOwner): GateSession {
  const session = connect('http://connector', { ...SESSION_OPTIONS, createConnection: () => socket })
  let why = 'the connection closed'
  const streams = new Set<ClientHttp2Stream>()
  let isReady = false
  let isBroken = false
  let liveness: Liveness | null = null
  const end = (reason: string, code: number = constants.NGHTTP2_NO_ERROR): void => {
    if (session.destroyed) {
      socket.destroy()
      return
    }
    why = reason
    // By hand: of a session that is destroyed streams end in order, and half a file would look whole (trap 47).
    for (const stream of streams) stream.on('error', () => undefined).destroy(gone())
    // GOAWAY carries the reason; a peer that does not take it must not keep the socket.
    session.goaway(code, 0, Buffer.from(reason.slice(0, 200), 'utf8'))
    session.destroy()
  }
  const greeting = setTimeout(() => end('it did not begin HTTP/2 in time'), GREETING_MS)
  session.once('remoteSettings', () => {
    clearTimeout(greeting)
    isReady = true
    session.setLocalWindowSize(WINDOW_BYTES)
    const read = (): number => ('bytesRead' in socket ? Number(socket.bytesRead) : 0)
    liveness = watchLiveness(session, read, owner.nowMs, (reason, broken) => {
      isBroken ||= broken
      end(reason)
    })
    owner.ready()
  })
  session.on('goaway', (_code: number, _last: number, data?: Buffer) => {
    if (data !== undefined && data.length > 0) why = printable(data)
    owner.fading?.()
  })
  session.on('error', (error: Error) => {
    why = error.message
    isBroken ||= isProtocolError(error)
  })
  // Never asked for; a connector that opens streams of its own breaks the protocol.
  session.on('stream', () => {
    isBroken = true
    end('it opened a stream', constants.NGHTTP2_PROTOCOL_ERROR)
  })
  session.once('close', () => {
    clearTimeout(greeting)
    socket.destroy()
    owner.closed(why, isBroken)
  })
  return {
    open: service => {
      if (session.destroyed || session.closed || !isReady) throw gone()
      if (streams.size >= MAX_STREAMS)
        throw unreachable(service, `${MAX_STREAMS} connections are open through it`)
      const stream = session.request({ ':method': 'CONNECT', ':authority': service }, { endStream: false })
      streams.add(stream)
      liveness?.countPayload(stream)
      stream.once('close', () => streams.delete(stream))
      return tunnelStream(stream, service)
    },
    streams: () => streams.size,
    finish: reason => {
      if (session.destroyed || session.closed) return
      session.goaway(constants.NGHTTP2_NO_ERROR, 0, Buffer.from(reason.slice(0, 200), 'utf8'))
      session.close()
    },
    end,
    isOpen: () => isReady && !session.closed && !session.destroyed,
  }
}

/** Whether Node found that the other side does not keep to HTTP/2; a line that broke is none of it. */
function isProtocolError(error: Error): boolean {
  return 'code' in error && PROTOCOL_ERRORS.has(String(error.code))
}

const PROTOCOL_ERRORS: ReadonlySet<string> = new Set([
  'ERR_HTTP2_ERROR',
  'ERR_HTTP2_TOO_MANY_INVALID_FRAMES',
  'ERR_HTTP2_TOO_MANY_CUSTOM_SETTINGS',
])

function tunnelStream(stream: ClientHttp2Stream, service: string): TunnelStream {
  let isOpen = false
  stream.on('response', headers => {
    const status = headers[':status'] ?? 0
    if (status === 200) {
      isOpen = true
      stream.emit('connect')
      return
    }
    stream.destroy(failureOf(service, status, String(headers['portcullis-problem'] ?? '')))
  })
  stream.once('close', () => {
    // Before the answer, an end of the stream is an end of the client.
    if (!isOpen && stream.listenerCount('error') > 0 && stream.errored === null) stream.emit('error', gone())
  })
  const resetAndDestroy = (): void => breakStream(stream)
  return Object.assign(stream, { resetAndDestroy })
}

function failureOf(service: string, status: number, problem: string): PortcullisError {
  if (status === 404) {
    return new PortcullisError(`the connector offers no service ${service}`, {
      code: 'service-unknown',
      side: 'upstream',
      retry: true,
      status: 502,
      remedy: 'Add it under services in the file of the connector, and restart the connector.',
    })
  }
  return unreachable(service, problem === '' ? `status ${status}` : printable(Buffer.from(problem)))
}

function unreachable(service: string, why: string): PortcullisError {
  return new PortcullisError(`the connector cannot reach its service ${service}: ${why}`, {
    code: 'service-unreachable',
    side: 'upstream',
    retry: true,
    status: 502,
    remedy: 'Start the service, or correct its address in the file of the connector.',
  })
}

/** The client is not attached, or went while it was asked. */
export function gone(): PortcullisError {
  return new PortcullisError('the client is not attached', {
    code: 'client-gone',
    side: 'upstream',
    retry: true,
    status: 502,
    remedy: 'See that the connector runs there and reaches the gate: its own log says what it waits for.',
  })
}

/** Words of the other side, fit for a log line. */
function printable(bytes: Buffer): string {
  return bytes.toString('utf8', 0, 200).replaceAll(/[^\x20-\x7e]/g, '?')
}
