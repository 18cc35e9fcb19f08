// The hello decision: is the name served, is the offered TLS version enough, is anything alive behind it, does a rule object?
import { strongestTls, tlsRank, type TlsVersion } from '../net/tls-version.ts'
import type { RuleHit } from '../ips/rule-set.ts'
import type { HelloFacts } from './facts.ts'
import { isMeant, onlyFromText } from './only-from.ts'
import { OWN_ALPN } from './own-path.ts'
import { refusalOfHits } from './rule-hits.ts'
import { helloScope } from './rule-scope.ts'
import type { Listener, Name, Snapshot, TlsProfileName } from './snapshot.ts'
import { BUILT_IN, type SourceLine } from './source-line.ts'
import type { HelloVerdict, Standing } from './standing.ts'
import { note, refuseWith, whileValid } from './trace.ts'
import { isTried, refuseUnlessTried, type WouldBe } from './trial.ts'
import type { Trace } from './verdict.ts'
import { isLive } from './who.ts'

const NO_HITS: readonly RuleHit[] = []

/** Finds the name entry for a host: exact first, then a wildcard for one label. */
export function findName(snapshot: Pick<Snapshot, 'names'>, host: string): Name | undefined {
  let wildcard: Name | undefined
  const dot = host.indexOf('.')
  const suffix = dot > 0 ? host.slice(dot) : undefined
  for (const name of snapshot.names) {
    if (name.host === host) return name
    if (suffix !== undefined && name.host.startsWith('*.') && name.host.slice(1) === suffix) wildcard ??= name
  }
  return wildcard
}

/**
 * Decides on a ClientHello: which name it is for and which TLS profile carries it on.
 * The strongest profile that the client can meet is chosen; a legacy exception is used only by clients that need it.
 */
export function decideHello(
  standing: Standing,
  listener: Listener,
  hello: HelloFacts,
  isUpstreamUp: (group: string) => boolean,
  nowMs: number,
  trace?: Trace,
): HelloVerdict {
  const { snapshot } = standing
  const wanted = hello.serverName ?? listener.withoutName
  if (wanted === null) {
    const refusal = refuseWith(trace, 'name', 'name-missing', 'no server name', listener.at)
    return { allow: false, name: null, refusal, hits: NO_HITS }
  }
  const name = findName(snapshot, wanted)
  if (name === undefined) {
    const refusal = refuseWith(trace, 'name', 'name-unknown', wanted, listener.at)
    return { allow: false, name: null, refusal, hits: NO_HITS }
  }
  const own = name.dashboard
  if (own !== undefined && !isMeant(standing, own.onlyFrom)) {
    // The same alert as for a name that does not exist; the event says what it was.
    const saw = `${wanted}, which serves the dashboard to ${onlyFromText(own.onlyFrom)} only`
    const refusal = refuseWith(trace, 'name', 'name-unknown', saw, own.onlyFrom.at)
    return { allow: false, name: null, refusal, hits: NO_HITS }
  }
  if (trace) note(trace, 'name', 'pass', wanted, 'the name is served', name.at)

  let profile = chooseTlsProfile(standing, listener, name, hello.versions, nowMs, trace)
  let wouldBe: WouldBe | null = null
  if (profile === null) {
    const { saw, at } = whyTooLow(standing, listener, name, hello.versions, nowMs)
    const place = { standing, listener: listener.id, nowMs }
    const refusal = refuseUnlessTried(trace, place, 'tls', 'tls-version-too-low', saw, at)
    profile = weakestProfile(hello.versions)
    if (!isTried(refusal) || profile === null) return { allow: false, name, refusal, hits: NO_HITS }
    wouldBe = refusal
  }

  if (name.whenDown === 'reset' && !hello.alpn.includes(OWN_ALPN) && !isUpstreamUp(name.upstream)) {
    const refusal = refuseWith(trace, 'upstream', 'upstream-down', `group ${name.upstream}`, name.at)
    return { allow: false, name, refusal, hits: NO_HITS }
  }
  if (trace)
    note(
      trace,
      'upstream',
      'pass',
      `group ${name.upstream}`,
      'a server is up, or the name answers 503 when none is',
      name.at,
    )
  if (hello.ja4 === '') {
    // Only questions of people come without a fingerprint: rules would judge a ClientHello that nobody sent.
    if (trace)
      note(trace, 'rules', 'note', 'no ClientHello', 'rules on the ClientHello were not asked', BUILT_IN)
    return { allow: true, name, tlsProfile: profile, wouldBe, hits: NO_HITS }
  }
  const hits = snapshot.rules.matchHello(hello, helloScope(standing, listener, nowMs))
  const refusal = refusalOfHits(hits, trace)
  if (refusal !== null) return { allow: false, name, refusal, hits }
  return { allow: true, name, tlsProfile: profile, wouldBe, hits }
}

