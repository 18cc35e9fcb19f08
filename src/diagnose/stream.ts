// Findings about raw TCP streams that got through and still do not work: ends that disagree about TLS, notifications that never come. Pure.
import { problem, subjectOf, type Diagnosis, type Evidence } from './finding.ts'
import { makeFix } from './fix.ts'
import { spanWords } from './check-ins.ts'

/** One side speaks TLS, the other does not. */
export type StreamMismatch = {
  readonly atMs: number
  readonly what: 'tls-to-plain' | 'plain-to-tls'
  readonly listener: string
  readonly port: number
  readonly upstream: string
}

/** A session that had one connection where the product uses two when notifications come over TCP. */
export type LoneSession = {
  readonly atMs: number
  readonly listener: string
  readonly product: string
  readonly durationMs: number
  /** What to change at the server, as the profile says it. */
  readonly advice: string
}

/** A stream whose two ends do not speak the same. */
export function streamMismatch(evidence: Evidence): Diagnosis | null {
  const mismatch = evidence.mismatch ?? null
  if (mismatch === null) return null
  const { atMs, what, listener, port, upstream } = mismatch
  const isTls = what === 'tls-to-plain'
  const words = isTls
    ? `speaks TLS, and the server ${upstream} does not answer in TLS`
    : `speaks plain text, and the server ${upstream} answers in TLS`
  return problem(
    'mismatch',
    `${subjectOf(evidence)} gets through on stream ${listener} (port ${port}), but ${words}: the two cannot understand each other.`,
    makeFix([
      isTls
        ? 'Switch TLS (SSL) off at this client, or on at the server: the setting must be the same everywhere.'
        : `Switch TLS (SSL) on at this client, or set upstreamTls for stream ${listener}: the setting must be the same everywhere.`,
    ]),
    [
      {
        atMs,
        text: isTls ? 'the client began with a ClientHello' : 'the server answered plain text with TLS',
      },
    ],
  )
}

/** A client that seems to wait for notifications over UDP, which the server sends to the gate. */
export function udpNotifications(evidence: Evidence): Diagnosis | null {
  const lone = evidence.loneSession ?? null
  if (lone === null) return null
  const { atMs, listener, product, durationMs, advice } = lone
  return problem(
    'udp-notifications',
    `${subjectOf(evidence)} gets through to ${product} on stream ${listener}, but seems to wait for notifications over UDP: the server sends those to the address of the gate, and they never arrive. Calls and chats come late or only when the list is renewed.`,
    makeFix([
      `In ${product}, ${advice}, and start the client anew.`,
      'It is mended when the client has two connections open: then this is not said any more. Without any open, it is said for a day after the session below.',
    ]),
    [
      {
        atMs,
        text: `a session of ${spanWords(durationMs)} with a single connection; over TCP there are two`,
      },
    ],
  )
}
