// Works out what a rule cannot hold without: requirements one of which some value must meet.
import type { ExpressionPlan } from './plan.ts'

/** A requirement that a value of a group of views may meet, both by their numbers. */
export type Wait = { readonly group: number; readonly bit: number }

/** Waits one of which must be fulfilled for the expression to hold or to have an effect; null: it may do so without. */
export function gateOf(expression: ExpressionPlan): readonly Wait[] | null {
  switch (expression.kind) {
    case 'test': {
      const { bit, group, test } = expression.test
      return test.negated || bit < 0 || group < 0 ? null : [{ group, bit }]
    }
    case 'all': {
      let best: readonly Wait[] | null = null
      for (const part of expression.parts) {
        const gate = gateOf(part)
        if (gate !== null && (best === null || gate.length < best.length)) best = gate
        // What this part does when it holds must be done, whatever the parts after it say.
        if (hasEffects(part)) break
      }
      return best
    }
    case 'any': {
      const gates = expression.parts.map(gateOf)
      return gates.some(gate => gate === null) ? null : gates.flatMap(gate => gate ?? [])
    }
    case 'not':
    case 'always':
      return null
  }
}

function hasEffects(expression: ExpressionPlan): boolean {
  switch (expression.kind) {
    case 'all':
    case 'any':
      return expression.parts.some(hasEffects)
    case 'not':
      return hasEffects(expression.part)
    case 'test':
      return expression.test.test.effects.length > 0
    case 'always':
      return expression.effects.length > 0
  }
}
