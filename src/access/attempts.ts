// Who has guessed wrong how often: sources are held for a growing time, names never are, and everything is bounded.
import { parseAddress } from '../net/address.ts'
import { dropOldest } from './recent.ts'

/** What becomes of the next attempt of a source. */
export type Standing = 'free' | { readonly heldMs: number }

/**
 * Failed attempts by source. A name is never held itself: otherwise anybody could lock its owner out by guessing. A name that
 * many sources guess at makes each source pay for its first wrong guess instead of its fifth, and the right password from
 * a fresh source always gets in.
 */
export type Attempts = {
  readonly standing: (source: string, nowMs: number) => Standing
  /** Attempts that a source may still have under way at once without being held if all of them fail. */
  readonly allowance: (source: string, name: string, nowMs: number) => number
  readonly fail: (source: string, name: string, nowMs: number) => void
  /** Sources and names that are remembered. */
  readonly size: () => number
}

/** Wrong guesses that cost nothing: people mistype. */
const FREE = 5
/** Wrong guesses at one name, by everybody, after which every source has only one free. */
const HOT = 20
const FIRST_HOLD_MS = 5_000
const LONGEST_HOLD_MS = 15 * 60_000
/** Without a wrong guess for this long, a source or a name is forgotten. */
const FORGET_MS = 60 * 60_000
const HOT_MS = 10 * 60_000
const MAX_REMEMBERED = 10_000

type SourceState = { failures: number; holds: number; heldUntilMs: number; lastMs: number }
type NameState = { failures: number; sinceMs: number }

/** Makes an empty table. */
export function createAttempts(): Attempts {
  const sources = new Map<string, SourceState>()
  const names = new Map<string, NameState>()

  const stateOf = (source: string, nowMs: number): SourceState | undefined => {
    const state = sources.get(source)
    if (state === undefined) return undefined
    if (nowMs - state.lastMs < FORGET_MS) return state
    sources.delete(source)
    return undefined
  }
  const isHot = (name: string, nowMs: number): boolean => {
    const state = names.get(name)
    return state !== undefined && nowMs - state.sinceMs < HOT_MS && state.failures >= HOT
  }
  const countName = (name: string, nowMs: number): void => {
    const state = names.get(name)
    if (state !== undefined && nowMs - state.sinceMs < HOT_MS) {
      state.failures++
      return
    }
    names.delete(name)
    names.set(name, { failures: 1, sinceMs: nowMs })
    dropOldest(names, MAX_REMEMBERED)
  }

  return {
    standing: (source, nowMs) => {
      const state = stateOf(source, nowMs)
      return state === undefined || state.heldUntilMs <= nowMs
        ? 'free'
        : { heldMs: state.heldUntilMs - nowMs }
    },
    allowance: (source, name, nowMs) => {
      const state = stateOf(source, nowMs)
      const free = name !== '' && isHot(name, nowMs) ? 1 : FREE
      return Math.max(1, free - (state?.failures ?? 0))
    },
    fail: (source, name, nowMs) => {
      if (name !== '') countName(name, nowMs)
      const state = stateOf(source, nowMs) ?? { failures: 0, holds: 0, heldUntilMs: 0, lastMs: nowMs }
      state.failures++
      state.lastMs = nowMs
      if (state.failures >= (name !== '' && isHot(name, nowMs) ? 1 : FREE)) {
        state.heldUntilMs = nowMs + Math.min(LONGEST_HOLD_MS, FIRST_HOLD_MS * 2 ** Math.min(state.holds, 20))
        state.holds++
      }
      // Last in the map is the newest: whoever guesses on is not the one that is forgotten.
      sources.delete(source)
      sources.set(source, state)
      dropOldest(sources, MAX_REMEMBERED)
    },
    size: () => sources.size + names.size,
  }
}

/** What counts as one source: an IPv4 address, or the /64 of an IPv6 address, since one machine can take any address in it. */
export function sourceOf(address: string): string {
  const parsed = parseAddress(address)
  if (parsed === undefined || parsed.family === 4) return address
  const [first = 0, second = 0] = parsed.words
  return `${first.toString(16)}:${second.toString(16)}/64`
}
