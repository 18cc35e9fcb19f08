// PURE: which gates a connector wants to be attached to: all of them, or the first that is healthy, with a slow way back.

/** How several gates are used. */
export type GateMode = 'all' | 'standby'

/** What is known of the gates: when each was attached last, in the order of the file. */
export type ChoiceState = {
  /** Since when each gate is attached; null: it is not. */
  readonly attachedMs: readonly (number | null)[]
  /** Since when each gate has been away; null: it is attached. */
  readonly awayMs: readonly (number | null)[]
}

/** Settings of the choice. */
export type ChoiceRules = {
  readonly mode: GateMode
  /** How long a better gate must stay attached before the worse one is let go (hysteresis). */
  readonly returnAfterMs: number
  /** How long the best gate may be away before the next one is dialled: a restart is no reason to move. */
  readonly moveAfterMs: number
}

/** No gate attached yet. */
export function newChoice(gates: number, nowMs: number): ChoiceState {
  return {
    attachedMs: Array.from({ length: gates }, () => null),
    awayMs: Array.from({ length: gates }, () => nowMs),
  }
}

/** Notes that a gate was attached or lost. */
export function noteGate(state: ChoiceState, gate: number, attached: boolean, nowMs: number): ChoiceState {
  const was = state.attachedMs[gate] !== null
  if (was === attached) return state
  return {
    attachedMs: state.attachedMs.map((since, index) => (index === gate ? (attached ? nowMs : null) : since)),
    awayMs: state.awayMs.map((since, index) => (index === gate ? (attached ? null : nowMs) : since)),
  }
}

/**
 * The gates to be attached to now.
 *
 * With `standby` the first gate is always wanted. The others are wanted in turn while every gate before them is away, and
 * stay wanted until a gate before them has been attached for `returnAfterMs`: a gate that flaps moves nobody to and fro,
 * and for that time the connector serves both.
 */
export function wantedGates(state: ChoiceState, rules: ChoiceRules, nowMs: number): readonly boolean[] {
  if (rules.mode === 'all') return state.attachedMs.map(() => true)
  return state.attachedMs.map((_, gate) => {
    for (let before = 0; before < gate; before++) {
      const since = state.attachedMs[before] ?? null
      // Attached already, this one stays until the better one has proven itself; not attached, any better one will do.
      const proven = state.attachedMs[gate] === null ? 0 : rules.returnAfterMs
      if (since !== null && nowMs - since >= proven) return false
      const away = state.awayMs[before] ?? null
      if (state.attachedMs[gate] === null && away !== null && nowMs - away < rules.moveAfterMs) return false
    }
    return true
  })
}
