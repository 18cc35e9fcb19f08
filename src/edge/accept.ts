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
        openFromSource: bySource.get(address.text) ?? 0,
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
    enter: ({ text }) => {
      open++
      bySource.set(text, (bySource.get(text) ?? 0) + 1)
    },
    leave: ({ text }) => {
      open--
      const left = (bySource.get(text) ?? 1) - 1
      if (left > 0) bySource.set(text, left)
      else bySource.delete(text)
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
    openFrom: ({ text }) => bySource.get(text) ?? 0,
    sources: () => bySource.size,
    lingering: () => lingering,
  }
}
