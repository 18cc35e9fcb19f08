// From one recorded refusal to the narrowest exception that lets the same thing pass, as a patch of the policy. Pure.
import { strongestTls, TLS_VERSIONS, tlsRank, type TlsVersion } from '../net/tls-version.ts'
import { AGENT_CLASSES, CLASSES, type TrafficClass } from '../policy/classes.ts'
import { REASONS, type Reason } from '../policy/reasons.ts'
import type { Site, Snapshot } from '../policy/snapshot.ts'
import { formatSourceLine } from '../policy/source-line.ts'
import { isLive } from '../policy/who.ts'
import type { HitRule } from './finding.ts'
import { exceptionItem, newSiteId, yamlAddress } from './fixes.ts'

/** What is known of the refusal. */
export type RefusedThing = {
  readonly address: string
  /** Null: no site is recorded for the address. */
  readonly site: Site | null
  /** Null: the event is no refusal but a detection. */
  readonly reason: Reason | null
  readonly class: TrafficClass | null
  readonly path: string
  readonly offered: readonly TlsVersion[]
  /** Rules that refused, or detected. */
  readonly rules: readonly HitRule[]
}

/** How the exception is asked for. */
export type Wanted = {
  readonly reason: string
  readonly owner: string
  /** Last day, `2026-11-28`. */
  readonly expires: string
  /** For a refusal before any request: which classes are to be let in; null: those of agents. */
  readonly classes: readonly TrafficClass[] | null
  readonly evenVirtualPatch: boolean
  readonly nowMs: number
}

/** An exception, or why there is none. */
export type ExceptionResult =
  | { readonly ok: true; readonly yaml: string; readonly opens: string; readonly stays: string }
  | { readonly ok: false; readonly code: string; readonly problem: string; readonly remedy: string }

/** Makes the exception. What an exception must not open, or cannot mend, is refused with the way that does. */
export function narrowestException(snapshot: Snapshot, thing: RefusedThing, wanted: Wanted): ExceptionResult {
  const { reason } = thing
  if (reason === null || reason === 'rule' || reason === 'rate-limited')
    return exceptRules(snapshot, thing, wanted)
  if (AT_THE_DOOR.has(reason)) return allowEntry(thing, wanted, wanted.classes ?? openAgentClasses(snapshot))
  if (BY_CLASS.has(reason) && thing.class !== null) return allowEntry(thing, wanted, [thing.class])
  if (reason === 'tls-version-too-low') return oldTls(thing, wanted)
  if (reason === 'banned') {
    return refused(
      'exception-of-ban',
      `${thing.address} was banned on purpose; an exception would hide that`,
      `Lift the ban: portcullis unban ${thing.address}`,
    )
  }
  return refused(
    'no-exception',
    `no exception helps here: ${thing.address} was refused because ${REASONS[reason].because}`,
    REASONS[reason].remedy,
  )
}

/** Refused for where it comes from, before anything was asked. */
const AT_THE_DOOR: ReadonlySet<Reason> = new Set<Reason>([
  'country-refused',
  'country-unknown',
  'network-refused',
  'geo-unavailable',
])
/** Refused a class that an allow which names it opens. */
const BY_CLASS: ReadonlySet<Reason> = new Set<Reason>([
  'class-closed',
  'class-source',
  'class-country',
  'class-key',
  'class-window',
])

function refused(code: string, problem: string, remedy: string): ExceptionResult {
  return { ok: false, code, problem, remedy }
}

/** Agents' classes that the policy leaves open: an allow that names a class would open a closed one, too. */
function openAgentClasses(snapshot: Snapshot): readonly TrafficClass[] {
  const open = AGENT_CLASSES.filter(name => {
    const policy = snapshot.classes.get(name)
    return policy?.access.value === 'open' && policy.keys.length === 0 && policy.windows.length === 0
  })
  return open.length === 0 ? ['agent'] : open
}

function allowEntry(
  { address }: RefusedThing,
  { reason, owner, expires }: Wanted,
  classes: readonly TrafficClass[],
): ExceptionResult {
  const kept = CLASSES.filter(name => !classes.includes(name))
  return {
    ok: true,
    yaml: [
      'allow:',
      `  - address: ${yamlAddress(address)}`,
      `    classes: [${classes.join(', ')}]`,
      ...signed({ reason, owner, expires }, '    '),
    ]
      .map(line => `${line}\n`)
      .join(''),
    opens: `${address} is let in for ${classes.join(', ')} until the end of ${expires}, whatever bans and countries say.`,
    stays: `Rules, limits and TLS versions hold for it as before${kept.length === 0 ? '' : `; ${kept.join(', ')} stay as they are`}.`,
  }
}

