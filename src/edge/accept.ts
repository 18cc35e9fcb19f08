// Admission: asks the accept decision with the live counts, and keeps those counts.
import type { Address } from '../net/address.ts'
import { decideAccept } from '../policy/decide-accept.ts'
import type { GeoFacts } from '../policy/facts.ts'
import type { AcceptVerdict, Standing } from '../policy/standing.ts'
import { standingOf } from '../policy/who.ts'
import type { CurrentPolicy } from './connection.ts'

/** Counts of what is open, and the accept decision over them. */
export type Admission = {
  readonly decide: (address: Address, listener: string) => AcceptVerdict
  /** Whether the policy admits the address, connection limits aside. */
  readonly admits: (address: Address, listener: string) => boolean
  /** Who an address is, without a decision. */
  readonly standing: (address: Address) => Standing
  /** An admitted connection of the source begins. */
  readonly enter: (address: Address) => void
  readonly leave: (address: Address) => void
  /** Takes one of the few places for refused connections that are still being told why; false: none is left. */
  readonly linger: () => boolean
  readonly endLinger: () => void
  readonly open: () => number
  readonly openFrom: (address: Address) => number
  /** Sources with a connection open; zero when nothing is open. */
  readonly sources: () => number
  readonly lingering: () => number
}

/** What admission needs from outside. */
export type AdmissionOptions = {
  readonly current: CurrentPolicy
  readonly lookup: (address: Address) => GeoFacts
  readonly nowMs: () => number
  /** Refused connections that may be kept for a moment, so that a flood of refused sources cannot hold memory. */
  readonly maxLingering: number
}

/** Creates the counts, all zero. */
export function createAdmission({ current, lookup, nowMs, maxLingering }: AdmissionOptions): Admission {
  const bySource = new Map<string, number>()
  let open = 0
  let lingering = 0
  const sourceOf = (address: Address): { address: Address; geo: GeoFacts } => ({
    address,
    geo: lookup(address),
  })
  return {
    decide: (address, listener) => {
      const { snapshot, overlay } = current()
      return decideAccept(snapshot, overlay, {
        source: sourceOf(address),
        listener,
        openFromSource: bySource.get(sourceKey(address)) ?? 0,
        openTotal: open,
        nowMs: nowMs(),
      })
    },
    admits: (address, listener) => {
      const { snapshot, overlay } = current()
      const facts = { source: sourceOf(address), listener, openFromSource: 0, openTotal: 0, nowMs: nowMs() }
      return decideAccept(snapshot, overlay, facts).allow
    },
    standing: address => {
      const { snapshot, overlay } = current()
      return standingOf(snapshot, overlay, sourceOf(address), nowMs())
    },
    enter: address => {
      open++
      const key = sourceKey(address)
      bySource.set(key, (bySource.get(key) ?? 0) + 1)
    },
    leave: address => {
      open--
      const key = sourceKey(address)
      const left = (bySource.get(key) ?? 1) - 1
      if (left > 0) bySource.set(key, left)
      else bySource.delete(key)
    },
    linger: () => {
      if (lingering >= maxLingering) return false
      lingering++
      return true
    },
    endLinger: () => {
      lingering--
    },
    open: () => open,
    openFrom: address => bySource.get(sourceKey(address)) ?? 0,
    sources: () => bySource.size,
    lingering: () => lingering,
  }
}

/** What connections are counted by: one IPv4 address, or the /64 that one IPv6 customer has whole and can roam in. */
export function sourceKey({ family, text, words }: Address): string {
  return family === 4 ? text : `${words[0]}:${words[1]}`
}
