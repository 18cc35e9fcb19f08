// What a flow of heartbeats is, and what the flow table says of it. Types only.
import type { FlowEnding } from '../../journal/events-heartbeat.ts'
import type { Address } from '../../net/address.ts'
import type { Standing } from '../../policy/standing.ts'
import type { WouldBe } from '../../policy/trial.ts'
import type { Refusal } from '../../policy/verdict.ts'
import type { Rhythm } from './rhythm.ts'

/** What passed in one direction and the other. */
export type Passed = {
  heartbeats: number
  replies: number
  bytesIn: number
  bytesOut: number
}

/** The datagrams of one address and port, and the upstream socket that belongs to them. */
export type Flow<Upstream> = {
  readonly key: string
  readonly address: Address
  readonly port: number
  readonly openedMs: number
  /** The owner of the sockets puts it here when it opens the flow. */
  upstream: Upstream | null
  standing: Standing
  /** What enforcing would refuse it for; null: nothing that is on trial. */
  wouldBe: WouldBe | null
  /** The policy in force when the flow was judged last, and when that was. */
  judgedBy: object
  judgedMs: number
  readonly total: Passed
  /** Not reported yet. */
  readonly fresh: Passed & { firstMs: number }
  countedMs: number
  lastHeartbeatMs: number
  lastReplyMs: number | null
  /** Replies that would have been more than the sender paid for. */
  withheld: number
  confirmed: boolean
  /** Its source has a place of its own when forged addresses come in great numbers. */
  known: boolean
  /** The source has shown that it is where its datagrams say. */
  proven: boolean
  readonly rhythm: Rhythm
}

/** Why a flow ended. */
export type FlowEnd = FlowEnding

/** A flow that is no more: its upstream socket is to be closed. */
export type EndedFlow<Upstream> = { readonly flow: Flow<Upstream>; readonly end: FlowEnd }

/** What to do with a datagram of a client. */
export type Received<Upstream> =
  | { readonly kind: 'forward'; readonly flow: Flow<Upstream> }
  | {
      readonly kind: 'open'
      readonly flow: Flow<Upstream>
      readonly ended: EndedFlow<Upstream> | null
    }
  | {
      readonly kind: 'refuse'
      readonly standing: Standing
      readonly refusal: Refusal
      readonly ended: EndedFlow<Upstream> | null
    }

/** Counts of a flow since its last report. */
export type FlowCount<Upstream> = Passed & {
  readonly flow: Flow<Upstream>
  /** False: replies were expected, and none came. */
  readonly answered: boolean
  /** Beats of a sender with a rhythm that came, and that should have come and did not. */
  readonly kept: number
  readonly missed: number
}

/** What time has brought. */
export type Tick<Upstream> = {
  readonly ended: readonly EndedFlow<Upstream>[]
  readonly counted: readonly FlowCount<Upstream>[]
  /** Set at the moment when the server counts as silent. */
  readonly silent: { readonly sinceMs: number; readonly heartbeats: number } | null
}