function oldTls({ address, site, offered }: RefusedThing, wanted: Wanted): ExceptionResult {
  const best = strongestTls(offered)
  if (best === undefined) {
    return refused(
      'no-exception',
      `${address} offered no TLS version that the gate knows`,
      'Such a client can only be updated, or kept inside and passed on by something newer.',
    )
  }
  const now = site?.tlsException ?? null
  const held = now !== null && isLive(now.expiresMs, wanted.nowMs) ? now.minimum : null
  // An exception that holds already for older devices must not be narrowed under their feet.
  const minimum = held !== null && tlsRank(held) < tlsRank(best) ? held : best
  const id = site?.id ?? newSiteId(address)
  const lines = [
    'sites:',
    `  ${id}:`,
    ...(site === null
      ? [`    name: ${JSON.stringify(`Recorded for ${address}`)}`, `    addresses: [${yamlAddress(address)}]`]
      : []),
    '    tlsException:',
    `      minimum: ${minimum}`,
    ...signed(wanted, '      '),
  ]
  return {
    ok: true,
    yaml: lines.map(line => `${line}\n`).join(''),
    opens: `Old clients of site ${id} may use ${TLS_VERSIONS.filter(version => tlsRank(version) >= tlsRank(minimum))[0]} and up until the end of ${wanted.expires}.`,
    stays: 'Clients there that can do better still must. All other sites stay as they are.',
  }
}

function exceptRules(snapshot: Snapshot, thing: RefusedThing, wanted: Wanted): ExceptionResult {
  const { rules, address, path } = thing
  if (rules.length === 0) {
    return refused(
      'no-exception',
      'the event does not say which rule it was',
      'Look for a newer one: portcullis events --name request.refused',
    )
  }
  const infos = rules.flatMap(({ ruleId }) => snapshot.rules.rules.find(rule => rule.id === ruleId) ?? [])
  const gone = rules.find(({ ruleId }) => !snapshot.rules.rules.some(rule => rule.id === ruleId))
  if (gone !== undefined) {
    return refused(
      'no-exception',
      `there is no rule ${gone.ruleId} in the policy any more`,
      'Let the client try again: what refused it is gone.',
    )
  }
  const patches = infos.filter(isVirtualPatch)
  const [first] = patches
  if (first !== undefined && !wanted.evenVirtualPatch) {
    return refused(
      'virtual-patch',
      `rule ${first.id} closes a known hole (${first.refs.join(', ')}: ${first.title}); an exception opens it for ${address}`,
      'If the RMM server itself is patched and the request is legitimate, repeat with --even-virtual-patch.',
    )
  }
  const { reason, owner, expires } = wanted
  const items = rules.map(rule =>
    exceptionItem({ address, path }, rule, {
      reason: JSON.stringify(reason),
      owner: JSON.stringify(owner),
      expires,
    }),
  )
  const narrowed = items.every(item => item.includes('\n      paths: '))
  const where = narrowed ? 'this path' : 'any path'
  const names = infos.map(rule => `${rule.id} (${formatSourceLine(rule.at)})`).join(', ')
  return {
    ok: true,
    yaml: `rules:\n  exceptions:\n${items.join('')}`,
    opens: `Rule ${names} does not act on ${where} from ${address} until the end of ${expires}.`,
    stays: 'Every other rule still holds for it, and this rule for everybody else.',
  }
}

/** Whether a rule stands in for a patch of a published hole. */
function isVirtualPatch(rule: { readonly refs: readonly string[] }): boolean {
  return rule.refs.some(ref => /^(?:CVE|GHSA)-/i.test(ref))
}

function signed(
  { reason, owner, expires }: Pick<Wanted, 'reason' | 'owner' | 'expires'>,
  space: string,
): readonly string[] {
  return [
    `${space}reason: ${JSON.stringify(reason)}`,
    `${space}owner: ${JSON.stringify(owner)}`,
    `${space}expires: ${expires}`,
  ]
}
