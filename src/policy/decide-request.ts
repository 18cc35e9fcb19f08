// The request decision: host, class, access (country, source, TLS, window, key), rules on the head; later rules on the body.
import type { RuleHit } from '../ips/rule-set.ts'
import { tlsRank } from '../net/tls-version.ts'
import type { TrafficClass } from './classes.ts'
import { classify } from './classify.ts'
import { findName } from './decide-hello.ts'
import type { RequestFacts } from './facts.ts'
import type { Reason } from './reasons.ts'
import type { ClassKey, ClassPolicy, Name } from './snapshot.ts'
import { BUILT_IN, type SourceLine } from './source-line.ts'
import type { ConnectionFacts, RequestVerdict } from './standing.ts'
import { note, refuseWith, whileValid } from './trace.ts'
import type { Refusal, Stage, Trace } from './verdict.ts'
import { admits, answerWithoutCountry, countryWord, covers, isLive } from './who.ts'

/** What the request decision needs beside facts: a digest, because the pure core has no cryptography of its own. */
export type Digest = (text: string) => string

const NO_HITS: readonly RuleHit[] = []

/** Decides on the head of a request. The verdict names the class, so that limits and events follow from it. */
export function decideRequest(
  connection: ConnectionFacts,
  facts: RequestFacts,
  sha256Hex: Digest,
  trace?: Trace,
): RequestVerdict {
  const { standing } = connection
  const name = decideHost(connection, facts, trace)
  if ('reason' in name) return { allow: false, class: null, refusal: name, hits: NO_HITS }

  const rule = classify(name.profile, facts)
  const trafficClass = rule?.class ?? 'other'
  const policy = classPolicy(connection, trafficClass)
  if (trace) {
    const why = rule
      ? `profile ${name.profile.id} calls this ${trafficClass}`
      : `no line of profile ${name.profile.id} names it`
    note(trace, 'class', 'pass', `${facts.method} ${facts.path}`, why, rule?.at ?? BUILT_IN)
  }

  const refusal = decideAccess(connection, facts, trafficClass, policy, sha256Hex, trace)
  if (refusal !== null) return { allow: false, class: trafficClass, refusal, hits: NO_HITS }

  const hits = standing.snapshot.rules.matchHead(facts, {
    class: trafficClass,
    site: standing.site?.id ?? null,
    sourceText: standing.source.address.text,
    nowMs: facts.nowMs,
  })
  return afterRules(trafficClass, name, policy, hits, trace)
}

/** Turns rule hits into a verdict; the same for heads, bodies and messages. */
export function afterRules(
  trafficClass: TrafficClass,
  name: Name,
  policy: ClassPolicy,
  hits: readonly RuleHit[],
  trace?: Trace,
): RequestVerdict {
  for (const hit of hits) {
    if (hit.mode !== 'enforce' || hit.exception !== null) {
      const why =
        hit.exception === null
          ? `rule ${hit.ruleId} is set to detect`
          : `rule ${hit.ruleId} has an exception here`
      if (trace) note(trace, 'rules', 'note', `${hit.field}: ${hit.value}`, why, hit.exception ?? hit.at)
      continue
    }
    const saw = `${hit.ruleId} in ${hit.field}`
    return {
      allow: false,
      class: trafficClass,
      refusal: refuseWith(trace, 'rules', 'rule', saw, hit.at),
      hits,
    }
  }
  if (trace) note(trace, 'rules', 'pass', `${hits.length} rules fired`, 'no enforcing rule fired', BUILT_IN)
  return { allow: true, class: trafficClass, name, policy, hits }
}

/** The class policy that holds for a source: its site's, when the site has one. */
export function classPolicy(
  connection: Pick<ConnectionFacts, 'standing'>,
  trafficClass: TrafficClass,
): ClassPolicy {
  const { snapshot, site } = connection.standing
  const policy = site?.classes.get(trafficClass) ?? snapshot.classes.get(trafficClass)
  if (policy === undefined) throw new Error(`snapshot without a policy for class ${trafficClass}`)
  return policy
}

function decideHost(
  connection: ConnectionFacts,
  facts: RequestFacts,
  trace: Trace | undefined,
): Name | Refusal {
  const { standing, listener, name, serverName } = connection
  if (facts.host === name.host || facts.host === serverName) {
    if (trace) note(trace, 'host', 'pass', facts.host, 'same as the TLS server name', name.at)
    return name
  }
  const other = findName(standing.snapshot, facts.host)
  if (other === undefined) return refuseWith(trace, 'host', 'host-unknown', facts.host, listener.at)
  if (serverName !== null && other !== name) {
    return refuseWith(trace, 'host', 'host-mismatch', `${facts.host}, TLS server name ${serverName}`, name.at)
  }
  // A client without SNI was placed by the listener; it may name another host only where that one is no stricter in TLS.
  if (serverName === null && other.tlsProfile !== name.tlsProfile) {
    return refuseWith(trace, 'host', 'host-mismatch', `${facts.host} without a TLS server name`, other.at)
  }
  if (trace) note(trace, 'host', 'pass', facts.host, 'the host is served', other.at)
  return other
}

