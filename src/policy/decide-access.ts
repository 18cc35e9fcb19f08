// The access question: is this class open to this source, over this TLS version, now, with this method and key?
import { tlsRank, type TlsVersion } from '../net/tls-version.ts'
import type { TrafficClass } from './classes.ts'
import type { RequestFacts } from './facts.ts'
import { openingFor, openingScope, type Opening } from './openings.ts'
import type { Reason } from './reasons.ts'
import type { AllowEntry, ClassKey, ClassPolicy } from './snapshot.ts'
import type { SourceLine } from './source-line.ts'
import type { Standing } from './standing.ts'
import { note, whileValid } from './trace.ts'
import { isTried, refuseUnlessTried, type WouldBe } from './trial.ts'
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
  /** Where it is asked, for trials; null: nothing is on trial. */
  readonly listener: string | null
  readonly nowMs: number
  readonly tlsVersion: TlsVersion | null
  readonly request: AccessRequest | null
}

/** The answer. A class is open when nothing refuses; `wouldBe` says what would, were it not for a trial. */
export type AccessVerdict = { readonly refusal: Refusal | null; readonly wouldBe: WouldBe | null }

// Shared, because almost every request gets this answer.
const OPEN: AccessVerdict = { refusal: null, wouldBe: null }

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
 */
export function decideAccess(
  standing: Standing,
  policy: ClassPolicy,
  question: AccessQuestion,
  trace?: Trace,
): AccessVerdict {
  const { nowMs, tlsVersion, request, listener } = question
  const allow = liveAllow(standing, question)
  const ban = standing.bans.find(
    entry => isLive(entry.expiresMs, nowMs) && covers(entry.classes, question.class),
  )
  const refuse: Refuse = (stage, reason, saw, line) =>
    refuseUnlessTried(trace, { standing, listener, nowMs }, stage, reason, saw, line)

  if (ban !== undefined) {
    if (allow === null)
      return after(
        OPEN,
        refuse('ban', 'banned', `${ban.range.text} (${ban.reason}${whileValid(ban)})`, ban.at),
      )
    if (trace)
      note(trace, 'ban', 'pass', ban.range.text, 'banned, but the explicit allow comes first', ban.at)
  }
  let verdict = OPEN
  if (
    tlsVersion !== null &&
    policy.minimumTls !== null &&
    tlsRank(tlsVersion) < tlsRank(policy.minimumTls.value)
  ) {
    const saw = `${question.class} over ${tlsVersion}`
    verdict = after(verdict, refuse('tls', 'tls-version-class', saw, policy.minimumTls.at))
    if (verdict.refusal !== null) return verdict
  }
  if (request !== null && policy.limits.methods?.has(request.facts.method) === false) {
    const saw = `${request.facts.method} for ${question.class}`
    return after(verdict, refuse('class', 'method-refused', saw, policy.access.at))
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
    return verdict
  }
  const opening = openingFor(standing, question.class, nowMs)
  if (opening !== null && trace) {
    const why = `opened for ${openingScope(opening)} by ${opening.owner}: ${opening.reason}${whileValid(opening)}`
    note(trace, 'access', 'pass', question.class, why, opening.at)
  }
  if (opening === null) verdict = after(verdict, decideSource(standing, policy, question, refuse))
  if (verdict.refusal === null && allow === null)
    verdict = after(verdict, decideCountry(standing, policy, question, refuse, trace))
  if (verdict.refusal === null)
    verdict = after(verdict, decideWindow(policy, question, allow ?? opening, refuse))
  if (verdict.refusal === null) verdict = after(verdict, decideKey(standing, policy, question, refuse, trace))
  if (trace && verdict.refusal === null) noteOpen(trace, standing, policy, question, allow ?? opening)
  return verdict
}

type Refuse = (stage: Stage, reason: Reason, saw: string, line: SourceLine) => Refusal | WouldBe

/** The answer after one more question; of what would refuse, the first counts: it is what enforcing would say. */
function after(verdict: AccessVerdict, found: Refusal | WouldBe | null): AccessVerdict {
  if (found === null) return verdict
  if (!isTried(found)) return { refusal: found, wouldBe: null }
  return verdict.wouldBe === null ? { refusal: null, wouldBe: found } : verdict
}

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

function decideWindow(
  policy: ClassPolicy,
  question: AccessQuestion,
  allow: AllowEntry | Opening | null,
  refuse: Refuse,
): Refusal | null {
  const isOpened = allow !== null && 'scope' in allow
  if (isOpened || inWindow(policy, question.nowMs)) return null
  return refuse('access', 'class-window', question.class, policy.windows[0]?.at ?? policy.access.at)
}

function decideKey(
  { trusted }: Standing,
  policy: ClassPolicy,
  question: AccessQuestion,
  refuse: Refuse,
  trace: Trace | undefined,
): Refusal | null {
  const { request } = question
  const [firstKey] = policy.keys
  if (trusted !== null || firstKey === undefined) return null
  if (request === null) {
    if (trace) note(trace, 'access', 'note', question.class, 'a key is needed as well', firstKey.at)
    return null
  }
  if (policy.keys.some(key => carriesKey(key, request))) return null
  return refuse('access', 'class-key', question.class, firstKey.at)
}

function noteOpen(
  trace: Trace,
  { trusted }: Standing,
  policy: ClassPolicy,
  question: AccessQuestion,
  allow: AllowEntry | Opening | null,
): void {
  const who =
    trusted !== null
      ? `trusted source ${trusted.value}`
      : allow !== null
        ? 'an allowed source'
        : 'this source'
  note(trace, 'access', 'pass', question.class, `${question.class} is open to ${who}`, policy.access.at)
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
