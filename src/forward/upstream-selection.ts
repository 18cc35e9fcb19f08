// What the edge asks of upstream groups: which member serves now, and how exchanges went.
import type { UpstreamMember } from '../policy/snapshot.ts'

/** Health of one member, for status pages and explanations. */
export type MemberHealth = {
  readonly group: string
  readonly member: string
  readonly state: 'unknown' | 'up' | 'down' | 'returning'
  /** Since when, milliseconds since the epoch. */
  readonly sinceMs: number
  readonly lastProblem: string | null
  /** Serves the group's new requests now. */
  readonly serving: boolean
  readonly openRequests: number
}

/** Chooses members. A member that failed is left at once; return follows `returnAfterMs` with growing hold-off. */
export type UpstreamSelection = {
  /** The member for a new request, or null when the whole group is down. `not` names members that failed this request already. */
  readonly pick: (group: string, not?: readonly string[]) => UpstreamMember | null
  /** Whether any member may serve: asked at the hello phase. */
  readonly isUp: (group: string) => boolean
  /**
   * Connection-level failure of a live request (`isMemberFailure` of the error): counts like a failed probe. The next
   * pick goes elsewhere where it can, and a probe confirms or clears the suspicion at once.
   * @param code code of the error, for the event
   */
  readonly failed: (member: UpstreamMember, problem: string, code?: string) => void
  /** The upstream answered, whatever the status. */
  readonly succeeded: (member: UpstreamMember) => void
  readonly health: () => readonly MemberHealth[]
}
