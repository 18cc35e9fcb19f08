// Works out what a rule cannot hold without: requirements one of which some value must meet.
import type { ExpressionPlan } from './plan.ts'

/** A requirement that values of a view may meet, both by their numbers. */
export type Wait = { readonly view: number; readonly bit: number }

/** Waits one of which must be fulfilled for the expression to hold or to have an effect; null: it may do so without. */
export function gateOf(expression: ExpressionPlan): readonly Wait[] | null {
  switch (expression.kind) {
    case 'test': {
      const { bit, targets, test } = expression.test
      if (test.negated || bit < 0 || targets.some(({ view }) => view < 0)) return null
      return targets.flatMap(({ views }) => views.map(view => ({ view, bit })))
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
