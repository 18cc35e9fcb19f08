// What the benchmark of rules is judged by.

/** A goal with what was reached. */
export type RuleGoal = { readonly text: string; readonly reached: string; readonly met: boolean }

/** Most microseconds of CPU per request with the rules of the shipped policy. */
export const OWN_GOALS: Readonly<Record<string, number>> = { 'agent-post': 60, 'console-get': 100, json: 300 }

/** The same for the Core Rule Set at paranoia level 1: a quarter of what ModSecurity takes, half for the base64 form. */
export const IMPORTED_GOALS: Readonly<Record<string, number>> = {
  'console-get': 700,
  'agent-xml': 1_200,
  json: 8_000,
  form: 2_700,
}

/** Most that ten times as many rules may cost. */
export const MOST_GROWTH = 2
/** Most CPU time that any input of 64 KB may take. */
export const MOST_STALL_MS = 50
/** Most that four times as much of the same may take: linear, with room for the noise of a shared machine. */
export const MOST_RATIO = 5
/** The same of something quadratic. */
export const QUADRATIC_RATIO = 16

/** Judges a bound. */
export function atMost(text: string, value: number, most: number, unit: string): RuleGoal {
  const digits = value < 10 ? 2 : 0
  return {
    text: `${text}: at most ${most} ${unit}`,
    reached: `${value.toFixed(digits)} ${unit}`,
    met: value <= most,
  }
}
