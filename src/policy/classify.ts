// Maps a request to its class: the first line of the profile that matches, `other` when none does.
import type { RequestFacts } from './facts.ts'
import type { ClassRule, Profile } from './snapshot.ts'
import { matchesPath } from './path-pattern.ts'

/** The first profile line that matches; undefined: class `other`. */
export function classify(profile: Profile, facts: RequestFacts): ClassRule | undefined {
  const path = profile.caseSensitive ? facts.path : facts.pathFolded
  for (const rule of profile.rules) {
    if (rule.webSocket !== null && rule.webSocket !== facts.webSocket) continue
    if (rule.methods !== null && !rule.methods.has(facts.method)) continue
    if (matchesPath(rule.pattern, path)) return rule
  }
  return undefined
}
