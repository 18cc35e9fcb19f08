// Routes that exist for practice only: slow answers, long poll, inner redirects, and an echo of what arrived.
import { answer, answerJson, numberIn, type Exchange } from './exchange.ts'
import type { PracticeState } from './rmm-state.ts'
import { digestOf } from './seeded-bytes.ts'

/** Longest time that a slow answer or a poll may take. */
const MAX_WAIT_MS = 600_000

/** What the practice routes know. */
export type PracticeRoutes = {
  readonly state: PracticeState
  /** Host and port that the server itself would write into links. */
  readonly innerHost: () => string
}

/**
 * Answers a practice request; false when the path is none. The routes are found at the end of any path (`/LabTech/Transfer/practice/slow`), so
 * that every traffic class can practise them.
 */
export async function practiceRoute(exchange: Exchange, routes: PracticeRoutes): Promise<boolean> {
  const name = /(?:^|\/)practice\/(slow|poll|redirect|echo)$/.exec(exchange.folded)?.[1]
  if (name === 'slow') slow(exchange)
  else if (name === 'poll') poll(exchange, routes.state)
  else if (name === 'redirect') redirect(exchange, routes.innerHost())
  else if (name === 'echo') await echo(exchange)
  else return false
  return true
}

function slow(exchange: Exchange): void {
  const ms = numberIn(exchange.query, 'ms', 1_000, MAX_WAIT_MS)
  const timer = setTimeout(() => answer(exchange, 200, 'text/plain', `answered after ${ms} ms\n`), ms)
  exchange.response.once('close', () => clearTimeout(timer))
}

/** Long poll: answers with the next agent that checks in, or 204 when the time is over. */
function poll(exchange: Exchange, state: PracticeState): void {
  const ms = numberIn(exchange.query, 'ms', 30_000, MAX_WAIT_MS)
  const stop = state.onCheckIn(agent => {
    done()
    answerJson(exchange, 200, { agent: agent.id, source: agent.source })
  })
  const timer = setTimeout(() => {
    done()
    exchange.response.writeHead(204).end()
  }, ms)
  function done(): void {
    stop()
    clearTimeout(timer)
  }
  exchange.response.once('close', done)
}

/** Redirects as a server does that knows only its inner name: the gate has to rewrite both headers. */
function redirect(exchange: Exchange, innerHost: string): void {
  const host = innerHost.replace(/:\d+$/, '')
  answer(exchange, 302, 'text/plain', 'go on\n', {
    location: `http://${innerHost}/automate?from=redirect`,
    'set-cookie': [`practice=1; Domain=${host}; Path=/; HttpOnly`, 'plain=2; Path=/; SameSite=Lax'],
  })
}

async function echo(exchange: Exchange): Promise<void> {
  const { request, source, peer } = exchange
  const { bytes, sha256 } = await digestOf(request as AsyncIterable<Buffer>)
  answerJson(exchange, 200, {
    method: request.method,
    target: request.url,
    headers: request.rawHeaders,
    trailers: request.rawTrailers,
    source,
    peer,
    bytes,
    sha256,
  })
}
