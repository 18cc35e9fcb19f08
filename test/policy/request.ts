// Builds the facts of a request as the edge would, for tests of decisions.
import { normaliseTarget } from '../../src/ips/target.ts'
import type { TlsVersion } from '../../src/net/tls-version.ts'
import { decideRequest } from '../../src/policy/decide-request.ts'
import type { RequestFacts, SourceFacts } from '../../src/policy/facts.ts'
import type { Listener, Name, Overlay, Snapshot } from '../../src/policy/snapshot.ts'
import type { ConnectionFacts, RequestVerdict } from '../../src/policy/standing.ts'
import type { Trace } from '../../src/policy/verdict.ts'
import { standingOf } from '../../src/policy/who.ts'
import { emptyOverlay, listener, source } from '../support/snapshot.ts'

/** Facts of a request; throws when the target would be refused. */
export function requestFacts(
  method: string,
  target: string,
  parts: {
    readonly host?: string
    readonly headers?: Readonly<Record<string, string>>
    readonly webSocket?: boolean
    readonly nowMs?: number
  } = {},
): RequestFacts {
  const normal = normaliseTarget(target)
  if (normal === undefined) throw new Error(`refused target ${target}`)
  const headers = new Map(Object.entries(parts.headers ?? {}))
  return {
    method,
    host: parts.host ?? 'rmm.example.test',
    target,
    ...normal,
    headers: { get: name => headers.get(name), raw: [...headers].flat() },
    webSocket: parts.webSocket ?? false,
    nowMs: parts.nowMs ?? 0,
  }
}

/** What a request is asked with; everything has a default. */
export type Asked = {
  readonly overlay?: Overlay
  readonly from?: SourceFacts
  readonly listener?: Listener
  readonly name?: Name
  readonly serverName?: string | null
  readonly tlsVersion?: TlsVersion
  readonly trace?: Trace
}

/** A digest for tests: reversible, and good enough to compare. */
export const testDigest = (text: string): string => `digest of ${text}`

/** Decides on a request from a US address over TLS 1.3, unless told otherwise. */
export function ask(snapshot: Snapshot, facts: RequestFacts, asked: Asked = {}): RequestVerdict {
  const connection: ConnectionFacts = {
    standing: standingOf(
      snapshot,
      asked.overlay ?? emptyOverlay(),
      asked.from ?? source('198.51.100.1', 'US'),
      facts.nowMs,
    ),
    listener: asked.listener ?? snapshot.listeners[0] ?? listener(),
    name: asked.name ?? (snapshot.names[0] as Name),
    serverName: asked.serverName === undefined ? 'rmm.example.test' : asked.serverName,
    tlsVersion: asked.tlsVersion ?? 'TLSv1.3',
  }
  return decideRequest(connection, facts, testDigest, asked.trace)
}

/** `class` of an allowed request, or the reason of a refusal. */
export function outcome(verdict: RequestVerdict): string {
  return verdict.allow ? verdict.class : verdict.refusal.reason
}
