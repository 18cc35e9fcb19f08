// Compiles what holds for each class: deployment model, then the profile's limits, then the policy, then the site.
import { createHash } from 'node:crypto'
import { CLASSES, type TrafficClass } from '../policy/classes.ts'
import type {
  Access,
  ClassKey,
  ClassLimits,
  ClassPolicy,
  Countries,
  Stated,
  Window,
} from '../policy/snapshot.ts'
import type { Reporter } from './context.ts'
import { builtInLimits, byClass, modelAccess, type Model } from './defaults.ts'
import type { Path } from './read.ts'
import { resolveCountries } from './scalars.ts'
import type { WrittenClass, WrittenLimits } from './schema-classes.ts'

/** Class settings as a policy or a site writes them. */
export type WrittenClasses = Readonly<Partial<Record<TrafficClass, WrittenClass | undefined>>>

/** What the general class policies start from. */
export type ClassBasis = {
  readonly model: Stated<Model>
  readonly home: Stated<ReadonlySet<string>>
  readonly limits: ReadonlyMap<TrafficClass, ClassLimits>
}

/** Compiles the general class policies. */
export function compileClasses(
  basis: ClassBasis,
  written: WrittenClasses,
  report: Reporter,
): ReadonlyMap<TrafficClass, ClassPolicy> {
  return byClass(trafficClass => {
    const start: ClassPolicy = {
      access: { value: modelAccess(basis.model.value, trafficClass), at: basis.model.at },
      countries: basis.home,
      minimumTls: null,
      keys: [],
      windows: [],
      limits: basis.limits.get(trafficClass) ?? builtInLimits(trafficClass),
    }
    return refine(start, written[trafficClass], ['classes', trafficClass], basis.home.value, report)
  })
}

/** Compiles the class policies that a site changes; classes of which it says nothing are not in the result. */
export function compileSiteClasses(
  general: ReadonlyMap<TrafficClass, ClassPolicy>,
  home: ReadonlySet<string>,
  model: Stated<Model> | null,
  written: WrittenClasses,
  path: Path,
  report: Reporter,
): ReadonlyMap<TrafficClass, ClassPolicy> {
  const out = new Map<TrafficClass, ClassPolicy>()
  for (const trafficClass of CLASSES) {
    const settings = written[trafficClass]
    const start = general.get(trafficClass)
    if (start === undefined || (model === null && settings === undefined)) continue
    const access: Stated<Access> =
      model === null ? start.access : { value: modelAccess(model.value, trafficClass), at: model.at }
    out.set(
      trafficClass,
      refine({ ...start, access }, settings, [...path, 'classes', trafficClass], home, report),
    )
  }
  return out
}

function refine(
  start: ClassPolicy,
  written: WrittenClass | undefined,
  path: Path,
  home: ReadonlySet<string>,
  report: Reporter,
): ClassPolicy {
  if (written === undefined) return start
  const { access, countries, tls, keys, windows, limits } = written
  if (Object.keys(written).length === 0)
    report.warn(path, `${path.at(-1)} is named but nothing is said of it`)
  const at = (key: string): Path => [...path, key]
  return {
    access: access === undefined ? start.access : { value: access, at: report.at(at('access')) },
    countries:
      countries === undefined
        ? start.countries
        : { value: resolveCountries(countries, home), at: report.at(at('countries')) },
    minimumTls: tls === undefined ? start.minimumTls : { value: tls, at: report.at(at('tls')) },
    keys:
      keys === undefined
        ? start.keys
        : keys.flatMap((key, index) => compileKey(key, at('keys'), index, report)),
    windows:
      windows === undefined
        ? start.windows
        : windows.flatMap((days, index) =>
            days.map((day): Window => ({ ...day, at: report.at([...path, 'windows', index]) })),
          ),
    limits: limits === undefined ? start.limits : applyLimits(start.limits, limits),
  }
}

type WrittenKey = NonNullable<WrittenClass['keys']>[number]