/** What a refusal for the TLS version saw, and the line to change: an exception that is there but does not help comes first. */
function whyTooLow(
  standing: Standing,
  listener: Listener,
  name: Name,
  offered: readonly TlsVersion[],
  nowMs: number,
): { saw: string; at: SourceLine } {
  const versions =
    offered.length === 0 ? 'no TLS version that the gate knows' : `offered ${offered.join(', ')}`
  const exception = standing.site?.tlsException ?? null
  if (exception === null) return { saw: versions, at: name.tlsProfile === null ? listener.at : name.at }
  const until = new Date(exception.expiresMs).toISOString()
  const why = isLive(exception.expiresMs, nowMs)
    ? `the exception of the site reaches down to ${exception.minimum} only`
    : `the exception of the site ended at ${until}`
  return { saw: `${versions}; ${why}`, at: exception.at }
}

/**
 * The TLS profile for a client that offers these versions; null: it offers too little.
 * A legacy exception counts only for clients that cannot meet the usual profile, and only while it lasts.
 */
export function chooseTlsProfile(
  standing: Standing,
  listener: Pick<Listener, 'tlsProfile' | 'at'>,
  name: Pick<Name, 'tlsProfile' | 'at'>,
  offered: readonly TlsVersion[],
  nowMs: number,
  trace?: Trace,
): TlsProfileName | null {
  const best = strongestTls(offered)
  if (best === undefined) return null
  const { snapshot, site } = standing
  const usual = name.tlsProfile ?? listener.tlsProfile
  const usualAt = name.tlsProfile === null ? listener.at : name.at
  const usualMinimum = snapshot.tlsProfiles.get(usual)?.minimum
  if (usualMinimum !== undefined && tlsRank(best) >= tlsRank(usualMinimum)) {
    if (trace)
      note(
        trace,
        'tls',
        'pass',
        `offered ${offered.join(', ')}`,
        `meets ${usualMinimum} of TLS profile ${usual}`,
        usualAt,
      )
    return usual
  }
  const exception = site?.tlsException ?? null
  if (exception === null) return null
  if (!isLive(exception.expiresMs, nowMs)) {
    if (trace)
      note(
        trace,
        'tls',
        'note',
        `offered ${offered.join(', ')}`,
        'the TLS exception of the site has expired',
        exception.at,
      )
    return null
  }
  if (tlsRank(best) < tlsRank(exception.minimum)) return null
  if (trace) {
    const why = `below ${usualMinimum ?? 'the minimum'}, but the site has an exception: ${exception.reason}${whileValid(exception)}`
    note(trace, 'tls', 'pass', `offered ${offered.join(', ')}`, why, exception.at)
  }
  return weakestProfile(offered)
}

/**
 * The profile for a client that is let in below the usual minimum; null: it offers nothing that the gate knows.
 * Only a client that needs the weak profile gets it: from a strict listener, TLS 1.2 falls back to the modern one.
 */
export function weakestProfile(offered: readonly TlsVersion[]): TlsProfileName | null {
  const best = strongestTls(offered)
  if (best === undefined) return null
  return tlsRank(best) >= tlsRank('TLSv1.2') ? 'modern' : 'legacy'
}
