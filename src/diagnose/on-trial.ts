// Who passes only because of a trial, and what to do before it ends: the fixes of refusals, asked before anybody is refused.
import { strongestTls, tlsRank, type TlsVersion } from '../net/tls-version.ts'
import type { TrafficClass } from '../policy/classes.ts'
import { REASONS, type Reason } from '../policy/reasons.ts'
import { formatSourceLine } from '../policy/source-line.ts'
import { liveTrials, type WouldBe } from '../policy/trial.ts'
import { countryWord } from '../policy/who.ts'
import { fixContext, subjectOf, timeWords, type Diagnosis, type Evidence } from './finding.ts'
import { makeFix, type Fix } from './fix.ts'
import * as fixes from './fixes.ts'

/** Says that the source passes only because of a trial; null: it does not, or nothing is on trial. */
export function onTrial(evidence: Evidence): Diagnosis | null {
  const { explanation, nowMs } = evidence
  const { standing } = explanation
  if (liveTrials(standing.snapshot, nowMs).length === 0) return null
  const used = usedClasses(evidence)
  const { verdict } = explanation.accept
  const tls = weakestOffer(evidence)
  const found =
    (verdict.allow ? verdict.wouldBe : null) ??
    wouldBeOver(evidence, tls) ??
    explanation.classes.find(entry => used.includes(entry.class) && entry.wouldBe !== null)?.wouldBe ??
    null
  if (found === null) return null
  const { reason, saw, line, trial } = found
  const classes = explanation.classes.filter(entry => used.includes(entry.class) && entry.wouldBe !== null)
  const { names } = standing.snapshot
  return {
    cause: 'trial',
    healthy: true,
    sentence: `${subjectOf(evidence)} gets through only because of the trial (${formatSourceLine(trial.at)}): from ${timeWords(trial.expiresMs)} it is refused because ${REASONS[reason].because}: ${saw} (${formatSourceLine(line)}).`,
    evidence: [],
    fix: fixOfTried({
      context: fixContext(evidence),
      reason,
      classes: classes.map(entry => entry.class),
      country: countryWord(standing.country),
      tls,
      product: names[0]?.profile.id ?? '',
    }),
  }
}

function usedClasses({ activity }: Evidence): readonly TrafficClass[] {
  return (activity?.classes ?? []).filter(entry => entry.passed > 0).map(entry => entry.class)
}

/** The weakest of what clients of the source offer at best; null: none has offered anything. */
function weakestOffer({ activity }: Evidence): TlsVersion | null {
  const best = (activity?.offered ?? []).flatMap(({ versions }) => strongestTls(versions) ?? [])
  return best.length === 0 ? null : best.reduce((a, b) => (tlsRank(a) <= tlsRank(b) ? a : b))
}

function wouldBeOver({ explanation }: Evidence, version: TlsVersion | null): WouldBe | null {
  const verdict = explanation.hello.find(
    ({ offered }) => version !== null && offered.includes(version),
  )?.verdict
  return verdict?.allow === true ? verdict.wouldBe : null
}

/** What would be refused. */
export type TriedThing = {
  readonly context: fixes.FixContext
  readonly reason: Reason
  readonly classes: readonly TrafficClass[]
  /** ISO code, or what stands for it. */
  readonly country: string
  /** The strongest version that all of the clients offer; null: not known. */
  readonly tls: TlsVersion | null
  /** What the clients are, for steps at the device. */
  readonly product: string
}

/** The fix, without what only helps for now: nothing is refused yet. */
export function fixOfTried({ context, reason, classes, country, tls, product }: TriedThing): Fix {
  if (reason === 'tls-version-too-low') return fixes.oldTls(context, tls, product)
  if (reason === 'tls-version-class') return fixes.classTls(context, classes, tls)
  if (!OF_COUNTRIES.has(reason)) return lasting(fixes.openClass(context, reason, classes))
  const geo = { resolved: UNKNOWN, first: null, second: null, databaseLoaded: true }
  return lasting(fixes.admitCountry(context, country, geo))
}

const OF_COUNTRIES: ReadonlySet<Reason> = new Set<Reason>([
  'country-refused',
  'class-country',
  'country-unknown',
  'network-refused',
  'geo-unavailable',
])
const UNKNOWN = { kind: 'unknown' } as const

function lasting({ steps, patch, commands }: Fix): Fix {
  return makeFix(
    steps.filter(step => !commands.some(({ command }) => step.endsWith(command))),
    patch,
  )
}
