// The words of the hourly sums behind the dashboard: what came from each site and country, and how often rules held.
import type { LatencySum } from './latency.ts'

/** What came from one site and one country in one hour. Counts are requests and connections; heartbeats are counted apart. */
export type TrafficSum = {
  /** Hours since the epoch. */
  readonly hour: number
  /** Empty: addresses that belong to no site. */
  readonly site: string
  /** ISO code, or what stands for it (`private`, `unknown` and the like). */
  readonly country: string
  readonly admitted: number
  /** Let through, but cut short, answered with a server error, or broken off in the handshake. */
  readonly failed: number
  readonly refused: number
  /** Heartbeats over UDP, in stretches with and without replies. */
  readonly answered: number
  readonly unanswered: number
  /** 0: nothing was let through, or refused, in this hour. */
  readonly lastAdmittedMs: number
  readonly lastRefusedMs: number
}

/** How often one rule held for one site in one hour. */
export type RuleSum = {
  readonly hour: number
  readonly rule: string
  readonly site: string
  /** Recorded only: the rule is set to detect, or an exception kept it from acting. */
  readonly detected: number
  readonly refused: number
  /** Of `detected`: an exception kept it from acting. */
  readonly excepted: number
}

/** Sums on their way to the store. */
export type TallyBatch = {
  readonly traffic: readonly TrafficSum[]
  readonly rules: readonly RuleSum[]
  /** Absent: none. */
  readonly latency?: readonly LatencySum[]
}
