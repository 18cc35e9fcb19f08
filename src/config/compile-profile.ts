// Compiles profile files: class lines in order (the policy's own routes first), limits, probe.
import type { TrafficClass } from '../policy/classes.ts'
import type { ClassLimits, ClassRule, HealthProbe, Profile } from '../policy/snapshot.ts'
import { applyLimits } from './compile-classes.ts'
import type { Reporter } from './context.ts'
import { builtInLimits, builtInProbe, byClass } from './defaults.ts'
import type { Path } from './read.ts'
import type { WrittenHealth } from './schema-gate.ts'
import type { WrittenLine, WrittenProfile } from './schema-profile.ts'

/** A compiled profile, and the limits that go into the class policies. */
export type CompiledProfile = {
  readonly profile: Profile
  readonly limits: ReadonlyMap<TrafficClass, ClassLimits>
}

/** Compiles a profile file. `routes` are the policy's own lines. */
export function compileProfile(
  id: string,
  written: WrittenProfile,
  report: Reporter,
  routes: readonly { readonly line: WrittenLine; readonly path: Path }[],
  routesReport: Reporter,
): CompiledProfile {
  const { caseSensitive } = written
  const own = written.classes.flatMap((line, index) =>
    compileLine(line, ['classes', index], caseSensitive, report),
  )
  warnCovered(own, report)
  const rules = [
    ...routes.flatMap(({ line, path }) => compileLine(line, path, caseSensitive, routesReport)),
    ...own,
  ].map(entry => entry.rule)
  return {
    profile: {
      id,
      product: written.product,
      caseSensitive,
      rules,
      forwardedHeaders: written.forwardedHeaders,
      removeResponseHeaders: written.removeResponseHeaders,
      pinsCertificate: written.pinsCertificate,
      checkInEveryMs: written.checkIn?.expectedEvery ?? null,
      health: compileProbe(builtInProbe, written.health),
      packs: written.packs,
    },
    limits: byClass(trafficClass => {
      const limits = written.limits[trafficClass]
      const start = builtInLimits(trafficClass)
      return limits === undefined ? start : applyLimits(start, limits)
    }),
  }
}

type Placed = { readonly rule: ClassRule; readonly path: Path }

function compileLine(
  line: WrittenLine,
  path: Path,
  caseSensitive: boolean,
  report: Reporter,
): readonly Placed[] {
  return line.path.map((pattern, index) => {
    const here = [...path, 'path', ...(line.path.length > 1 ? [index] : [])]
    return {
      path: here,
      rule: {
        class: line.class,
        pattern: caseSensitive ? pattern : pattern.toLowerCase(),
        methods: line.methods === undefined ? null : new Set(line.methods),
        webSocket: line.webSocket ?? null,
        at: report.at(here),
      },
    }
  })
}

// A line below one that takes everything it would match never decides: a mistake that closes or opens the wrong thing.
function warnCovered(lines: readonly Placed[], report: Reporter): void {
  for (const [index, { rule, path }] of lines.entries()) {
    const before = lines
      .slice(0, index)
      .find(
        ({ rule: other }) =>
          other.methods === null &&
          (other.webSocket === null || other.webSocket === rule.webSocket) &&
          !/[*$]/.test(other.pattern) &&
          rule.pattern.replace(/\$$/, '').startsWith(other.pattern) &&
          (other.pattern.endsWith('/') || /^[/$]?$/.test(rule.pattern.charAt(other.pattern.length))),
      )
    if (before !== undefined && before.rule.class !== rule.class) {
      report.warn(
        path,
        `this line never decides: line ${before.rule.at.line} takes ${before.rule.pattern} and everything below it first`,
        'put the narrower path before the wider one',
      )
    }
  }
}

/** Lays a written probe over another. */
export function compileProbe(start: HealthProbe, written: WrittenHealth | undefined): HealthProbe {
  if (written === undefined) return start
  return {
    method: written.method ?? start.method,
    path: written.path ?? start.path,
    statuses: written.statuses === undefined ? start.statuses : new Set(written.statuses),
    bodyPattern:
      written.body === undefined
        ? written.path === undefined
          ? start.bodyPattern
          : null
        : new RegExp(written.body),
    intervalMs: written.interval ?? start.intervalMs,
    timeoutMs: written.timeout ?? start.timeoutMs,
  }
}
