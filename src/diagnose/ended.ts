// Exceptions that have ended: often the whole answer to "it worked yesterday".
import { formatSourceLine } from '../policy/source-line.ts'
import { isLive } from '../policy/who.ts'
import type { Evidence } from './finding.ts'

type Ended = {
  readonly what: string
  readonly reason: string
  readonly expiresMs: number
  readonly line: string
}

/** ` The exception that covered this ended on ...`, with a leading space; empty: none did. */
export function endedException(evidence: Evidence, kind: 'tls' | 'rule' | 'allow'): string {
  const newest = endedOf(evidence, kind).toSorted((a, b) => b.expiresMs - a.expiresMs)[0]
  if (newest === undefined) return ''
  // The last day counts in full: the moment of the end belongs to the day after.
  const day = new Date(newest.expiresMs - 1).toISOString().slice(0, 10)
  return ` ${newest.what} that covered this ended on ${day} (${newest.reason}; ${newest.line}).`
}

function endedOf(evidence: Evidence, kind: 'tls' | 'rule' | 'allow'): readonly Ended[] {
  const { explanation, ruleHit, nowMs } = evidence
  const { snapshot, site, source } = explanation.standing
  if (kind === 'tls') {
    const exception = site?.tlsException ?? null
    if (exception === null || isLive(exception.expiresMs, nowMs)) return []
    const { reason, expiresMs, at } = exception
    return [{ what: 'The TLS exception', reason, expiresMs, line: formatSourceLine(at) }]
  }
  if (kind === 'rule') {
    const rule = snapshot.rules.rules.find(entry => entry.id === ruleHit?.ruleId)
    return (rule?.exceptions ?? [])
      .filter(entry => !isLive(entry.expiresMs, nowMs))
      .map(({ reason, expiresMs, at }) => ({
        what: 'An exception from this rule',
        reason,
        expiresMs,
        line: formatSourceLine(at),
      }))
  }
  return snapshot.allow
    .matchAll(source.address)
    .flatMap(({ reason, expiresMs, at }) =>
      expiresMs === null || isLive(expiresMs, nowMs)
        ? []
        : [{ what: 'The allow', reason, expiresMs, line: formatSourceLine(at) }],
    )
}