function compileKey(key: WrittenKey, path: Path, index: number, report: Reporter): readonly ClassKey[] {
  const here = [...path, index]
  const places = (['header', 'query', 'cookie'] as const).filter(place => key[place] !== undefined)
  const [place] = places
  const name = place === undefined ? undefined : key[place]
  if (place === undefined || name === undefined || places.length > 1) {
    report.error(
      here,
      'a key needs exactly one of header, query and cookie',
      'it says where requests carry the key',
    )
    return []
  }
  if ((key.value === undefined) === (key.sha256 === undefined)) {
    report.error(here, 'a key needs exactly one of sha256 and value', "printf %s 'the key' | sha256sum")
    return []
  }
  if (key.value !== undefined) {
    if (place !== 'header' && !/^[A-Za-z0-9._~-]+$/.test(key.value)) {
      report.error(
        here,
        `a key in a ${place} may only have letters, digits, ., _, ~ and -`,
        'clients encode other characters in more than one way: openssl rand -hex 16 makes a good key',
      )
      return []
    }
    report.warn(
      [...here, 'value'],
      'the key stands in the file in plain text',
      `write sha256: ${sha256Hex(key.value)} instead of value`,
    )
  }
  return [
    {
      place,
      name: place === 'header' ? name.toLowerCase() : name,
      sha256Hex: key.value === undefined ? (key.sha256 ?? '').toLowerCase() : sha256Hex(key.value),
      at: report.at(here),
    },
  ]
}

function sha256Hex(text: string): string {
  return createHash('sha256').update(text).digest('hex')
}

/** Lays written limits over others. */
export function applyLimits(start: ClassLimits, written: WrittenLimits): ClassLimits {
  return {
    maxBodyBytes: written.maxBody ?? start.maxBodyBytes,
    bodyIdleMs: written.bodyIdle ?? start.bodyIdleMs,
    responseMs: written.response ?? start.responseMs,
    responseIdleMs: written.responseIdle ?? start.responseIdleMs,
    webSocketIdleMs: written.webSocketIdle ?? start.webSocketIdleMs,
    concurrentPerSource: written.concurrentPerSource ?? start.concurrentPerSource,
    maxResponseBytes: written.maxResponse ?? start.maxResponseBytes,
    methods: written.methods === undefined ? start.methods : new Set(written.methods),
    whenUnread: written.whenUnread ?? start.whenUnread,
  }
}

/** The wider of two sets of limits: several products behind one gate must all be able to work. */
export function widerLimits(a: ClassLimits, b: ClassLimits): ClassLimits {
  return {
    maxBodyBytes: Math.max(a.maxBodyBytes, b.maxBodyBytes),
    bodyIdleMs: Math.max(a.bodyIdleMs, b.bodyIdleMs),
    responseMs: Math.max(a.responseMs, b.responseMs),
    responseIdleMs: Math.max(a.responseIdleMs, b.responseIdleMs),
    webSocketIdleMs: Math.max(a.webSocketIdleMs, b.webSocketIdleMs),
    concurrentPerSource: Math.max(a.concurrentPerSource, b.concurrentPerSource),
    maxResponseBytes:
      a.maxResponseBytes === 0 || b.maxResponseBytes === 0
        ? 0
        : Math.max(a.maxResponseBytes, b.maxResponseBytes),
    methods: a.methods === null || b.methods === null ? null : new Set([...a.methods, ...b.methods]),
    whenUnread: a.whenUnread === 'refuse' && b.whenUnread === 'refuse' ? 'refuse' : 'record',
  }
}

/** Union of the countries that class policies which are not closed could admit. */
export function admittedBy(policies: Iterable<ClassPolicy>): Countries {
  const out = new Set<string>()
  for (const { access, countries } of policies) {
    if (access.value === 'closed') continue
    if (countries.value === 'any') return 'any'
    for (const code of countries.value) out.add(code)
  }
  return out
}
