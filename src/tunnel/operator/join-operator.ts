// Joins an operator's connection to a service of a client: every stream that the operator opens is one TCP connection there.
import type { Duplex } from 'node:stream'
import { PortcullisError } from '../../policy/error.ts'
import { serveConnectorSession, type Reached } from '../h2/connector-session.ts'
import type { TunnelStream } from '../h2/gate-session.ts'
import type { NewSession, Sessions } from './sessions.ts'

/** What is joined. */
export type Joint = {
  readonly session: NewSession
  readonly sessions: Sessions
  readonly monotonicMs: () => number
  /** Opens a connection to the service. @throws PortcullisError as LiveClient.open */
  readonly open: () => TunnelStream
}

/** Takes the socket of an upgraded connection. */
export function joinOperator(
  socket: Duplex,
  early: Buffer,
  joint: Joint,
): { readonly state: string; readonly drain: () => void } {
  if (early.length > 0) socket.unshift(early)
  const bytesOf = (direction: 'bytesRead' | 'bytesWritten'): number =>
    direction in socket ? Number(Reflect.get(socket, direction)) : 0
  const before = { in: bytesOf('bytesRead'), out: bytesOf('bytesWritten') }
  const { session, sessions } = joint
  const served = serveConnectorSession(socket, {
    nowMs: joint.monotonicMs,
    // One session, one service: a stream that names another is refused, whatever the client offers.
    reach: (service, signal) =>
      service === session.service ? reach(joint.open, signal) : Promise.resolve({ unknown: true }),
    ready: () => undefined,
    closed: () => undefined,
    gone: () => close(),
  })
  const finish = (why: string): void => {
    if (served.streams() === 0) served.end(why)
    else served.finish(why)
  }
  const close = sessions.open(session, {
    bytes: () => ({ in: bytesOf('bytesRead') - before.in, out: bytesOf('bytesWritten') - before.out }),
    end: served.end,
    finish,
  })
  return { state: `operator ${session.operator}`, drain: () => served.finish('the gate shuts down') }
}

function reach(open: () => TunnelStream, signal: AbortSignal): Promise<Reached> {
  return new Promise(resolve => {
    let stream: TunnelStream
    try {
      stream = open()
    } catch (error) {
      return resolve({ problem: problemOf(error) })
    }
    const abort = (): void => {
      stream.resetAndDestroy()
      resolve({ problem: 'given up' })
    }
    signal.addEventListener('abort', abort, { once: true })
    const failed = (error: unknown): void => {
      signal.removeEventListener('abort', abort)
      resolve({ problem: problemOf(error) })
    }
    stream.once('error', failed)
    stream.once('connect', () => {
      signal.removeEventListener('abort', abort)
      // Before the old listener goes: one error in between would end the process.
      stream.on('error', () => undefined).off('error', failed)
      resolve({ socket: stream })
    })
  })
}

function problemOf(error: unknown): string {
  return error instanceof PortcullisError || error instanceof Error ? error.message : String(error)
}
