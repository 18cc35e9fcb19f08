// The diagnosis of a trouble that a change of the policy has ended.
import type { Diagnosis } from './finding.ts'

/** It was refused, but would not be now. */
export function settled(what: string, now = 'the policy admits it'): Diagnosis {
  return {
    cause: 'fixed',
    healthy: true,
    sentence: `${what}, but now ${now}; the next attempt gets through.`,
    evidence: [],
    fix: null,
  }
}
