// The access question: is this class open to this source, over this TLS version, now, with this method and key?
import { tlsRank, type TlsVersion } from '../net/tls-version.ts'
import type { TrafficClass } from './classes.ts'
import type { RequestFacts } from './facts.ts'
import { openingFor, openingScope, type Opening } from './openings.ts'
import type { Reason } from './reasons.ts'
import type { AllowEntry, ClassKey, ClassPolicy } from './snapshot.ts'
import type { SourceLine } from './source-line.ts'
import type { Standing } from './standing.ts'
import { note, refuseWith, whileValid } from './trace.ts'
import type { Refusal, Stage, Trace } from './verdict.ts'
import { admits, answerWithoutCountry, countryWord, covers, isLive } from './who.ts'

/** A one-way digest as lower-case hex (SHA-256): the pure core has no cryptography of its own. */
export type Digest = (text: string) => string

/** What a concrete request adds to the question. */
export type AccessRequest = {
  readonly facts: Pick<RequestFacts, 'method' | 'query' | 'headers'>
  readonly sha256Hex: Digest
}

/** The question. Null parts are not asked: an explanation knows neither method nor key. */
export type AccessQuestion = {
  readonly class: TrafficClass
  readonly nowMs: number
  readonly tlsVersion: TlsVersion | null
  readonly request: AccessRequest | null
}

/** The class policy that holds for a source: its site's, when the site has one. */
export function classPolicy(
  connection: { readonly standing: Pick<Standing, 'snapshot' | 'site'> },
  trafficClass: TrafficClass,
): ClassPolicy {
  const { snapshot, site } = connection.standing
  const policy = site?.classes.get(trafficClass) ?? snapshot.classes.get(trafficClass)
  if (policy === undefined) throw new Error(`snapshot without a policy for class ${trafficClass}`)
  return policy
}

/**
 * Decides whether a class is open to a source.
 *
 * An explicit allow lifts bans and countries for the classes that it covers. Only an allow that names the class also opens
 * what the policy closes, keeps for trusted sources, or ties to a key or a window: "allow this address" must not hand out
 * the console. No allow lifts limits, TLS versions, methods or rules. An opening (see openings.ts) lifts less: only what
 * the policy closes, keeps for trusted sources, or ties to a window.
 * @returns the refusal, or null when the class is open
 */
export function decideAccess(
  standing: Standing,
  policy: ClassPolicy,
  question: AccessQuestion,
  trace?: Trace,
): Refusal | null {
  const { nowMs, tlsVersion, request } = question
  const allow = liveAllow(standing, question)
  const ban = standing.bans.find(
    entry => isLive(entry.expiresMs, nowMs) && covers(entry.classes, question.class),
  )
  const refuse = (stage: Stage, reason: Reason, saw: string, line: SourceLine): Refusal =>
    refuseWith(trace, stage, reason, saw, line)

  if (ban !== undefined) {
    if (allow === null)
      return refuse('ban', 'banned', `${ban.range.text} (${ban.reason}${whileValid(ban)})`, ban.at)
    if (trace)
      note(trace, 'ban', 'pass', ban.range.text, 'banned, but the explicit allow comes first', ban.at)
  }
  if (
    tlsVersion !== null &&
    policy.minimumTls !== null &&
    tlsRank(tlsVersion) < tlsRank(policy.minimumTls.value)
  ) {
    return refuse('tls', 'tls-version-class', `${question.class} over ${tlsVersion}`, policy.minimumTls.at)
  }
  if (request !== null && policy.limits.methods?.has(request.facts.method) === false) {
    return refuse(
      'class',
      'method-refused',
      `${request.facts.method} for ${question.class}`,
      policy.access.at,
    )
  }
  if (allow?.classes !== null && allow !== null) {
    if (trace)
      note(
        trace,
        'access',
        'pass',
        question.class,
        `explicit allow of ${question.class}: ${allow.reason}${whileValid(allow)}`,
        allow.at,
      )
    return null
  }
  const opening = openingFor(standing, question.class, nowMs)
  if (opening !== null && trace) {
    const why = `opened for ${openingScope(opening)} by ${opening.owner}: ${opening.reason}${whileValid(opening)}`
    note(trace, 'access', 'pass', question.class, why, opening.at)
  }
  return (
    (opening === null ? decideSource(standing, policy, question, refuse) : null) ??
    (allow === null ? decideCountry(standing, policy, question, refuse, trace) : null) ??
    decideTimeAndKey(standing, policy, question, allow ?? opening, refuse, trace)
  )
}

