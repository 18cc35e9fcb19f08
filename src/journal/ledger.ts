// The ledger: takes what later decisions need from each event and adds it up; the store drains it every few seconds.
import { TLS_VERSIONS, type TlsVersion } from '../net/tls-version.ts'
import type { TrafficClass } from '../policy/classes.ts'
import type { Ending, EventFields, EventName } from './events.ts'
import type { StreamFields } from './events-streams.ts'
import type { LedgerBatch, LedgerOutcome, LedgerShape } from './ledger-facts.ts'
import { createLedgerHour, LEDGER_LIMITS, type LedgerLimits, type LedgerState } from './ledger-hour.ts'
import { pathShape, portShape, userAgentFamily } from './path-shape.ts'
import { escapeControls, redactPath } from './redact.ts'

/** The ledger's running hour. */
export type Ledger = {
  /** Takes what the ledger needs from an event; other events are ignored. Costs well under a microsecond. */
  readonly record: <K extends EventName>(name: K, fields: EventFields[K], nowMs: number) => void
  /** Takes up to `maxCells` additions out; null when there are none. */
  readonly drain: (maxCells: number) => LedgerBatch | null
  readonly state: () => LedgerState
}

const METHODS = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'PROPFIND', 'CONNECT'])
const CACHED_TEXTS = 4_096

