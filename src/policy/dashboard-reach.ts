// Whether a source may still be at the published dashboard: asked of answers that go on, which no next request ends.
import { decideAccess } from './decide-access.ts'
import { decideStanding } from './decide-accept.ts'
import type { SourceFacts } from './facts.ts'
import { isMeant } from './only-from.ts'
import type { Overlay, Snapshot } from './snapshot.ts'
import { standingOf } from './who.ts'

/** Whether the policy in force would let a new request of this source to the dashboard, at the name where it is published. */
export function reachesDashboard(
  { snapshot, overlay }: { readonly snapshot: Snapshot; readonly overlay: Overlay },
  source: SourceFacts,
  nowMs: number,
): boolean {
  const published = snapshot.names.find(({ dashboard }) => dashboard !== undefined)?.dashboard
  if (published === undefined) return false
  const standing = standingOf(snapshot, overlay, source, nowMs)
  if (!isMeant(standing, published.onlyFrom)) return false
  const place = { source, listener: '', openFromSource: 0, openTotal: 0, nowMs }
  if (!decideStanding(standing, place).allow) return false
  const question = { class: 'console', listener: null, nowMs, tlsVersion: null, request: null } as const
  return decideAccess(standing, published.policy, question).refusal === null
}
