// Where rules stand when they are asked: the part of a standing that scopes their modes and exceptions.
import type { HelloScope, RuleScope } from '../ips/rule-set.ts'
import type { TrafficClass } from './classes.ts'
import type { Listener } from './snapshot.ts'
import type { ConnectionFacts, Standing } from './standing.ts'
import { countryWord } from './who.ts'

const NONE: ReadonlySet<string> = new Set()

/** The scope of a ClientHello. */
export function helloScope(standing: Standing, listener: Pick<Listener, 'id'>, nowMs: number): HelloScope {
  return {
    listener: listener.id,
    country: countryWord(standing.country),
    site: standing.site?.id ?? null,
    sourceText: standing.source.address.text,
    nowMs,
    promoted: standing.overlay.promotedRules ?? NONE,
  }
}

/** The scope of a request, its body and its messages. */
export function ruleScope(
  { standing, listener }: Pick<ConnectionFacts, 'standing' | 'listener'>,
  trafficClass: TrafficClass,
  nowMs: number,
): RuleScope {
  // Written out rather than spread: this object is made for every request.
  return {
    class: trafficClass,
    listener: listener.id,
    country: countryWord(standing.country),
    site: standing.site?.id ?? null,
    sourceText: standing.source.address.text,
    nowMs,
    promoted: standing.overlay.promotedRules ?? NONE,
  }
}
