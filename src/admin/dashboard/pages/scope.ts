// The one place where these pages ask what an operator may see: every question to the store carries what comes from here.
import type { SiteScope } from '../../../journal/store-traffic.ts'
import type { View } from '../view.ts'

/** Sites for a question to the store; null: all of them, and what belongs to none. */
export function scopeOf({ operator }: Pick<View, 'operator'>): SiteScope {
  return operator.sites
}
