// PURE: which of several gates an operator's next connection goes to: the first that is healthy, and what to find out about the others.

/** What came of asking a gate. */
export type GateOutcome =
  /** It let the connection through, or answered a look. */
  | 'good'
  /** It cannot be reached, is draining or broken: others are asked first until a look says that it is back. */
  | 'away'
  /** It works, and the client is not attached to it. */
  | 'absent'

/** What is known of the gates, in the order in which they are wanted. */
export type GateOrder = readonly {
  readonly is: GateOutcome
  /** When it may be asked (`absent`) or looked at (`away`) again. */
  readonly againMs: number
  /** Looks that failed in a row. */
  readonly failures: number
}[]

/** A client that changes gates is there within seconds. */
export const ABSENT_MS = 2_000
const FIRST_LOOK_MS = 1_000
const LONGEST_LOOK_MS = 15_000

/** Nothing is known yet. */
export function newOrder(gates: number): GateOrder {
  return Array.from({ length: gates }, () => ({ is: 'good' as const, againMs: 0, failures: 0 }))
}

/** Notes what came of a gate. */
export function noteOutcome(order: GateOrder, gate: number, is: GateOutcome, nowMs: number): GateOrder {
  return order.map((known, index) => {
    if (index !== gate) return known
    if (is === 'good') return { is, againMs: nowMs, failures: 0 }
    if (is === 'absent') return { is, againMs: nowMs + ABSENT_MS, failures: 0 }
    const failures = known.is === 'away' ? known.failures + 1 : 0
    const waitMs = Math.min(LONGEST_LOOK_MS, FIRST_LOOK_MS * 2 ** Math.min(failures, 10))
    return { is, againMs: nowMs + waitMs, failures }
  })
}

/**
 * Gates in the order in which a new connection asks them: those that may carry it first, then those without the client, which say
 * so at once. Gates that are away are asked only when all of them are: a black hole would cost whoever waits seconds, and looks go on.
 */
export function askOrder(order: GateOrder, nowMs: number): readonly number[] {
  const gates = [...order.keys()]
  const there = gates.filter(gate => order[gate]?.is !== 'away')
  if (there.length === 0) return gates
  return [
    ...there.filter(gate => mayCarry(order, gate, nowMs)),
    ...there.filter(gate => !mayCarry(order, gate, nowMs)),
  ]
}

/** Whether a gate before this one may carry a new connection. */
export function hasBetter(order: GateOrder, gate: number, nowMs: number): boolean {
  return askOrder(order, nowMs).some(other => other < gate && mayCarry(order, other, nowMs))
}

/** Gates to be looked at now: nobody's connection waits for one that may be a black hole. */
export function gatesToLookAt(order: GateOrder, nowMs: number): readonly number[] {
  return [...order.keys()].filter(gate => order[gate]?.is === 'away' && nowMs >= order[gate].againMs)
}

function mayCarry(order: GateOrder, gate: number, nowMs: number): boolean {
  const known = order[gate]
  if (known === undefined || known.is === 'away') return false
  return known.is === 'good' || nowMs >= known.againMs
}