type Refuse = (stage: Stage, reason: Reason, saw: string, line: SourceLine) => Refusal

/** The live allow for the class; one that names the class comes before one for everything. */
function liveAllow(standing: Standing, { nowMs, class: trafficClass }: AccessQuestion): AllowEntry | null {
  let general: AllowEntry | null = null
  for (const entry of standing.allows) {
    if (!isLive(entry.expiresMs, nowMs) || !covers(entry.classes, trafficClass)) continue
    if (entry.classes !== null) return entry
    general ??= entry
  }
  return general
}

function decideSource(
  standing: Standing,
  policy: ClassPolicy,
  question: AccessQuestion,
  refuse: Refuse,
): Refusal | null {
  if (policy.access.value === 'closed') {
    return refuse('access', 'class-closed', question.class, policy.access.at)
  }
  if (policy.access.value === 'trusted' && standing.trusted === null) {
    const saw = `${question.class} from ${standing.source.address.text}`
    return refuse('access', 'class-source', saw, policy.access.at)
  }
  return null
}

function decideCountry(
  standing: Standing,
  policy: ClassPolicy,
  question: AccessQuestion,
  refuse: Refuse,
  trace: Trace | undefined,
): Refusal | null {
  const { country, site, trusted } = standing
  const word = countryWord(country)
  if (country.kind === 'country') {
    const bySite = site?.countries ?? null
    const byClass = admits(policy.countries.value, country.code)
    const line = byClass || bySite === null ? policy.countries.at : bySite.at
    if (!byClass && !(bySite !== null && admits(bySite.value, country.code))) {
      return refuse('country', 'class-country', `${question.class} from ${word}`, policy.countries.at)
    }
    if (trace) note(trace, 'country', 'pass', word, `${question.class} is open to this country`, line)
    return null
  }
  const answer = answerWithoutCountry(standing.snapshot, country)
  if (site === null && trusted === null && answer?.value === 'refuse') {
    return refuse('country', 'class-country', `${question.class} from ${word}`, answer.at)
  }
  return null
}

function decideTimeAndKey(
  standing: Standing,
  policy: ClassPolicy,
  question: AccessQuestion,
  allow: AllowEntry | Opening | null,
  refuse: Refuse,
  trace: Trace | undefined,
): Refusal | null {
  const { trusted } = standing
  const isOpened = allow !== null && 'scope' in allow
  if (!isOpened && !inWindow(policy, question.nowMs)) {
    return refuse('access', 'class-window', question.class, policy.windows[0]?.at ?? policy.access.at)
  }
  const { request } = question
  const [firstKey] = policy.keys
  if (trusted === null && firstKey !== undefined) {
    if (request === null) {
      if (trace) note(trace, 'access', 'note', question.class, 'a key is needed as well', firstKey.at)
    } else if (!policy.keys.some(key => carriesKey(key, request))) {
      return refuse('access', 'class-key', question.class, firstKey.at)
    }
  }
  if (trace) {
    const who =
      trusted !== null
        ? `trusted source ${trusted.value}`
        : allow !== null
          ? 'an allowed source'
          : 'this source'
    note(trace, 'access', 'pass', question.class, `${question.class} is open to ${who}`, policy.access.at)
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

const MAX_KEY_LENGTH = 1024

function carriesKey(key: ClassKey, { facts, sha256Hex }: AccessRequest): boolean {
  const value = keyValue(key, facts)
  if (value === undefined || value.length > MAX_KEY_LENGTH) return false
  // Comparing digests leaks nothing useful through timing: the attacker does not choose the digest's prefix.
  if (sha256Hex(value) === key.sha256Hex) return true
  if (key.place !== 'query' || !value.includes('%')) return false
  try {
    return sha256Hex(decodeURIComponent(value)) === key.sha256Hex
  } catch {
    return false
  }
}

function keyValue(key: ClassKey, facts: AccessRequest['facts']): string | undefined {
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
