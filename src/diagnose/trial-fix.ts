// What to do before a trial ends for those who pass only because of it: the fixes of refusals, asked before anybody is refused.
import type { TlsVersion } from '../net/tls-version.ts'
import type { TrafficClass } from '../policy/classes.ts'
import type { Reason } from '../policy/reasons.ts'
import { makeFix, type Fix } from './fix.ts'
import * as fixes from './fixes.ts'

/** What would be refused. */
export type TriedThing = {
  readonly context: fixes.FixContext
  readonly reason: Reason
  readonly classes: readonly TrafficClass[]
  /** ISO code, or what stands for it. */
  readonly country: string
  /** The strongest version that all of the clients offer; null: not known. */
  readonly tls: TlsVersion | null
  /** What the clients are, for steps at the device. */
  readonly product: string
}

/** The fix, without what only helps for now: nothing is refused yet. */
export function fixOfTried({ context, reason, classes, country, tls, product }: TriedThing): Fix {
  switch (reason) {
    case 'country-refused':
    case 'class-country':
    case 'country-unknown':
    case 'network-refused':
    case 'geo-unavailable':
      return lasting(
        fixes.admitCountry(context, country, {
          resolved: UNKNOWN,
          first: null,
          second: null,
          databaseLoaded: true,
        }),
      )
    case 'tls-version-too-low':
      return fixes.oldTls(context, tls, product)
    case 'tls-version-class':
      return fixes.classTls(context, classes, tls)
    default:
      return lasting(fixes.openClass(context, reason, classes))
  }
}

const UNKNOWN = { kind: 'unknown' } as const

function lasting({ steps, patch, commands }: Fix): Fix {
  return makeFix(
    steps.filter(step => !commands.some(({ command }) => step.endsWith(command))),
    patch,
  )
}
