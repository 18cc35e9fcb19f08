// The accept decision: explicit allow, ban, connection limits, site, country. Cheapest refusal first.
import type { AcceptFacts } from './facts.ts'
import type { Reason } from './reasons.ts'
import type { Overlay, Snapshot } from './snapshot.ts'
import { BUILT_IN, type SourceLine } from './source-line.ts'
import type { AcceptVerdict, Standing } from './standing.ts'
import { note, whileValid } from './trace.ts'
import { isTried, refuseUnlessTried } from './trial.ts'
import type { Stage, Trace } from './verdict.ts'
import { admits, answerWithoutCountry, countryWord, standingOf } from './who.ts'

/** Decides whether a connection may go on to its ClientHello. Pure: asks again with a trace give the same verdict. */
export function decideAccept(
  snapshot: Snapshot,
  overlay: Overlay,
  facts: AcceptFacts,
  trace?: Trace,
): AcceptVerdict {
  const standing = standingOf(snapshot, overlay, facts.source, facts.nowMs)
  return decideStanding(standing, facts, trace)
}

/** Decides the accept phase for a standing that is already known; used again when the policy changes under a live connection. */
export function decideStanding(standing: Standing, facts: AcceptFacts, trace?: Trace): AcceptVerdict {
  const { snapshot, allow, ban, site } = standing
  const refuse = (stage: Stage, reason: Reason, saw: string, line: SourceLine): AcceptVerdict => {
    const { listener, nowMs } = facts
    const refusal = refuseUnlessTried(trace, { standing, listener, nowMs }, stage, reason, saw, line)
    return isTried(refusal)
      ? { allow: true, standing, wouldBe: refusal }
      : { allow: false, standing, refusal }
  }

  if (trace) {
    if (allow)
      note(
        trace,
        'allow',
        'pass',
        allow.range.text,
        `allowed explicitly: ${allow.reason}${whileValid(allow)}`,
        allow.at,
      )
    else
      note(
        trace,
        'allow',
        'note',
        facts.source.address.text,
        'no explicit allow covers this address',
        BUILT_IN,
      )
  }

  // An allow of some classes only cannot lift a general ban here: it is weighed again once the class is known.
  if (ban !== null && ban.classes === null && allow === null) {
    return refuse('ban', 'banned', `${ban.range.text} (${ban.reason}${whileValid(ban)})`, ban.at)
  }
  if (trace) {
    if (ban === null) note(trace, 'ban', 'pass', facts.source.address.text, 'not banned', BUILT_IN)
    else if (allow !== null)
      note(trace, 'ban', 'pass', ban.range.text, 'banned, but the explicit allow comes first', ban.at)
    else
      note(
        trace,
        'ban',
        'note',
        ban.range.text,
        `banned for ${[...(ban.classes ?? [])].join(', ')} only`,
        ban.at,
      )
  }

  const perSource = site?.connectionsPerSource ?? snapshot.limits.connectionsPerSource
  if (facts.openFromSource >= perSource) {
    return refuse(
      'limits',
      'connection-limit-source',
      `${facts.openFromSource} of ${perSource} open`,
      site?.at ?? BUILT_IN,
    )
  }
  if (facts.openTotal >= snapshot.limits.connections) {
    return refuse(
      'limits',
      'connection-limit-total',
      `${facts.openTotal} of ${snapshot.limits.connections} open`,
      BUILT_IN,
    )
  }
  if (trace) {
    note(
      trace,
      'limits',
      'pass',
      `${facts.openFromSource} of ${perSource} connections`,
      'within the connection limits',
      BUILT_IN,
    )
    if (site) note(trace, 'site', 'pass', `site ${site.id}`, `the address belongs to ${site.name}`, site.at)
    else
      note(
        trace,
        'site',
        'note',
        facts.source.address.text,
        'the address belongs to no recorded site',
        BUILT_IN,
      )
  }

  if (allow !== null) {
    if (trace)
      note(
        trace,
        'country',
        'pass',
        countryWord(standing.country),
        'not asked: the explicit allow comes first',
        allow.at,
      )
    return { allow: true, standing, wouldBe: null }
  }
  return decideCountry(standing, refuse, trace)
}

function decideCountry(
  standing: Standing,
  refuse: (stage: Stage, reason: Reason, saw: string, line: SourceLine) => AcceptVerdict,
  trace: Trace | undefined,
): AcceptVerdict {
  const { snapshot, country, site, trusted } = standing
  const word = countryWord(country)
  const known = site?.at ?? trusted?.at
  if (country.kind === 'country') {
    const siteCountries = site?.countries ?? null
    if (admits(snapshot.geo.admittedSomewhere, country.code)) {
      if (trace) note(trace, 'country', 'pass', word, 'some class is open to this country', snapshot.home.at)
      return { allow: true, standing, wouldBe: null }
    }
    if (siteCountries !== null && admits(siteCountries.value, country.code)) {
      if (trace) note(trace, 'country', 'pass', word, 'the site adds this country', siteCountries.at)
      return { allow: true, standing, wouldBe: null }
    }
    return refuse('country', 'country-refused', word, snapshot.home.at)
  }
  const answer = answerWithoutCountry(snapshot, country)
  if (known !== undefined || answer?.value !== 'refuse') {
    const why =
      known === undefined
        ? 'the policy admits addresses of this kind'
        : 'the address is recorded, so it needs no country'
    if (trace) note(trace, 'country', 'pass', word, why, known ?? answer?.at ?? BUILT_IN)
    return { allow: true, standing, wouldBe: null }
  }
  const reason: Reason =
    country.kind === 'unknown'
      ? 'country-unknown'
      : country.kind === 'unavailable'
        ? 'geo-unavailable'
        : 'network-refused'
  return refuse('country', reason, word, answer.at)
}
