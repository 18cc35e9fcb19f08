// Asks an upstream member whether it lives, as the profile's health probe says, over a connection of its own.
import type { Socket } from 'node:net'
import { Client } from 'undici'
import { PortcullisError } from '../policy/error.ts'
import type { HealthProbe, UpstreamMember } from '../policy/snapshot.ts'
import { originUrl } from './upstream-error.ts'
import { NO_CONNECTORS, openUpstreamSocket, type OpenThrough } from './upstream-socket.ts'

const MAX_BODY_BYTES = 4096

/**
 * What a probe showed. `unexpected`: the server lives and answers, only not with what the policy waits for. `not-asked`: the
 * gate itself had run out of something (sockets, memory), so nothing is known about the member.
 */
export type ProbeResult =
  | { readonly kind: 'healthy' | 'not-asked' }
  | { readonly kind: 'failed' | 'unexpected'; readonly problem: string }

/**
 * Sends one probe. Never rejects.
 * @param host value of the Host header: servers with several sites answer by it
 * @param signal ends the probe early (it then counts as a problem)
 */
export async function probe(
  member: UpstreamMember,
  health: HealthProbe,
  host: string,
  signal: AbortSignal,
  through: OpenThrough = NO_CONNECTORS,
): Promise<ProbeResult> {
  const client = new Client(originUrl(member), {
    allowH2: false,
    maxHeaderSize: 65_536,
    connect: (_options, callback) => {
      const told = (error: Error | null): void => {
        // Whatever carries it, undici only asks for a stream.
        if (error === null) callback(null, socket as Socket)
        else callback(error, null)
      }
      const socket = openUpstreamSocket(member, told, through)
      signal.addEventListener('abort', () => socket.destroy(), { once: true })
    },
  })
  const limit = AbortSignal.any([signal, AbortSignal.timeout(health.timeoutMs)])
  try {
    const { statusCode, body } = await client.request({
      method: health.method,
      path: health.path,
      headers: { host, 'user-agent': 'Portcullis-health' },
      signal: limit,
    })
    body.on('error', () => undefined)
    if (!health.statuses.has(statusCode)) {
      const problem = `the probe was answered with status ${statusCode}`
      return { kind: statusCode < 500 ? 'unexpected' : 'failed', problem }
    }
    if (health.bodyPattern === null || health.bodyPattern.test(await readStart(body)))
      return { kind: 'healthy' }
    return { kind: 'unexpected', problem: 'the body of the probe did not match' }
  } catch (error) {
    if (error instanceof PortcullisError && error.code === 'upstream-busy') return { kind: 'not-asked' }
    if (limit.aborted)
      return { kind: 'failed', problem: `the probe was not answered within ${health.timeoutMs} ms` }
    return { kind: 'failed', problem: error instanceof Error ? error.message : String(error) }
  } finally {
    await client.destroy()
  }
}

async function readStart(body: AsyncIterable<Buffer>): Promise<string> {
  const parts: Buffer[] = []
  let size = 0
  for await (const part of body) {
    parts.push(part)
    size += part.length
    if (size >= MAX_BODY_BYTES) break
  }
  return Buffer.concat(parts).subarray(0, MAX_BODY_BYTES).toString('utf8')
}