function decideAccess(
  connection: ConnectionFacts,
  facts: RequestFacts,
  trafficClass: TrafficClass,
  policy: ClassPolicy,
  sha256Hex: Digest,
  trace: Trace | undefined,
): Refusal | null {
  const { standing, tlsVersion } = connection
  const { snapshot, site, trusted } = standing
  const refuse = (stage: Stage, reason: Reason, saw: string, line: SourceLine): Refusal =>
    refuseWith(trace, stage, reason, saw, line)
  const allow =
    standing.allow !== null &&
    isLive(standing.allow.expiresMs, facts.nowMs) &&
    covers(standing.allow.classes, trafficClass)
      ? standing.allow
      : null
  const { ban } = standing

  if (
    allow === null &&
    ban !== null &&
    isLive(ban.expiresMs, facts.nowMs) &&
    covers(ban.classes, trafficClass)
  ) {
    return refuse('ban', 'banned', `${ban.range.text} (${ban.reason}${whileValid(ban)})`, ban.at)
  }
  if (policy.minimumTls !== null && tlsRank(tlsVersion) < tlsRank(policy.minimumTls.value)) {
    return refuse('tls', 'tls-version-class', `${trafficClass} over ${tlsVersion}`, policy.minimumTls.at)
  }
  if (policy.limits.methods?.has(facts.method) === false) {
    return refuse('class', 'method-refused', `${facts.method} for ${trafficClass}`, policy.access.at)
  }
  if (allow !== null) {
    if (trace) note(trace, 'access', 'pass', trafficClass, `explicit allow: ${allow.reason}`, allow.at)
    return null
  }

  if (policy.access.value === 'closed')
    return refuse('access', 'class-closed', trafficClass, policy.access.at)
  if (policy.access.value === 'trusted' && trusted === null) {
    return refuse(
      'access',
      'class-source',
      `${trafficClass} from ${standing.source.address.text}`,
      policy.access.at,
    )
  }
  const country = standing.country
  if (country.kind === 'country') {
    const bySite = site?.countries ?? null
    if (
      !admits(policy.countries.value, country.code) &&
      !(bySite !== null && admits(bySite.value, country.code))
    ) {
      return refuse('country', 'class-country', `${trafficClass} from ${country.code}`, policy.countries.at)
    }
    if (trace)
      note(
        trace,
        'country',
        'pass',
        country.code,
        `${trafficClass} is open to this country`,
        policy.countries.at,
      )
  } else if (site === null && trusted === null) {
    const answer = answerWithoutCountry(snapshot, country)
    if (answer?.value === 'refuse') {
      return refuse('country', 'class-country', `${trafficClass} from ${countryWord(country)}`, answer.at)
    }
  }
  if (!inWindow(policy, facts.nowMs)) {
    return refuse('access', 'class-window', trafficClass, policy.windows[0]?.at ?? policy.access.at)
  }
  if (
    trusted === null &&
    policy.keys.length > 0 &&
    !policy.keys.some(key => carriesKey(key, facts, sha256Hex))
  ) {
    return refuse('access', 'class-key', trafficClass, policy.keys[0]?.at ?? policy.access.at)
  }
  if (trace) {
    const who = trusted === null ? 'this source' : `trusted source ${trusted.value}`
    note(trace, 'access', 'pass', trafficClass, `${trafficClass} is open to ${who}`, policy.access.at)
  }
  return null
}

const MINUTES_PER_WEEK = 7 * 24 * 60
// 1970-01-01 was a Thursday: three days after a Monday.
const EPOCH_OFFSET_MINUTES = 3 * 24 * 60

function inWindow(policy: ClassPolicy, nowMs: number): boolean {
  if (policy.windows.length === 0) return true
  const minute = (Math.floor(nowMs / 60_000) + EPOCH_OFFSET_MINUTES) % MINUTES_PER_WEEK
  return policy.windows.some(({ fromMinute, toMinute }) =>
    fromMinute <= toMinute
      ? minute >= fromMinute && minute < toMinute
      : minute >= fromMinute || minute < toMinute,
  )
}

function carriesKey(key: ClassKey, facts: RequestFacts, sha256Hex: Digest): boolean {
  const value = keyValue(key, facts)
  // Comparing digests leaks nothing useful through timing: the attacker does not choose the digest's prefix.
  return value !== undefined && value.length <= 1024 && sha256Hex(value) === key.sha256Hex
}

function keyValue(key: ClassKey, facts: RequestFacts): string | undefined {
  switch (key.place) {
    case 'header':
      return facts.headers.get(key.name)
    case 'query':
      return pairValue(facts.query.split('&'), key.name)
    case 'cookie':
      return pairValue((facts.headers.get('cookie') ?? '').split(/; ?/), key.name)
  }
}

function pairValue(pairs: readonly string[], name: string): string | undefined {
  for (const pair of pairs) {
    const equals = pair.indexOf('=')
    if (equals > 0 && pair.slice(0, equals) === name) return pair.slice(equals + 1)
  }
  return undefined
}
