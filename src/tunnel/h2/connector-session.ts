// The connector's side of reversed HTTP/2: it is the server and serves CONNECT to the services of its own file, nothing else.
import { constants, performServerHandshake, type ServerHttp2Stream } from 'node:http2'
import type { Duplex } from 'node:stream'
import { breakStream, joinStream, type Breakable } from './join.ts'
import { watchLiveness, type Liveness } from './liveness.ts'
import { GREETING_MS, SESSION_OPTIONS, WINDOW_BYTES } from './limits.ts'

/** A service that could be reached, or why not. */
export type Reached =
  { readonly socket: Breakable } | { readonly unknown: true } | { readonly problem: string }

/** What the session needs. */
export type ConnectorSessionOwner = {
  readonly nowMs: () => number
  /** Connects to a service by name. Aborted when the gate gives the stream up. */
  readonly reach: (service: string, signal: AbortSignal) => Promise<Reached>
  /** The gate speaks: the tunnel stands. */
  readonly ready: () => void
  /**
   * It is over, or takes nothing new; what runs on it may go on until it ends. Called once.
   * `said`: the gate said so itself, in these words.
   */
  readonly closed: (why: string, said: boolean) => void
  /** Nothing of it is left. Called once, last. */
  readonly gone?: () => void
}

/** A reversed connection to a gate. */
export type ConnectorSession = {
  readonly streams: () => number
  /** Takes no new streams, and ends with the last one; the other side is told why. */
  readonly finish: (why: string) => void
  readonly end: (why: string) => void
}

/** Begins to serve on a socket on which the gate has said 101. */
export function serveConnectorSession(socket: Duplex, owner: ConnectorSessionOwner): ConnectorSession {
  const session = performServerHandshake(socket, SESSION_OPTIONS)
  let why = 'the gate closed the connection'
  let said = false
  let isTold = false
  let liveness: Liveness | null = null
  const streams = new Set<ServerHttp2Stream>()
  const tell = (): void => {
    if (isTold) return
    isTold = true
    owner.closed(why, said)
  }
  const end = (reason: string): void => {
    if (session.destroyed) {
      socket.destroy()
      return
    }
    why = reason
    // By hand: of a session that is destroyed streams end in order, and half a file would look whole (trap 47).
    for (const stream of streams) breakStream(stream)
    session.goaway(constants.NGHTTP2_NO_ERROR, 0, Buffer.from(reason.slice(0, 200), 'utf8'))
    session.destroy()
  }
  const greeting = setTimeout(() => end('the gate did not begin HTTP/2 in time'), GREETING_MS)
  session.once('remoteSettings', () => {
    clearTimeout(greeting)
    session.setLocalWindowSize(WINDOW_BYTES)
    const read = (): number => ('bytesRead' in socket ? Number(socket.bytesRead) : 0)
    liveness = watchLiveness(session, read, owner.nowMs, end)
    owner.ready()
  })
  session.on('goaway', (_code: number, _last: number, data?: Buffer) => {
    if (data !== undefined && data.length > 0) {
      why = data.toString('utf8', 0, 200).replaceAll(/[^\x20-\x7e]/g, '?')
      said = true
    }
    tell()
  })
  session.on('error', (error: Error) => {
    if (!said) why = error.message
  })
  session.once('close', () => {
    clearTimeout(greeting)
    socket.destroy()
    tell()
    owner.gone?.()
  })
  session.on('stream', (stream: ServerHttp2Stream, headers) => {
    streams.add(stream)
    liveness?.countPayload(stream)
    stream.on('error', () => undefined)
    stream.once('close', () => streams.delete(stream))
    void serve(stream, headers[':method'], headers[':authority'] ?? '', owner)
  })
  return {
    streams: () => streams.size,
    // A graceful GOAWAY: the gate sends nothing new here, and the session ends with its last stream. Its owner hears at once
    // that it is over for everything new: a session of hours here must not keep the connector from attaching again.
    finish: reason => {
      if (session.destroyed || session.closed) return
      why = reason
      session.goaway(constants.NGHTTP2_NO_ERROR, 0, Buffer.from(reason.slice(0, 200), 'utf8'))
      session.close()
      tell()
    },
    end,
  }
}

async function serve(
  stream: ServerHttp2Stream,
  method: string | undefined,
  service: string,
  owner: ConnectorSessionOwner,
): Promise<void> {
  if (method !== 'CONNECT') return refuse(stream, 405, 'only CONNECT')
  const giveUp = new AbortController()
  const given = (): void => giveUp.abort()
  stream.once('close', given)
  const reached = await owner.reach(service, giveUp.signal)
  stream.off('close', given)
  if ('unknown' in reached) return refuse(stream, 404, 'no such service')
  if ('problem' in reached) return refuse(stream, 502, reached.problem)
  if (stream.destroyed) {
    reached.socket.destroy()
    return
  }
  stream.respond({ ':status': 200 })
  joinStream(stream, reached.socket)
}

function refuse(stream: ServerHttp2Stream, status: number, problem: string): void {
  if (stream.destroyed) return
  const said = problem.slice(0, 200).replaceAll(/[^\x20-\x7e]/g, '?')
  stream.respond({ ':status': status, 'portcullis-problem': said }, { endStream: true })
  // What the gate has sent already is for nobody.
  stream.resume()
}
