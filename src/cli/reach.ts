// Whether an address can be reached from here, and whether the RMM product answers there: a handful of connections, never a scan.
import { lookup } from 'node:dns/promises'
import { connect } from 'node:net'
import { Agent, request } from 'undici'
import { parseAddress } from '../net/address.ts'
import type { HealthProbe } from '../policy/snapshot.ts'

/** What became of a connection. `answers`: the RMM product; `open`: something else, or it says nothing. */
export type Reach = 'answers' | 'open' | 'refused' | 'filtered' | 'unreachable'

/** One address and port. */
export type ReachResult = {
  readonly address: string
  readonly port: number
  readonly reach: Reach
  /** What was seen, in words. */
  readonly saw: string
}

/** Bounds: one name, few ports. */
export const REACH_LIMITS = { addresses: 8, ports: 16 } as const
const CONNECT_MS = 3_000
const ANSWER_MS = 5_000

/** Addresses of a host, at most a few. Empty: the name does not resolve. */
export async function addressesOf(host: string): Promise<readonly string[]> {
  if (parseAddress(host) !== undefined) return [host]
  try {
    const found = await lookup(host, { all: true, verbatim: true })
    return [...new Set(found.map(entry => entry.address))].slice(0, REACH_LIMITS.addresses)
  } catch {
    return []
  }
}

/** Tries one address and port. The product's probe is asked only when the port is open. */
export async function reachOf(
  host: string,
  address: string,
  port: number,
  probe: Pick<HealthProbe, 'path' | 'statuses' | 'bodyPattern'>,
): Promise<ReachResult> {
  const opened = await opens(address, port)
  if (opened !== null) return { address, port, ...opened }
  for (const protocol of ['https', 'http'] as const) {
    const saw = await asks(protocol, host, address, port, probe)
    if (saw === null)
      return { address, port, reach: 'answers', saw: `the RMM product answers over ${protocol}` }
  }
  return { address, port, reach: 'open', saw: 'the port is open, the RMM product does not answer' }
}

/** Null: it opens. */
function opens(address: string, port: number): Promise<Pick<ReachResult, 'reach' | 'saw'> | null> {
  return new Promise(resolve => {
    const socket = connect({ host: address, port, timeout: CONNECT_MS })
    const done = (result: Pick<ReachResult, 'reach' | 'saw'> | null): void => {
      socket.destroy()
      resolve(result)
    }
    socket.once('connect', () => done(null))
    socket.once('timeout', () =>
      done({ reach: 'filtered', saw: `no answer within ${CONNECT_MS / 1_000} s: dropped on the way` }),
    )
    socket.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'ECONNREFUSED')
        done({ reach: 'refused', saw: 'refused: nothing listens, or a firewall rejects' })
      else if (error.code === 'ETIMEDOUT') done({ reach: 'filtered', saw: 'no answer: dropped on the way' })
      else done({ reach: 'unreachable', saw: `no way there from here (${error.code ?? error.message})` })
    })
  })
}

/** Null: the product answered. */
async function asks(
  protocol: 'http' | 'https',
  host: string,
  address: string,
  port: number,
  probe: Pick<HealthProbe, 'path' | 'statuses' | 'bodyPattern'>,
): Promise<string | null> {
  const dispatcher = new Agent({
    allowH2: false,
    connect: {
      timeout: ANSWER_MS,
      // Only whether the product is there is asked; nothing secret is sent, and an address never has a matching certificate.
      rejectUnauthorized: false,
      lookup: (_host, _options, done) => done(null, [{ address, family: address.includes(':') ? 6 : 4 }]),
    },
  })
  try {
    const named = host.includes(':') ? `[${host}]` : host
    const answer = await request(`${protocol}://${named}:${port}${probe.path}`, {
      dispatcher,
      headersTimeout: ANSWER_MS,
      bodyTimeout: ANSWER_MS,
      signal: AbortSignal.timeout(ANSWER_MS),
    })
    let text = ''
    for await (const chunk of answer.body) {
      text += String(chunk)
      if (text.length > 4_096) break
    }
    if (!probe.statuses.has(answer.statusCode)) return `status ${answer.statusCode}`
    return probe.bodyPattern?.test(text.slice(0, 4_096)) === false ? 'another answer' : null
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? String(error)
  } finally {
    await dispatcher.destroy()
  }
}
