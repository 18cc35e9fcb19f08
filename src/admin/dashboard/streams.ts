// Server-sent events: bounded in number, ended with their session, dropped when the browser does not keep up.
import type { ServerResponse } from 'node:http'
import type { PageAnswer } from './page.ts'
import { SECURITY_HEADERS } from './headers.ts'
import { sendText } from './reply.ts'
import type { Session } from './sessions.ts'

type Follow = Extract<PageAnswer, { readonly kind: 'stream' }>['follow']

/** All streams of the dashboard. */
export type Streams = {
  readonly open: (
    session: Session,
    response: ServerResponse,
    follow: Follow,
    isAllowed: () => boolean,
  ) => void
  readonly end: (session: Session) => void
  readonly close: () => void
}

const PER_SESSION = 4
const TOTAL = 48
const LOOK_MS = 5_000
const MAX_WAITING_BYTES = 1 << 20

type Stream = { readonly session: string; readonly stop: () => void }

/** Makes the holder of streams. */
export function createStreams(): Streams {
  const open = new Set<Stream>()
  const ofSession = (handle: string): Stream[] => [...open].filter(({ session }) => session === handle)
  return {
    open: (session, response, follow, isAllowed) => {
      if (open.size >= TOTAL || ofSession(session.handle).length >= PER_SESSION) {
        sendText(response, 503, 'text/plain; charset=utf-8', 'too many pages follow events at once\n', {
          'retry-after': '30',
        })
        return
      }
      response.writeHead(200, { ...SECURITY_HEADERS, 'content-type': 'text/event-stream; charset=utf-8' })
      const ended = new AbortController()
      const stream: Stream = {
        session: session.handle,
        stop: () => {
          if (!open.delete(stream)) return
          clearInterval(look)
          ended.abort()
          response.end()
        },
      }
      // A comment now and then keeps the connection; whoever may no longer follow is sent away.
      const look = setInterval(() => {
        if (isAllowed()) response.write(': \n\n')
        else stream.stop()
      }, LOOK_MS)
      look.unref()
      open.add(stream)
      response.once('close', stream.stop)
      response.write('retry: 5000\n\n')
      follow((event, data) => {
        if (ended.signal.aborted) return
        if (!isAllowed() || response.writableLength > MAX_WAITING_BYTES) {
          stream.stop()
          return
        }
        const lines = data.split(/\r\n|\r|\n/).map(line => `data: ${line}\n`)
        response.write(`event: ${event}\n${lines.join('')}\n`)
      }, ended.signal)
    },
    end: session => {
      for (const stream of ofSession(session.handle)) stream.stop()
    },
    close: () => {
      for (const stream of open) stream.stop()
    },
  }
}
