// For how long the guard watches a change of policy, and in how many parts: the same for commands and the dashboard.
import type { GuardPlan } from './policy-guard.ts'

/** Unless told. */
export const DEFAULT_GUARD_MS = 30 * 60_000
const WINDOWS = 3
const MAX_MS = 86_400_000

/** A guard that watches for so long; null: it cannot watch for that time. */
export function guardOver(spanMs: number): GuardPlan | null {
  if (!Number.isFinite(spanMs) || spanMs < WINDOWS * 1_000 || spanMs > MAX_MS) return null
  return { windowMs: Math.floor(spanMs / WINDOWS), windows: WINDOWS }
}
