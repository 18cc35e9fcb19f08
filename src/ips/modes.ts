// Which mode of a rule holds where a request stands.
import type { RuleDocument } from './rule-document.ts'
import type { HelloScope, RuleMode, RuleScope } from './rule-set.ts'

/** Points that a hit adds to the score of a request. */
export const POINTS = { critical: 5, high: 4, medium: 3, low: 2 } as const

/** The mode of a rule for a request or a ClientHello, which has no class. */
export function modeIn(
  {
    id,
    mode,
    overrides,
    enforceAfterDays,
  }: Pick<RuleDocument, 'id' | 'mode' | 'overrides' | 'enforceAfterDays'>,
  scope: RuleScope | HelloScope,
): RuleMode {
  for (const entry of overrides) {
    const { classes, sites, listeners } = entry
    if (classes !== null && !('class' in scope && classes.includes(scope.class))) continue
    if (sites !== null && (scope.site === null || !sites.includes(scope.site))) continue
    if (listeners !== null && !listeners.includes(scope.listener)) continue
    return entry.mode
  }
  // What the policy says of a place in particular stays; only the mode in general is taken over by time.
  return enforceAfterDays !== null && scope.promoted?.has(id) === true ? 'enforce' : mode
}

/** Whether a rule does anything anywhere. */
export function isEverActive({ mode, overrides }: Pick<RuleDocument, 'mode' | 'overrides'>): boolean {
  if (overrides.some(entry => entry.mode !== 'off')) return true
  const isReplaced = overrides.some(
    ({ classes, sites, listeners }) => classes === null && sites === null && listeners === null,
  )
  return mode !== 'off' && !isReplaced
}
