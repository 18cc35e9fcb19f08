// PURE: one connection of a connector to a gate over time: when to dial, how long to wait, when to let go. Facts in, actions out.

/** Where a line stands. */
export type LineState = {
  readonly phase:
    | { readonly is: 'idle' }
    | { readonly is: 'waiting'; readonly untilMs: number }
    | { readonly is: 'dialling'; readonly sinceMs: number }
    | { readonly is: 'attached'; readonly sinceMs: number }
    /** Being left: `lost` follows at once. What runs on the connection ends in its own time, and is no longer of this line. */
    | { readonly is: 'finishing' }
  readonly wanted: boolean
  /** Attempts and connections that failed since it was attached for a while. */
  readonly failures: number
  /** When that began; null: never. */
  readonly troubleSinceMs: number | null
}

/** What happened to a line. */
export type LineFact =
  | { readonly kind: 'want'; readonly wanted: boolean }
  | { readonly kind: 'time' }
  | { readonly kind: 'attached' }
  /** @param afterMs what the gate asked for, or what the failure deserves; null: as usual */
  | { readonly kind: 'failed'; readonly afterMs: number | null }
  | { readonly kind: 'lost'; readonly afterMs: number | null }

/** What to do. `hangUp` ends a dial; `finish` ends a connection when what runs on it has ended. */
export type LineAction = 'dial' | 'hangUp' | 'finish'

/** The next state and what to do about it; null: nothing. */
export type LineStep = { readonly state: LineState; readonly action: LineAction | null }

/** A line that nobody wants yet. */
export const NEW_LINE: LineState = { phase: { is: 'idle' }, wanted: false, failures: 0, troubleSinceMs: null }

/** Longest wait at the start of a trouble: a gate that restarts is found again in under 3 s. */
export const QUICK_MS = 2_000

/** Attached for so long, a line counts as healthy. */
const STEADY_MS = 10_000

const FIRST_MS = 250
/** Longest waits later on: thousands of connectors must not stand in the way of a gate that comes back. */
const LATER: readonly (readonly [afterMs: number, capMs: number])[] = [
  [600_000, 15_000],
  [120_000, 5_000],
  [0, QUICK_MS],
]

/**
 * Takes a fact.
 * @param random 0 (included) to 1 (excluded): spreads connectors that lost the same gate at the same moment
 */
export function stepLine(state: LineState, fact: LineFact, nowMs: number, random: number): LineStep {
  const { phase } = state
  switch (fact.kind) {
    case 'want':
      return want({ ...state, wanted: fact.wanted }, nowMs)
    case 'time':
      if (phase.is !== 'waiting' || nowMs < phase.untilMs) return { state, action: null }
      return dial(state, nowMs)
    case 'attached':
      if (phase.is !== 'dialling') return { state, action: null }
      if (!state.wanted) return { state: { ...state, phase: { is: 'finishing' } }, action: 'finish' }
      return { state: { ...state, phase: { is: 'attached', sinceMs: nowMs } }, action: null }
    case 'failed':
    case 'lost':
      return ended(state, fact.afterMs, nowMs, random)
  }
}

function want(state: LineState, nowMs: number): LineStep {
  const { phase, wanted } = state
  if (wanted) {
    // One that is ending already cannot be had back; its end brings the next dial.
    return phase.is === 'idle' ? dial(state, nowMs) : { state, action: null }
  }
  switch (phase.is) {
    case 'idle':
    case 'finishing':
      return { state, action: null }
    case 'waiting':
      return { state: { ...NEW_LINE, wanted }, action: null }
    case 'dialling':
      return { state: { ...NEW_LINE, wanted }, action: 'hangUp' }
    case 'attached':
      return { state: { ...state, phase: { is: 'finishing' } }, action: 'finish' }
  }
}

function dial(state: LineState, nowMs: number): LineStep {
  const troubleSinceMs = state.troubleSinceMs ?? nowMs
  return { state: { ...state, phase: { is: 'dialling', sinceMs: nowMs }, troubleSinceMs }, action: 'dial' }
}

function ended(state: LineState, afterMs: number | null, nowMs: number, random: number): LineStep {
  const { phase, wanted } = state
  if (phase.is === 'idle' || phase.is === 'waiting') return { state, action: null }
  if (!wanted) return { state: { ...NEW_LINE }, action: null }
  // One that is thrown out again and again is in trouble all the time.
  const isNew = phase.is === 'attached' && nowMs - phase.sinceMs >= STEADY_MS
  const troubleSinceMs = isNew ? nowMs : (state.troubleSinceMs ?? nowMs)
  const failures = isNew ? 1 : state.failures + 1
  const waitMs = waitOf(failures, nowMs - troubleSinceMs, afterMs, random)
  const untilMs = nowMs + waitMs
  return { state: { ...state, phase: { is: 'waiting', untilMs }, failures, troubleSinceMs }, action: null }
}

/** How long to wait before the next dial, milliseconds. */
export function waitOf(failures: number, troubleMs: number, afterMs: number | null, random: number): number {
  if (afterMs !== null) return afterMs * (1 + 0.25 * random)
  const cap = LATER.find(([since]) => troubleMs >= since)?.[1] ?? QUICK_MS
  const growing = Math.min(cap, FIRST_MS * 2 ** Math.min(failures - 1, 10))
  return growing * (0.25 + 0.75 * random)
}
