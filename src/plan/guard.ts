// The guard's judgement after a change of policy: do as many agents check in as before, and are known agents refused? Pure.

/** What the guard compares with, fixed when the change is made. */
export type GuardBaseline = {
  readonly startedMs: number
  readonly windowMs: number
  /** Windows to watch; after the last the change stays. */
  readonly windows: number
  /** Sources with agents in the hour before. */
  readonly known: ReadonlySet<string>
  /** Distinct sources of the weakest window in the hour before; null: the gate has not run long enough to know. */
  readonly usual: number | null
}

/** What has happened since. */
export type GuardFacts = {
  readonly nowMs: number
  /** Distinct sources with agents in the window that begins then. */
  readonly seen: (fromMs: number, toMs: number) => number
  /** Sources refused since the change that have not checked in since. */
  readonly refused: ReadonlySet<string>
  /** Sources refused since the change because of their address, whatever they sent. */
  readonly shutOut: ReadonlySet<string>
}

/** What to do. */
export type GuardVerdict =
  | { readonly kind: 'watch'; readonly refusedKnown: number }
  | { readonly kind: 'keep' }
  | { readonly kind: 'roll-back'; readonly why: string }

/** Fewer than this share of the usual sources in a window undo the change. */
const LEAST_SHARE = 0.7
/** This share of known sources refused undoes it. */
const REFUSED_SHARE = 0.1
/**
 * So many refused sources are believed at once, and any whose address is refused as such. Fewer may be a person or an infected machine behind the address of an agent, who
 * must not be able to undo a policy: they count when a window has passed and no agent has come from there.
 */
const BELIEVED_AT_ONCE = 3

/** Judges. */
export function judgeGuard(baseline: GuardBaseline, facts: GuardFacts): GuardVerdict {
  const { startedMs, windowMs, windows, known, usual } = baseline
  let refusedKnown = 0
  let isShutOut = false
  for (const address of facts.refused) {
    if (!known.has(address)) continue
    refusedKnown++
    if (facts.shutOut.has(address)) isShutOut = true
  }
  const complete = Math.min(windows, Math.floor((facts.nowMs - startedMs) / windowMs))
  const isBelieved = isShutOut || refusedKnown >= BELIEVED_AT_ONCE || complete > 0
  if (refusedKnown > 0 && isBelieved && refusedKnown >= known.size * REFUSED_SHARE) {
    return {
      kind: 'roll-back',
      why: `${refusedKnown} of ${known.size} addresses whose agents checked in during the hour before are refused now`,
    }
  }
  // Without a usual number there is nothing to compare a window with.
  const compared = usual === null ? 0 : complete
  for (let window = 0; window < compared; window++) {
    const fromMs = startedMs + window * windowMs
    const seen = facts.seen(fromMs, fromMs + windowMs)
    if (usual !== null && seen < usual * LEAST_SHARE) {
      const minutes = Math.round(windowMs / 60_000)
      return {
        kind: 'roll-back',
        why: `agents of ${seen} addresses checked in within ${minutes} minutes; before the change there were never fewer than ${usual}`,
      }
    }
  }
  return complete >= windows ? { kind: 'keep' } : { kind: 'watch', refusedKnown }
}