/** Makes a ledger. */
export function createLedger(limits: LedgerLimits = LEDGER_LIMITS): Ledger {
  const { sight, add, drain, state } = createLedgerHour(limits)
  const paths = new Map<string, string>()
  const agents = new Map<string, string>()
  const names = new Map<string, string>()

  const seeConnection = (
    phase: LedgerShape['phase'],
    listener: string,
    hello: {
      readonly serverName?: string | null
      readonly offered?: readonly TlsVersion[]
      readonly ja4?: string | null
    },
    negotiated: TlsVersion | null,
    outcome: LedgerOutcome,
  ): void => {
    sight.phase = phase
    sight.listener = listener
    sight.host = null
    sight.serverName = typeof hello.serverName === 'string' ? cached(names, hello.serverName, bounded) : null
    sight.class = null
    sight.method = null
    sight.path = null
    sight.webSocket = false
    sight.offeredMask = maskOf(hello.offered)
    sight.negotiated = negotiated
    sight.ja4 = hello.ja4?.slice(0, 48) ?? null
    sight.userAgent = 'none'
    sight.outcome = outcome
  }

  const seeRequest = (
    host: string,
    trafficClass: TrafficClass | null,
    method: string,
    path: string,
    webSocket: boolean,
    userAgent: string | null,
  ): void => {
    sight.host = cached(names, host, bounded)
    sight.class = trafficClass
    sight.method = METHODS.has(method) ? method : 'other'
    sight.path = cached(paths, path, shapeOfPath)
    sight.webSocket = webSocket
    sight.userAgent = userAgent === null ? 'none' : cached(agents, userAgent, userAgentFamily)
  }

  const seeStream = (
    f: StreamFields,
    offered: readonly TlsVersion[] | undefined,
    ja4: string | null,
    negotiated: TlsVersion | null,
    outcome: LedgerOutcome,
  ): void => {
    const { serverName } = f
    seeConnection('stream', f.listener, { serverName, offered: offered ?? [], ja4 }, negotiated, outcome)
    sight.class = f.class
    // Few distinct ones: a plan tells the ports and the services of a listener apart by them.
    sight.path = portShape(f.localPort)
    sight.method = f.start
  }

  const takes: { readonly [K in EventName]?: (fields: EventFields[K], nowMs: number) => void } = {
    'request.closed': (f, nowMs) => {
      const failed = isFailure(f.ending, f.status, f.webSocket)
      seeConnection('request', f.listener, f, f.tls, failed ? 'failed' : 'passed')
      seeRequest(f.host, f.class, f.method, f.path, f.webSocket, f.userAgent)
      // A WebSocket was counted when it opened, hours or days ago; its end counts only when it failed.
      const count = f.webSocket && f.status === 101 && !failed ? 0 : 1
      add(f.address, nowMs, count, f.bytesIn, f.bytesOut)
    },
    'websocket.opened': (f, nowMs) => {
      seeConnection('request', f.listener, f, f.tls ?? null, 'passed')
      seeRequest(f.host, f.class, 'GET', f.path, true, f.userAgent ?? null)
      add(f.address, nowMs, 1, 0, 0)
    },
    'request.refused': (f, nowMs) => {
      seeConnection('request', f.listener, f, f.tls, f.reason)
      seeRequest(f.host, f.class, f.method, f.path, f.webSocket ?? false, f.userAgent ?? null)
      add(f.address, nowMs, 1, 0, 0)
    },
    'connection.refused': (f, nowMs) => {
      seeConnection(f.phase, f.listener, f, null, f.reason)
      add(f.address, nowMs, 1, 0, 0)
    },
    'connection.silent': (f, nowMs) => {
      seeConnection('accept', f.listener, {}, null, 'silent')
      add(f.address, nowMs, 1, 0, 0)
    },
    'handshake.failed': (f, nowMs) => {
      seeConnection('hello', f.listener, f, null, 'handshake-failed')
      add(f.address, nowMs, 1, 0, 0)
    },
    'heartbeat.refused': (f, nowMs) => {
      seeConnection('datagram', f.listener, {}, null, f.reason)
      sight.class = f.class ?? 'heartbeat'
      add(f.address, nowMs, f.count, 0, 0)
    },
    'heartbeat.counted': (f, nowMs) => {
      seeConnection('datagram', f.listener, {}, null, f.answered ? 'passed' : 'failed')
      sight.class = 'heartbeat'
      add(f.address, nowMs, f.heartbeats, f.bytesIn, f.bytesOut)
    },
    'stream.refused': (f, nowMs) => {
      seeStream(f, f.offered, f.ja4, null, f.reason)
      add(f.address, nowMs, 1, 0, 0)
    },
    'stream.opened': (f, nowMs) => {
      seeStream(f, undefined, null, f.negotiated, 'passed')
      add(f.address, nowMs, 1, 0, 0)
    },
    'stream.counted': (f, nowMs) => {
      seeStream(f, undefined, null, null, 'passed')
      add(f.address, nowMs, 1, f.bytesIn, f.bytesOut)
    },
    'stream.closed': (f, nowMs) => {
      // It was counted when it opened; its end counts only when it failed.
      const failed = f.ending.startsWith('upstream-') || f.ending === 'internal-error'
      seeStream(f, undefined, null, null, failed ? 'failed' : 'passed')
      add(f.address, nowMs, failed ? 1 : 0, f.freshIn, f.freshOut)
    },
    'connection.closed': (f, nowMs) => {
      if (f.requests > 0) return
      seeConnection('hello', f.listener, f, f.negotiated, 'passed')
      add(f.address, nowMs, 1, f.bytesIn, f.bytesOut)
    },
  }

  return { record: (name, fields, nowMs) => takes[name]?.(fields, nowMs), drain, state }
}

function maskOf(offered: readonly TlsVersion[] | undefined): number {
  let mask = 0
  if (offered !== undefined) for (const version of offered) mask |= 1 << TLS_VERSIONS.indexOf(version)
  return mask
}

/** Whether traffic that was let through came to a bad end: cut short, or answered with a server error. */
export function isFailure(ending: Ending, status: number, webSocket: boolean): boolean {
  if (status >= 500) return true
  if (webSocket) return ending.startsWith('upstream-') || ending === 'internal-error'
  return ending !== 'complete'
}

function shapeOfPath(path: string): string {
  return pathShape(redactPath(path))
}

function cached(cache: Map<string, string>, text: string, make: (text: string) => string): string {
  const known = cache.get(text)
  if (known !== undefined) return known
  if (cache.size >= CACHED_TEXTS) cache.clear()
  const made = make(text)
  cache.set(text, made)
  return made
}

function bounded(text: string): string {
  return escapeControls(text.length <= 120 ? text : text.slice(0, 120))
}
