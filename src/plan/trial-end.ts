// The end of the trials: whom enforcing would refuse of those who pass now, by site and stage. Pure; the replay is that of `plan`.
import { tlsRank, type TlsVersion } from '../net/tls-version.ts'
import { AGENT_CLASSES, type TrafficClass } from '../policy/classes.ts'
import { REASONS } from '../policy/reasons.ts'
import type { Snapshot } from '../policy/snapshot.ts'
import type { Trial } from '../policy/trial.ts'
import type { PlanReason } from './judge.ts'
import type { Change, Replay } from './replay.ts'

/** What one site, or one address without a site, loses for one reason. */
export type TrialLoss = {
  readonly site: string | null
  /** The only one when there is no site. */
  readonly addresses: readonly string[]
  readonly reason: PlanReason
  readonly classes: readonly TrafficClass[]
  /** ISO code, or what stands for it. */
  readonly country: string
  /** Weakest of what its clients offer at best; null: nothing was said. */
  readonly tls: TlsVersion | null
  /** Addresses whose agents came within the last days, and those whose agents came before. */
  readonly active: number
  readonly gone: number
  readonly lastMs: number
  /** One row for each address and class. */
  readonly devices: readonly Change[]
}

/** What ends, and whom that loses. */
export type TrialEnd = {
  /** When the first of the trials ends by itself. */
  readonly endsMs: number
  readonly stages: readonly string[]
  /** Sources with active agents. */
  readonly lostAgents: number
  /** Sites of them; addresses without a site count as one each. */
  readonly lostSites: number
  readonly losses: readonly TrialLoss[]
}

/** The same policy, enforced: the candidate that a replay asks. */
export function withoutTrials(snapshot: Snapshot): Snapshot {
  return { ...snapshot, trials: [] }
}

/** Says what a replay through `withoutTrials` means for sites. Losses with active agents come first. */
export function endOfTrial(trials: readonly Trial[], { changes, lostAgents }: Replay): TrialEnd {
  const lost = changes.filter(change => change.kind === 'lost')
  const groups = Map.groupBy(lost, keyOf)
  const losses = [...groups.values()].flatMap(lossOf)
  losses.sort((a, b) => b.active - a.active || b.gone - a.gone || b.lastMs - a.lastMs)
  return {
    endsMs: Math.min(...trials.map(trial => trial.expiresMs)),
    stages: [...new Set(trials.flatMap(trial => [...trial.stages]))],
    lostAgents,
    lostSites: new Set(losses.filter(({ active }) => active > 0).map(placeOf)).size,
    losses,
  }
}

// Countries are admitted one by one; for everything else a site is one matter.
function keyOf({ site, address, reason, country }: Change): string {
  const isCountry = reason === 'class-country' || REFUSED_COUNTRY.test(reason)
  return `${site ?? address} ${reason} ${isCountry ? country : ''}`
}

const REFUSED_COUNTRY = /^(?:country|network|geo)-/

function placeOf({ site, addresses }: TrialLoss): string {
  return site ?? addresses[0] ?? ''
}

function lossOf(devices: readonly Change[]): readonly TrialLoss[] {
  const [first] = devices
  if (first === undefined) return []
  const offered = devices.flatMap(({ tls }) => (tls === null ? [] : [tls]))
  const agents = devices.filter(device => device.class !== null && AGENT_CLASSES.includes(device.class))
  const active = new Set(agents.filter(device => device.activeAgent).map(device => device.address))
  return [
    {
      site: first.site,
      addresses: [...new Set(devices.map(device => device.address))],
      reason: first.reason,
      classes: [...new Set(devices.flatMap(device => device.class ?? []))],
      country: first.country,
      tls: offered.length === 0 ? null : offered.reduce((a, b) => (tlsRank(a) <= tlsRank(b) ? a : b)),
      active: active.size,
      gone: new Set(agents.map(device => device.address)).size - active.size,
      lastMs: Math.max(...devices.map(device => device.lastMs)),
      devices,
    },
  ]
}

/** Why, in a clause. */
export function lossWords({ reason, devices }: Pick<TrialLoss, 'reason' | 'devices'>): string {
  const because = reason === 'listener-gone' ? 'its listener is not there any more' : REASONS[reason].because
  const seen = [...new Set(devices.map(device => device.saw))]
  return `${because} (${seen.slice(0, 3).join('; ')}${seen.length > 3 ? '; ...' : ''})`
}
