// What stored events tell a diagnosis: the newest refusal of each kind, pages of other names, clients turned away, mismatches.
import type { ClientTrouble } from '../diagnose/gateway-client.ts'
import type { CrossOrigin, Witness } from '../diagnose/finding.ts'
import type { LoneSession, StreamMismatch } from '../diagnose/stream.ts'
import type { LedgerRow } from '../journal/ledger-facts.ts'
import type { StoredEvent } from '../journal/store-events.ts'
import type { StreamListener } from '../policy/streams.ts'

/** The newest event by reason, or by its name where it has none. Events come newest first. */
export function witnesses(events: readonly StoredEvent[]): ReadonlyMap<string, Witness> {
  const found = new Map<string, Witness>()
  for (const { name, reason, reference, timeMs, fields } of events) {
    const key = name === 'handshake.failed' ? 'handshake-failed' : (reason ?? name)
    if (found.has(key)) continue
    const { method, host, path, saw, line, problem } = fields
    const isRequest = typeof method === 'string' && method !== ''
    found.set(key, {
      atMs: timeMs,
      reference,
      saw: textOr(saw, textOr(problem, '')),
      line: textOr(line, ''),
      request: isRequest ? `${method} https://${textOr(host, '')}${textOr(path, '')}` : '',
    })
  }
  return found
}

/** Pages of other names that browsers were kept from showing. Events come newest first. */
export function crossOrigins(events: readonly StoredEvent[]): readonly CrossOrigin[] {
  const foreign = events.filter(event => event.name === 'request.cross-origin')
  const groups = Map.groupBy(
    foreign,
    ({ fields }) => `${textOr(fields['origin'], '')} ${textOr(fields['host'], '')}`,
  )
  return [...groups.values()].flatMap(group => {
    const [newest] = group
    if (newest === undefined) return []
    const { origin, host } = newest.fields
    return [{ atMs: newest.timeMs, origin: textOr(origin, ''), host: textOr(host, ''), times: group.length }]
  })
}

/** Clients whose newest event is a refusal. Events come newest first. */
export function clientTroubles(events: readonly StoredEvent[]): readonly ClientTrouble[] {
  const newest = new Map<string, ClientTrouble | null>()
  for (const { name, timeMs, fields } of events) {
    const { client, realAddress, max } = fields
    if (typeof client !== 'string' || newest.has(client)) continue
    const kind =
      name === 'client.key-refused' ? 'key' : name === 'client.capacity-exceeded' ? 'capacity' : null
    const about = { client, atMs: timeMs, realAddress: textOr(realAddress, 'unknown') }
    newest.set(client, kind === null ? null : { ...about, kind, max: typeof max === 'number' ? max : null })
  }
  return [...newest.values()].filter(entry => entry !== null)
}

/** The newest mismatch, unless a stream of the same listener passed later. */
export function mismatchOf(
  events: readonly StoredEvent[],
  rows: readonly LedgerRow[],
): StreamMismatch | null {
  const newest = events.find(event => event.name === 'stream.mismatch')
  if (newest === undefined) return null
  const { what, listener, localPort, upstream } = newest.fields
  const later = rows.some(
    ({ shape, lastMs }) =>
      shape.phase === 'stream' &&
      shape.outcome === 'passed' &&
      shape.listener === listener &&
      // The ledger counts in seconds, and the stream of the mismatch itself passed.
      lastMs > newest.timeMs + 1_000,
  )
  return later
    ? null
    : {
        atMs: newest.timeMs,
        what: what === 'plain-to-tls' ? 'plain-to-tls' : 'tls-to-plain',
        listener: textOr(listener, ''),
        port: typeof localPort === 'number' ? localPort : 0,
        upstream: textOr(upstream, ''),
      }
}

/**
 * The newest session with one connection; null: none, or the policy says by now that notifications come over TCP, or there are
 * two connections at this moment.
 */
export function loneSessionOf(
  events: readonly StoredEvent[],
  streams: readonly StreamListener[],
  open: (listener: string) => number,
): LoneSession | null {
  const newest = events.find(event => event.name === 'stream.lone-session')
  if (newest === undefined) return null
  const { listener, product, durationMs } = newest.fields
  const stream = streams.find(({ id }) => id === listener)
  if (stream?.udpNotifications === undefined || open(stream.id) >= 2) return null
  return {
    atMs: newest.timeMs,
    listener: stream.id,
    product: textOr(product, stream.id),
    durationMs: typeof durationMs === 'number' ? durationMs : 0,
    advice: stream.udpNotifications.advice,
  }
}

/** What the newest broken handshake ended with; null: not known. */
export function handshakeProblemOf(events: readonly StoredEvent[]): string | null {
  const newest = events.find(event => event.name === 'handshake.failed')
  const words = newest?.fields['problem']
  return typeof words === 'string' && words !== '' ? words : null
}

function textOr(value: unknown, otherwise: string): string {
  return typeof value === 'string' ? value : otherwise
}
