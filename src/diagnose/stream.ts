// Findings about raw TCP streams that got through and still do not work: both ends must agree about TLS. Pure.
import { problem, subjectOf, type Diagnosis, type Evidence } from './finding.ts'
import { makeFix } from './fix.ts'

/** One side speaks TLS, the other does not. */
export type StreamMismatch = {
  readonly atMs: number
  readonly what: 'tls-to-plain' | 'plain-to-tls'
  readonly listener: string
  readonly port: number
  readonly upstream: string
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
