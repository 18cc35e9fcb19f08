// Compiles the trials, and says what each of them exposes while it lasts.
import type { TrafficClass } from '../policy/classes.ts'
import type { ClassPolicy } from '../policy/snapshot.ts'
import type { Trial } from '../policy/trial.ts'
import { warnOfEnd } from './compile-sources.ts'
import type { Reporter } from './context.ts'
import { formatLastDay } from './scalars.ts'
import type { WrittenPolicy } from './schema.ts'
import { suggestion } from './spelling.ts'

const DAY_MS = 86_400_000
const LONGEST_DAYS = 92

/** What a trial may name, and what it may expose. */
export type TrialSurroundings = {
  readonly siteIds: readonly string[]
  readonly listenerIds: readonly string[]
  /** Whether the file has a list; false: one trial without brackets. */
  readonly isList: boolean
  readonly classes: ReadonlyMap<TrafficClass, ClassPolicy>
  readonly nowMs: number
}

/** Compiles the trials. */
export function compileTrials(
  written: WrittenPolicy['trial'],
  { siteIds, listenerIds, isList, classes, nowMs }: TrialSurroundings,
  report: Reporter,
): readonly Trial[] {
  if (written === undefined) return []
  return written.map((entry, index): Trial => {
    const path = isList ? ['trial', index] : ['trial']
    for (const [key, known] of [
      ['site', siteIds],
      ['listener', listenerIds],
    ] as const) {
      for (const id of entry[key] ?? [])
        if (!known.includes(id))
          report.error(
            [...path, key],
            `there is no ${key} ${JSON.stringify(id)}`,
            suggestion(id, known) ?? undefined,
          )
    }
    const stages = new Set(entry.stages)
    const { expires } = entry
    const here = [...path, 'expires']
    if (expires <= nowMs || expires - nowMs <= LONGEST_DAYS * DAY_MS)
      warnOfEnd(here, 'the trial', expires, nowMs, report)
    else
      report.warn(
        here,
        `the trial lasts until ${formatLastDay(expires)}: so long it is no trial`,
        `end it within ${LONGEST_DAYS} days, and extend it when it is needed`,
      )
    if (expires > nowMs) {
      const what = exposed(stages, classes)
      report.warn(
        path,
        `until ${formatLastDay(expires)} the trial lets pass what stands to be refused: ${what.join('; ')}`,
        'portcullis trial report says whom its end loses',
      )
    }
    return {
      stages,
      sites: entry.site === undefined ? null : new Set(entry.site),
      listeners: entry.listener === undefined ? null : new Set(entry.listener),
      expiresMs: expires,
      at: report.at(path),
    }
  })
}

function exposed(
  stages: Trial['stages'],
  classes: ReadonlyMap<TrafficClass, ClassPolicy>,
): readonly string[] {
  const shut = [...classes].filter(([, policy]) => policy.access.value !== 'open').map(([name]) => name)
  return [
    ...(stages.has('country') ? ['every country'] : []),
    ...(stages.has('tls') ? ['TLS 1.0 and 1.1 with weak ciphers'] : []),
    ...(stages.has('access') && shut.length > 0 ? [`${shut.join(', ')} from everywhere`] : []),
    ...(stages.has('access') && shut.length === 0 ? ['classes outside of their hours'] : []),
  ]
}
