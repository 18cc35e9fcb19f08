// Maps a request to its class: the first line of the profile that matches, `other` when none does.
import { pathReadings } from '../ips/target.ts'
import type { RequestFacts } from './facts.ts'
import { OWN_RULE } from './own-path.ts'
import { matchesPath } from './path-pattern.ts'
import type { ClassRule, Profile } from './snapshot.ts'

/** The class line of a request, or the two readings of its path that fall into different classes. */
export type Classification =
  | { readonly clear: true; readonly rule: ClassRule | undefined }
  | { readonly clear: false; readonly readAs: string; readonly butAlso: string }

/** What of a request decides its class. */
export type Classified = Pick<RequestFacts, 'method' | 'target' | 'path' | 'pathFolded' | 'webSocket'>

/**
 * Classifies a request by every way in which an upstream could read its path. When two readings differ in class there is no
 * right answer: taking one would let a path be judged as agent traffic here and served as console there.
 */
export function classify(profile: Profile, facts: Classified): Classification {
  const rule = firstMatch(profile, profile.caseSensitive ? facts.path : facts.pathFolded, facts)
  const doubt = differentClass(profile, facts, rule)
  return doubt === null ? { clear: true, rule } : { clear: false, readAs: facts.path, butAlso: doubt }
}

function differentClass(profile: Profile, facts: Classified, rule: ClassRule | undefined): string | null {
  // Many servers that call themselves case-sensitive route without regard to case (Express does).
  if (profile.caseSensitive && facts.path !== facts.pathFolded) {
    const anyCase = firstMatch(folded(profile), facts.pathFolded, facts)
    if (anyCase?.class !== rule?.class) return facts.pathFolded
  }
  for (const { path, harmless } of pathReadings(facts.target)) {
    const other = firstMatch(folded(profile), path.toLowerCase(), facts)
    if (other?.class !== rule?.class && !(harmless && other === undefined)) return path
  }
  return null
}

function firstMatch(
  profile: Pick<Profile, 'rules'>,
  path: string,
  facts: Pick<Classified, 'method' | 'webSocket'>,
): ClassRule | undefined {
  // Before every line of a profile: what belongs to the gate can be given to no upstream.
  if (path.startsWith(OWN_RULE.pattern) && matchesPath(OWN_RULE.pattern, path)) return OWN_RULE
  for (const rule of profile.rules) {
    if (rule.webSocket !== null && rule.webSocket !== facts.webSocket) continue
    if (rule.methods !== null && !rule.methods.has(facts.method)) continue
    if (matchesPath(rule.pattern, path)) return rule
  }
  return undefined
}

const foldedProfiles = new WeakMap<Profile, Pick<Profile, 'rules'>>()

function folded(profile: Profile): Pick<Profile, 'rules'> {
  if (!profile.caseSensitive) return profile
  let view = foldedProfiles.get(profile)
  if (view === undefined) {
    view = { rules: profile.rules.map(rule => ({ ...rule, pattern: rule.pattern.toLowerCase() })) }
    foldedProfiles.set(profile, view)
  }
  return view
}
